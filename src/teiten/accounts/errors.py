"""Errors of the accounts room.

AccountsError
├── SignInRefusedError the sign-in failed; one text for every reason
├── TooBusyError            too many passwords are being checked at once; try again
├── TokenRefusedError       an API token is unknown, expired, revoked or used from elsewhere
├── AuditHeadError     a line is no signed head of the audit chain
└── AccountsInputError a value breaks a rule; the message names the field and the rule
"""

from teiten.foundation.errors import TeitenError


class AccountsError(TeitenError):
    """Something about people, organisations or tokens cannot be done."""


class SignInRefusedError(AccountsError):
    """The sign-in failed; the message never says whether the user exists."""


class TooBusyError(AccountsError):
    """Too many passwords are being checked at once; try again in a few seconds."""


class TokenRefusedError(AccountsError):
    """The API token does not open anything; the message says which rule it broke."""


class AuditHeadError(AccountsError):
    """A line is no head of the audit chain, or its signature is not right."""


class AccountsInputError(AccountsError):
    """A value breaks a rule; ``field`` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
