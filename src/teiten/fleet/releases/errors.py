"""Errors of releases.

FleetError
└── ReleaseError        the repository or a release does not allow this; the message says what would
    ├── KeyFileError    a key file cannot be used
    └── UnsignedError   signatures are missing; the message says how many and whose
"""

from __future__ import annotations

from teiten.fleet.errors import FleetError


class ReleaseError(FleetError):
    """Something about releases cannot be done; nothing was published."""


class KeyFileError(ReleaseError):
    """A key file is unreadable, damaged, or its passphrase is another."""


class UnsignedError(ReleaseError):
    """Not enough people have signed yet."""
