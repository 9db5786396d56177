"""What the gateway asks of the fleet, in its event loop: who is this, let me in, I am alive.

Identify and heartbeat are one statement for many sensors at a time
(:mod:`teiten.fleet.coalesce`) on a small pool of their own. Nothing is cached: a
revocation counts from the next request on. What is rare (enrolment, a restart, a
suspected clone) goes through Django in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

import psycopg
from django.db import DatabaseError, InterfaceError, close_old_connections
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from teiten.fleet import enrolling, metrics, recovering, rotating, services
from teiten.fleet.coalesce import Coalescer
from teiten.fleet.config import FleetConfig
from teiten.fleet.enrolling import Enrolled
from teiten.fleet.errors import FleetAwayError, StaleHeartbeatError
from teiten.fleet.heartbeats import Beat, Noted, note_beats, write_history
from teiten.fleet.settling import settle_addresses
from teiten.foundation.clock import Clock
from teiten.protocol.enrolment import EnrolAnswer, EnrolRequest
from teiten.protocol.heartbeat import Heartbeat, HeartbeatAnswer
from teiten.protocol.recovery import RecoverRequest
from teiten.protocol.rotation import RotateAnswer, RotateRequest

Result = TypeVar("Result")
State: TypeAlias = Literal["active", "pending_approval", "suspended", "revoked", "quarantined"]

#: Seconds that a door waits for a connection before it says that the database is away.
_CONNECTION_WAIT_SECONDS = 5.0

_IDENTIFY = """
SELECT asked.sensor, asked.key_no, k.public_key, s.epoch, s.state, s.held_epoch,
    k.superseded_at IS NOT NULL, k.epoch, k.from_seq, k.to_seq
FROM unnest(%s::bigint[], %s::bigint[]) AS asked (sensor, key_no)
JOIN fleet_sensor AS s ON s.id = asked.sensor
JOIN fleet_sensorkey AS k ON k.sensor_id = s.id AND k.key_no = asked.key_no AND k.revoked_at IS NULL
"""

#: A revoked key seals nothing new, but what it sealed in its epoch stays what it is.
_SEAL_KEY = """
SELECT public_key, epoch, from_seq, to_seq FROM fleet_sensorkey WHERE sensor_id = %s AND key_no = %s
"""

_STATES: dict[str, State] = {
    "active": "active",
    "quarantined": "quarantined",
    "revoked": "revoked",
    "suspended": "suspended",
    "pending_approval": "pending_approval",
}


@dataclass(frozen=True)
class SealKey:
    """Which numbers of which epoch a key may have sealed."""

    public_key: bytes
    epoch: int
    from_seq: int
    #: None: no end.
    to_seq: int | None


@dataclass(frozen=True)
class Identity:
    """Whom a key belongs to, now."""

    sensor: int
    key_no: int
    public_key: bytes
    epoch: int
    state: State
    #: Batches of epochs up to this one are kept back.
    held_epoch: int
    #: The next key has taken over; this one may only ask for that again.
    is_superseded: bool
    seals: SealKey


class FleetDoors:
    """The doors over one database."""

    def __init__(self, database_url: str, config: FleetConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._pool: AsyncConnectionPool[psycopg.AsyncConnection[tuple[Any, ...]]] = AsyncConnectionPool(
            database_url,
            min_size=1,
            max_size=config.door_connections,
            open=False,
            timeout=_CONNECTION_WAIT_SECONDS,
            # The pool waits ever longer between attempts; a new one begins with the next request instead.
            reconnect_timeout=_CONNECTION_WAIT_SECONDS,
            configure=_prepare_connection,
            kwargs={"autocommit": True, "row_factory": tuple_row, "application_name": "teiten-doors"},
        )
        self._identify = Coalescer(self._find_identities, key=lambda asked: asked, door="identify")
        self._beats = Coalescer(self._note_beats, key=lambda beat: beat.sensor, door="heartbeat")

    async def start(self) -> None:
        """Open the pool; the database may still be on its way."""
        await self._pool.open(wait=False)

    async def stop(self) -> None:
        """Close the pool."""
        await self._pool.close()

    async def identify(self, sensor: int, key_no: int) -> Identity | None:
        """Find whose key this is; a change of state counts from the next call on.

        Raises:
            FleetAwayError: when the database does not answer.
        """
        found = await self._identify.submit((sensor, key_no))
        metrics.IDENTIFIED.labels("unknown" if found is None else found.state).inc()
        return found

    async def find_seal_key(self, sensor: int, key_no: int) -> SealKey | None:
        """Find a key by which a sensor sealed batches, also one that is revoked for requests.

        Raises:
            FleetAwayError: when the database does not answer.
        """
        rows = await self._execute(_SEAL_KEY, [sensor, key_no])
        return SealKey(bytes(rows[0][0]), *rows[0][1:]) if rows else None

    async def enrol(self, request: EnrolRequest, *, peer: str) -> EnrolAnswer:
        """Bind a key to a sensor; the gateway puts its own keys and the time into the answer.

        Raises:
            EnrolmentError: with the reason; nothing was changed.
            FleetAwayError: when the database does not answer.
        """
        return _answer(
            await call_in_thread(
                lambda: enrolling.enrol_sensor(request, peer=peer, now=self._clock.now(), config=self._config)
            )
        )

    async def recover(self, request: RecoverRequest, *, peer: str) -> EnrolAnswer:
        """Give a sensor a new key and a new epoch.

        Raises:
            EnrolmentError: with the reason; nothing was changed.
            FleetAwayError: when the database does not answer.
        """
        return _answer(
            await call_in_thread(lambda: recovering.recover_sensor(request, peer=peer, now=self._clock.now()))
        )

    async def rotate(self, request: RotateRequest, *, used_key_no: int, peer: str) -> RotateAnswer:
        """Replace the key that signed the request.

        Raises:
            RotationError: with the reason; nothing was changed.
            FleetAwayError: when the database does not answer.
        """
        return await call_in_thread(
            lambda: rotating.rotate_key(request, used_key_no=used_key_no, peer=peer, now=self._clock.now())
        )

    async def suspect(self, sensor: int, epoch: int, *, why: str, detail: str) -> bool:
        """Quarantine a sensor whose key seems to be used by two machines; gives whether it was active.

        Raises:
            FleetAwayError: when the database does not answer.
        """
        return await call_in_thread(
            lambda: services.quarantine_sensor(
                sensor, at=self._clock.now(), epoch=epoch, why=why, detail=detail
            )
        )

    async def heartbeat(self, sensor: int, beat: Heartbeat, *, peer: str) -> HeartbeatAnswer:
        """Record how a sensor is.

        Raises:
            StaleHeartbeatError: when the counter is not above the last one.
            FleetAwayError: when the database does not answer.
        """
        now = self._clock.now()
        noted = await self._beats.submit(Beat(sensor=sensor, at=now, peer=peer, said=beat))
        if not noted.is_new:
            metrics.HEARTBEATS.labels("stale").inc()
            if noted.is_cloned:
                await call_in_thread(lambda: write_history(sensor, beat, noted, now=now))
            raise StaleHeartbeatError(
                f"heartbeat {beat.counter} of sensor {sensor} is not above the last one ({noted.last_counter})"
            )
        metrics.HEARTBEATS.labels("accepted").inc()
        if noted.is_remarkable:
            await call_in_thread(lambda: write_history(sensor, beat, noted, now=now))
        if noted.unsettled is not None:
            stated = noted.unsettled
            await call_in_thread(lambda: settle_addresses(sensor, stated, heard_at=noted.heard_at, now=now))
        return HeartbeatAnswer(
            server_time_us=self._clock.now_us(),
            config=noted.config,
            commands_pending=noted.commands_pending,
            release=noted.release,
        )

    async def ask(self, statement: str, values: list[Any]) -> list[tuple[Any, ...]]:
        """Ask the database one thing, for a door that stands in a module of its own.

        Raises:
            FleetAwayError: when the database does not answer.
        """
        return await self._execute(statement, values)

    async def _find_identities(self, asked: Sequence[tuple[int, int]]) -> list[Identity | None]:
        rows = await self._execute(_IDENTIFY, [[one[0] for one in asked], [one[1] for one in asked]])
        found = {(row[0], row[1]): _read_identity(row) for row in rows if row[4] in _STATES}
        return [found.get(one) for one in asked]

    async def _note_beats(self, beats: Sequence[Beat]) -> list[Noted]:
        try:
            async with self._pool.connection() as connection:
                return await note_beats(connection, beats)
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise FleetAwayError(f"the control database does not answer: {error}") from error

    async def _execute(self, statement: str, values: list[Any]) -> list[tuple[Any, ...]]:
        try:
            async with self._pool.connection() as connection:
                return await (await connection.execute(statement, values, prepare=True)).fetchall()
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise FleetAwayError(f"the control database does not answer: {error}") from error


def _read_identity(row: tuple[Any, ...]) -> Identity:
    sensor, key_no, public_key, epoch, state, held_epoch, is_superseded, *seals = row
    raw = bytes(public_key)
    return Identity(
        sensor, key_no, raw, epoch, _STATES[state], held_epoch, is_superseded, SealKey(raw, *seals)
    )


async def _prepare_connection(connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> None:
    # What the doors write is only heartbeats: after a crash, the next one brings it again.
    await connection.execute("SET synchronous_commit = off")
    # A sensor waits at the door; a database that hangs is one that is away.
    await connection.execute("SET statement_timeout = '10s'")


def _answer(done: Enrolled) -> EnrolAnswer:
    return EnrolAnswer(
        done.sensor,
        done.key_no,
        done.epoch,
        gateway_keys=(),
        server_time_us=0,
        config=done.config,
        standing=done.standing,
    )


async def call_in_thread(function: Callable[[], Result]) -> Result:
    """Run code that uses Django's database in a thread, and give its connection back afterwards.

    Raises:
        FleetAwayError: when the database does not answer.
    """

    def call() -> Result:
        try:
            return function()
        finally:
            close_old_connections()

    try:
        return await asyncio.to_thread(call)
    except (psycopg.OperationalError, PoolTimeout, InterfaceError) as error:
        raise FleetAwayError(f"the control database does not answer: {error}") from error
    except DatabaseError as error:
        if isinstance(error.__cause__, psycopg.OperationalError | PoolTimeout):
            raise FleetAwayError(f"the control database does not answer: {error}") from error
        raise
