"""Errors of the custody room.

CustodyError
├── CustodyInputError     a value breaks a rule; the message names the entry and the rule
├── CustodyUnknownError   there is no such hold, erasure or exclusion
└── LegalHoldError        a legal hold forbids it; the message names the hold and the way out
"""

from collections.abc import Sequence

from teiten.foundation.errors import TeitenError


class CustodyError(TeitenError):
    """Something of this room cannot be done; nothing was changed."""


class CustodyInputError(CustodyError):
    """A value breaks a rule; ``entry`` names it."""

    def __init__(self, entry: str, message: str) -> None:
        super().__init__(f"{entry}: {message}")
        self.entry = entry


class CustodyUnknownError(CustodyError):
    """There is no such hold, erasure or exclusion."""


class LegalHoldError(CustodyError):
    """A legal hold forbids it; ``holds`` are their numbers."""

    def __init__(self, message: str, holds: Sequence[int]) -> None:
        super().__init__(message)
        self.holds = tuple(holds)
