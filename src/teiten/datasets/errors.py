"""Errors of the datasets room.

DatasetsError
├── DatasetsInputError     a value breaks a rule; the message names the entry and the rule
└── DatasetsUnknownError   there is no such list, name or annotation
"""

from teiten.foundation.errors import TeitenError


class DatasetsError(TeitenError):
    """Something of this room cannot be done; nothing was changed."""


class DatasetsInputError(DatasetsError):
    """A value breaks a rule; ``entry`` names it."""

    def __init__(self, entry: str, message: str) -> None:
        super().__init__(f"{entry}: {message}")
        self.entry = entry


class DatasetsUnknownError(DatasetsError):
    """There is no such list, name or annotation."""
