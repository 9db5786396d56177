"""Argon2, a bounded number at a time.

One check takes 64 MiB and about 0.1 s of a core, so that a flood of sign-ins
would otherwise be a cheap way to exhaust the server.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher

from teiten.accounts.errors import TooBusyError

_turns: threading.BoundedSemaphore | None = None
_turns_lock = threading.Lock()


class BoundedArgon2Hasher(Argon2PasswordHasher):
    """Django's Argon2id hasher behind a semaphore."""

    def encode(self, password: str, salt: str) -> str:
        with _turn():
            return super().encode(password, salt)

    def verify(self, password: str, encoded: str) -> bool:
        with _turn():
            return super().verify(password, encoded)


@contextmanager
def _turn() -> Iterator[None]:
    turns = _shared_turns()
    if not turns.acquire(timeout=settings.TEITEN_ACCOUNTS.password_check_wait_seconds):
        raise TooBusyError("too many passwords are being checked at once; try again in a few seconds")
    try:
        yield
    finally:
        turns.release()


def _shared_turns() -> threading.BoundedSemaphore:
    global _turns  # noqa: PLW0603  # one semaphore a process, sized by settings that are read late
    with _turns_lock:
        if _turns is None:
            _turns = threading.BoundedSemaphore(settings.TEITEN_ACCOUNTS.concurrent_password_checks)
        return _turns
