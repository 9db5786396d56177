"""Errors of roll-outs.

FleetError
└── RolloutError       a roll-out cannot be started, or its state does not allow this
"""

from teiten.fleet.errors import FleetError


class RolloutError(FleetError):
    """A roll-out cannot do this; the message says why and what can be done."""
