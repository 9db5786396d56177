"""What the gateway asks of others: one small protocol per endpoint, a module each.

``fleet`` implements them and ``cli`` hands them over, so that the gateway knows
neither Django nor tables. Every door may raise :class:`DoorClosed` when its
database does not answer; the sensor is then told to come back.
"""

from __future__ import annotations

from dataclasses import dataclass

from teiten.foundation.errors import TeitenError
from teiten.gateway.doors.enrolling import EnrolDoor
from teiten.gateway.doors.heartbeats import HeartbeatDoor
from teiten.gateway.doors.identifying import IdentifyDoor, SensorIdentity, State

__all__ = ["DoorClosed", "Doors", "EnrolDoor", "HeartbeatDoor", "IdentifyDoor", "SensorIdentity", "State"]


class DoorClosed(TeitenError):
    """What stands behind a door (the control database) does not answer; try again later."""


@dataclass(frozen=True)
class Doors:
    """All of them; an endpoint whose door is None is not there."""

    identify: IdentifyDoor
    enrol: EnrolDoor
    heartbeat: HeartbeatDoor
