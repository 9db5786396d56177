"""Errors of the command line.

CliError
└── EmbeddedDatabaseError   the embedded PostgreSQL does not start
"""

from teiten.foundation.errors import TeitenError


class CliError(TeitenError):
    """A command cannot do what was asked; the message says why and what to do."""


class EmbeddedDatabaseError(CliError):
    """The embedded PostgreSQL does not start or stop."""
