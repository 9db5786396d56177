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

from teiten.fleet import enrolling, metrics
from teiten.fleet.coalesce import Coalescer
from teiten.fleet.config import FleetConfig
from teiten.fleet.errors import FleetAwayError, StaleHeartbeatError
from teiten.fleet.heartbeats import Beat, Noted, note_beats, write_history
from teiten.fleet.settling import settle_addresses
from teiten.foundation.clock import Clock
from teiten.protocol.enrolment import EnrolAnswer, EnrolRequest
from teiten.protocol.heartbeat import Heartbeat, HeartbeatAnswer

Result = TypeVar("Result")
State: TypeAlias = Literal["active", "suspended", "revoked", "quarantined"]

#: Seconds that a door waits for a connection before it says that the database is away.
_CONNECTION_WAIT_SECONDS = 5.0

_IDENTIFY = """
SELECT asked.sensor, asked.key_no, k.public_key, s.epoch, s.state
FROM unnest(%s::bigint[], %s::bigint[]) AS asked (sensor, key_no)
JOIN fleet_sensor AS s ON s.id = asked.sensor
JOIN fleet_sensorkey AS k ON k.sensor_id = s.id AND k.key_no = asked.key_no AND k.revoked_at IS NULL
"""

#: What the gateway is told; a sensor that waits for approval is not let in yet.
_STATES: dict[str, State] = {
    "active": "active",
    "quarantined": "quarantined",
    "revoked": "revoked",
    "suspended": "suspended",
    "pending_approval": "suspended",
}


@dataclass(frozen=True)
class Identity:
    """Whom a key belongs to, now."""

    sensor: int
    key_no: int
    public_key: bytes
    epoch: int
    state: State


class FleetDoors:
    """The three doors over one database."""

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

    async def enrol(self, request: EnrolRequest, *, peer: str) -> EnrolAnswer:
        """Bind a key to a sensor; the gateway puts its own keys and the time into the answer.

        Raises:
            EnrolmentError: with the reason; nothing was changed.
            FleetAwayError: when the database does not answer.
        """
        done = await call_in_thread(
            lambda: enrolling.enrol_sensor(request, peer=peer, now=self._clock.now(), config=self._config)
        )
        return EnrolAnswer(
            done.sensor, done.key_no, done.epoch, gateway_keys=(), server_time_us=0, config=done.config
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
            raise StaleHeartbeatError(
                f"heartbeat {beat.counter} of sensor {sensor} is not above the last one ({noted.last_counter})"
            )
        metrics.HEARTBEATS.labels("accepted").inc()
        if noted.is_remarkable:
            await call_in_thread(lambda: write_history(sensor, beat, noted, now=now))
        if noted.unsettled is not None:
            stated = noted.unsettled
            await call_in_thread(lambda: settle_addresses(sensor, stated, heard_at=noted.heard_at, now=now))
        return HeartbeatAnswer(server_time_us=self._clock.now_us(), config=noted.config)

    async def _find_identities(self, asked: Sequence[tuple[int, int]]) -> list[Identity | None]:
        rows = await self._execute(_IDENTIFY, [[one[0] for one in asked], [one[1] for one in asked]])
        found = {
            (sensor, key_no): Identity(sensor, key_no, bytes(public_key), epoch, _STATES[state])
            for sensor, key_no, public_key, epoch, state in rows
            if state in _STATES
        }
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


async def _prepare_connection(connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> None:
    # What the doors write is only heartbeats: after a crash, the next one brings it again.
    await connection.execute("SET synchronous_commit = off")
    # A sensor waits at the door; a database that hangs is one that is away.
    await connection.execute("SET statement_timeout = '10s'")


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
