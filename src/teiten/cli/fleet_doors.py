"""The fleet's doors in the gateway's terms: the same answers, the gateway's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from teiten.fleet import doors as fleet_doors
from teiten.fleet.commands.door import CommandsDoors
from teiten.fleet.commands.errors import ResultRefusedError
from teiten.fleet.doors import FleetDoors
from teiten.fleet.errors import EnrolmentError, FleetAwayError, RotationError, StaleHeartbeatError
from teiten.gateway.doors import DoorClosed, Doors, SealKey, SensorIdentity
from teiten.gateway.errors import EnrolRefused, Refusal
from teiten.protocol.enrolment import EnrolAnswer, EnrolRequest
from teiten.protocol.heartbeat import Heartbeat, HeartbeatAnswer
from teiten.protocol.recovery import RecoverRequest
from teiten.protocol.rotation import RotateAnswer, RotateRequest

#: Codes that mean "someone else was first"; all others mean "you may not".
_CONFLICTS = frozenset({"token_used", "key_taken", "key_conflict", "key_number"})


@contextmanager
def _in_gateway_terms() -> Iterator[None]:
    try:
        yield
    except (EnrolmentError, RotationError) as error:
        status = 409 if error.code in _CONFLICTS else 403
        raise EnrolRefused(error.code, str(error), status=status) from error
    except ResultRefusedError as error:
        raise Refusal(error.status, error.code, str(error)) from error
    except StaleHeartbeatError as error:
        raise Refusal(409, "heartbeat_stale", str(error)) from error
    except FleetAwayError as error:
        raise DoorClosed(str(error)) from error


class GatewayDoors:
    """One object behind all doors."""

    def __init__(self, fleet: FleetDoors, commands: CommandsDoors) -> None:
        self._fleet = fleet
        self._commands = commands

    def as_doors(self) -> Doors:
        return Doors(
            identify=self,
            enrol=self,
            heartbeat=self,
            seal_keys=self,
            rotate=self,
            recover=self,
            suspect=self,
            commands=self,
        )

    async def identify(self, sensor: int, key_no: int) -> SensorIdentity | None:
        with _in_gateway_terms():
            found = await self._fleet.identify(sensor, key_no)
        if found is None:
            return None
        return SensorIdentity(
            found.sensor,
            found.key_no,
            public_key=found.public_key,
            epoch=found.epoch,
            state=found.state,
            held_epoch=found.held_epoch,
            is_superseded=found.is_superseded,
            seals=_seal_key(found.seals),
        )

    async def find_seal_key(self, sensor: int, key_no: int) -> SealKey | None:
        with _in_gateway_terms():
            found = await self._fleet.find_seal_key(sensor, key_no)
        return None if found is None else _seal_key(found)

    async def enrol(self, request: EnrolRequest, *, peer: str) -> EnrolAnswer:
        with _in_gateway_terms():
            return await self._fleet.enrol(request, peer=peer)

    async def recover(self, request: RecoverRequest, *, peer: str) -> EnrolAnswer:
        with _in_gateway_terms():
            return await self._fleet.recover(request, peer=peer)

    async def rotate(self, identity: SensorIdentity, request: RotateRequest, *, peer: str) -> RotateAnswer:
        with _in_gateway_terms():
            return await self._fleet.rotate(request, used_key_no=identity.key_no, peer=peer)

    async def suspect(self, identity: SensorIdentity, *, why: str, detail: str) -> None:
        with _in_gateway_terms():
            await self._fleet.suspect(identity.sensor, identity.epoch, why=why, detail=detail)

    async def heartbeat(self, identity: SensorIdentity, beat: Heartbeat, *, peer: str) -> HeartbeatAnswer:
        with _in_gateway_terms():
            return await self._fleet.heartbeat(identity.sensor, beat, peer=peer)

    async def pending(self, identity: SensorIdentity) -> tuple[bytes, ...]:
        with _in_gateway_terms():
            return await self._commands.pending(identity.sensor)

    async def take_result(
        self, identity: SensorIdentity, command_id: str, body: bytes, signature: bytes
    ) -> bool:
        with _in_gateway_terms():
            return await self._commands.take_result(identity.sensor, command_id, body, signature)


def _seal_key(found: fleet_doors.SealKey) -> SealKey:
    return SealKey(found.public_key, found.epoch, found.from_seq, found.to_seq)
