"""Errors of the custody room.

CustodyError
└── CustodyInputError     a value breaks a rule; the message names the entry and the rule
"""

from teiten.foundation.errors import TeitenError


class CustodyError(TeitenError):
    """Something of this room cannot be done; nothing was changed."""


class CustodyInputError(CustodyError):
    """A value breaks a rule; ``entry`` names it."""

    def __init__(self, entry: str, message: str) -> None:
        super().__init__(f"{entry}: {message}")
        self.entry = entry
