"""Read the ledger for fleet and portal: what a sensor sent, what is missing, what is wrong.

Every function takes an open psycopg connection and changes nothing, but for
:func:`release_held` and :func:`discard_held`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import psycopg

from teiten.landing import queries


@dataclass(frozen=True)
class LastLanded:
    """The newest batches of a sensor."""

    sensor: int
    epoch: int
    #: The one that came last.
    last_seq: int
    #: The highest number received.
    highest_seq: int
    last_landed_at: datetime


@dataclass(frozen=True)
class Gap:
    """Numbers that were never received though a later one was, first to last inclusive."""

    sensor: int
    epoch: int
    first_seq: int
    last_seq: int


@dataclass(frozen=True)
class StateCount:
    """How many batches are in a state."""

    #: ``landed``, ``loading``, ``loaded``, ``quarantined``, ``held`` or ``discarded``.
    state: str
    batches: int
    size_bytes: int


@dataclass(frozen=True)
class Alarm:
    """Something that somebody should look at."""

    at: datetime
    sensor: int
    kind: str
    detail: str


def list_last_landed(connection: psycopg.Connection) -> dict[int, LastLanded]:
    """Give the newest batch of every sensor that ever sent one, by sensor."""
    rows = connection.execute(queries.get("list_last_landed"))
    return {row[0]: LastLanded(*row) for row in rows}


def list_gaps(connection: psycopg.Connection, *, sensor: int | None = None, limit: int = 1000) -> list[Gap]:
    """List missing numbers, by sensor and epoch in ascending order."""
    return [
        Gap(*row) for row in connection.execute(queries.get("list_gaps"), {"sensor": sensor, "limit": limit})
    ]


def count_states(connection: psycopg.Connection, *, sensor: int | None = None) -> dict[str, StateCount]:
    """Count batches by state, of one sensor or all, as far as the ledger keeps rows."""
    rows = connection.execute(queries.get("count_states"), {"sensor": sensor})
    return {row[0]: StateCount(*row) for row in rows}


def list_alarms(connection: psycopg.Connection, *, since: datetime, limit: int = 1000) -> list[Alarm]:
    """List alarms, newest first."""
    return [
        Alarm(*row)
        for row in connection.execute(queries.get("list_alarms"), {"since": since, "limit": limit})
    ]


def release_held(connection: psycopg.Connection, *, sensor: int, epoch: int | None = None) -> int:
    """Let batches that were held on suspicion of a clone go to the loader, and tell how many."""
    with connection.transaction():
        released = connection.execute(queries.get("release_held"), {"sensor": sensor, "epoch": epoch})
        connection.execute(queries.get("notify"))
    return released.rowcount


def discard_held(connection: psycopg.Connection, *, sensor: int) -> int:
    """Decide that held batches are never loaded, and tell how many; their receipts stand."""
    return connection.execute(queries.get("discard_held"), {"sensor": sensor}).rowcount
