"""What may stop the launcher, by what has to be done about it.

LauncherError
├── LauncherBusyError   another launcher works; it is harmless to come back later
├── UpdateBlocked       no update now; the sensor goes on as it is and the heartbeat says why
└── NoReleaseError      no release on this host can be started
"""

from __future__ import annotations

from teiten.foundation.errors import TeitenError


class LauncherError(TeitenError):
    """The launcher cannot do what was asked."""


class LauncherBusyError(LauncherError):
    """Another launcher works on the same folders."""


class NoReleaseError(LauncherError):
    """There is no release that this Python can start."""


class UpdateBlocked(LauncherError):
    """No update can be taken now. ``cause`` groups: clock, disk full, network, expired, repository, bundle."""

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(f"update blocked: {cause}: {text}")
        self.cause = cause
        self.text = text
