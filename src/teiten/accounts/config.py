"""Rules of sign-in and tokens, with their figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class AccountsConfig:
    """Section ``accounts`` of the settings."""

    #: Sign-in attempts for one user ID from one address before it is locked.
    attempts_per_user_and_address: int = 5
    #: Sign-in attempts for one user ID from anywhere before it is locked.
    attempts_per_user: int = 20
    #: Sign-in attempts from one address (IPv6: one /64) for any user before it is locked.
    attempts_per_address: int = 100
    #: Minutes after the last counted attempt until a lock opens again.
    cool_off_minutes: int = 15
    #: Passwords checked at the same time; each takes 64 MiB for about 0.1 s.
    concurrent_password_checks: int = 4
    #: Seconds that a sign-in waits for its turn before it is told to try again.
    password_check_wait_seconds: float = 10.0
    #: Minutes without a request after which a session ends.
    session_idle_minutes: int = 30
    #: Hours after sign-in at which a session ends in any case.
    session_absolute_hours: int = 12
    #: Folder of the audit chain's signing key and of its signed heads; empty: ``audit`` in the data folder.
    audit_dir: Path | None = None
