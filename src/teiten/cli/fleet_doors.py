"""The fleet's doors in the gateway's terms: the same answers, the gateway's errors."""

from __future__ import annotations

from teiten.fleet.doors import FleetDoors
from teiten.fleet.errors import EnrolmentError, FleetAwayError, StaleHeartbeatError
from teiten.gateway.doors import DoorClosed, Doors, SensorIdentity
from teiten.gateway.errors import EnrolRefused, Refusal
from teiten.protocol.enrolment import EnrolAnswer, EnrolRequest
from teiten.protocol.heartbeat import Heartbeat, HeartbeatAnswer

#: Enrolment codes that mean "someone else was first"; all others mean "you may not".
_CONFLICTS = frozenset({"token_used", "key_taken"})


class GatewayDoors:
    """One object behind all three doors."""

    def __init__(self, fleet: FleetDoors) -> None:
        self._fleet = fleet

    def as_doors(self) -> Doors:
        return Doors(identify=self, enrol=self, heartbeat=self)

    async def identify(self, sensor: int, key_no: int) -> SensorIdentity | None:
        try:
            found = await self._fleet.identify(sensor, key_no)
        except FleetAwayError as error:
            raise DoorClosed(str(error)) from error
        if found is None:
            return None
        return SensorIdentity(
            found.sensor, found.key_no, public_key=found.public_key, epoch=found.epoch, state=found.state
        )

    async def enrol(self, request: EnrolRequest, *, peer: str) -> EnrolAnswer:
        try:
            return await self._fleet.enrol(request, peer=peer)
        except EnrolmentError as error:
            status = 409 if error.code in _CONFLICTS else 403
            raise EnrolRefused(error.code, str(error), status=status) from error
        except FleetAwayError as error:
            raise DoorClosed(str(error)) from error

    async def heartbeat(self, identity: SensorIdentity, beat: Heartbeat, *, peer: str) -> HeartbeatAnswer:
        try:
            return await self._fleet.heartbeat(identity.sensor, beat, peer=peer)
        except StaleHeartbeatError as error:
            raise Refusal(409, "heartbeat_stale", str(error)) from error
        except FleetAwayError as error:
            raise DoorClosed(str(error)) from error
