"""What the gateway asks of others: one small protocol per endpoint.

``fleet`` implements them and ``cli`` hands them over, so that the gateway knows
neither Django nor tables. Every door may raise :class:`DoorClosed` when its
database does not answer; the sensor is then told to come back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from teiten.foundation.errors import TeitenError
from teiten.protocol.enrolment import EnrolAnswer, EnrolRequest
from teiten.protocol.heartbeat import Heartbeat, HeartbeatAnswer

State: TypeAlias = Literal["active", "suspended", "revoked", "quarantined"]


class DoorClosed(TeitenError):
    """What stands behind a door (the control database) does not answer; try again later."""


@dataclass(frozen=True)
class SensorIdentity:
    """Whom a key belongs to, now."""

    sensor: int
    key_no: int
    #: 32 raw bytes, Ed25519.
    public_key: bytes
    #: The sensor's present epoch.
    epoch: int
    state: State


class IdentifyDoor(Protocol):
    async def identify(self, sensor: int, key_no: int) -> SensorIdentity | None:
        """Find whose key this is; a revocation counts from the next call on."""


class EnrolDoor(Protocol):
    async def enrol(self, request: EnrolRequest, *, peer: str) -> EnrolAnswer:
        """Bind a key to a sensor.

        Raises:
            EnrolRefused: with the reason; nothing was changed.
        """


class HeartbeatDoor(Protocol):
    async def heartbeat(self, identity: SensorIdentity, beat: Heartbeat, *, peer: str) -> HeartbeatAnswer:
        """Record a heartbeat; an old counter is a replay and is refused.

        Raises:
            Refusal: when the counter is not above the last one.
        """


@dataclass(frozen=True)
class Doors:
    """The three together."""

    identify: IdentifyDoor
    enrol: EnrolDoor
    heartbeat: HeartbeatDoor
