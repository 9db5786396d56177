"""Errors of ``teiten-operator``: each stops the verb, with nothing half-done.

OperatorError
├── KeyUseError        the key file, its passphrase or its permissions
├── DraftError         what was asked is no command that anybody could sign
└── SigningError       this key must not sign this command
"""

from teiten.foundation.errors import TeitenError


class OperatorError(TeitenError):
    """The verb cannot be done; the message says why and what to do."""


class KeyUseError(OperatorError):
    """A key file cannot be used."""


class DraftError(OperatorError):
    """What was asked is no command."""


class SigningError(OperatorError):
    """This key must not sign this."""
