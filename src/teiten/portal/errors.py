"""Errors of the portal.

PortalError
└── NotWired   something that `cli` sets at start-up was not set
"""

from teiten.foundation.errors import TeitenError


class PortalError(TeitenError):
    """The portal cannot do what was asked."""


class NotWired(PortalError):
    """`cli` has not handed the portal what it needs; a bug in wiring."""
