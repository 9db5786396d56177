"""What the gateway asks of others: one small protocol per endpoint, a module each.

``fleet`` implements them and ``cli`` hands them over, so that the gateway knows
neither Django nor tables. Every door may raise :class:`DoorClosed` when its
database does not answer; the sensor is then told to come back.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from teiten.foundation.errors import TeitenError
from teiten.gateway.doors.commanding import CommandsDoor
from teiten.gateway.doors.enrolling import EnrolDoor
from teiten.gateway.doors.heartbeats import HeartbeatDoor
from teiten.gateway.doors.identifying import IdentifyDoor, SealKey, SealKeyDoor, SensorIdentity, State
from teiten.gateway.doors.recovering import RecoverDoor
from teiten.gateway.doors.rotating import RotateDoor
from teiten.gateway.doors.suspecting import SuspectDoor

__all__ = [
    "CommandsDoor",
    "DoorClosed",
    "Doors",
    "EnrolDoor",
    "HeartbeatDoor",
    "IdentifyDoor",
    "RecoverDoor",
    "RotateDoor",
    "SealKey",
    "SealKeyDoor",
    "SensorIdentity",
    "State",
    "SuspectDoor",
]


class DoorClosed(TeitenError):
    """What stands behind a door (the control database) does not answer; try again later."""


@dataclass(frozen=True)
class Doors:
    """All of them; an endpoint whose door is None is not there."""

    identify: IdentifyDoor
    enrol: EnrolDoor
    heartbeat: HeartbeatDoor
    seal_keys: SealKeyDoor | None = None
    rotate: RotateDoor | None = None
    recover: RecoverDoor | None = None
    suspect: SuspectDoor | None = None
    commands: CommandsDoor | None = None
    #: Public part of the update repository, a folder; None: there is none.
    releases: Path | None = None
