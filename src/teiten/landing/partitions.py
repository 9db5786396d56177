"""A partition of the ledger for each UTC day."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone

import psycopg
from psycopg import sql

#: Days for which a partition is made ahead.
AHEAD_DAYS = 3
_PREFIX = "batches_"


def name_of(day: date) -> str:
    return f"{_PREFIX}{day:%Y%m%d}"


def day_of(name: str) -> date:
    """Read the day from a partition's name."""
    return datetime.strptime(name.removeprefix(_PREFIX), "%Y%m%d").replace(tzinfo=timezone.utc).date()


def bounds_of(day: date) -> tuple[datetime, datetime]:
    """Give the instants ``[start, end)`` of a UTC day."""
    start = datetime.combine(day, time(), tzinfo=timezone.utc)
    return start, start + timedelta(days=1)


def create_statement(day: date) -> sql.Composed:
    """Write the DDL that makes the partition of ``day`` unless it is there."""
    start, end = bounds_of(day)
    return sql.SQL(
        "CREATE TABLE IF NOT EXISTS landing.{} PARTITION OF landing.batches"
        " FOR VALUES FROM ({}) TO ({}) WITH (fillfactor = 80)"
    ).format(sql.Identifier(name_of(day)), sql.Literal(start.isoformat()), sql.Literal(end.isoformat()))


async def ensure_days(connection: psycopg.AsyncConnection, today: date) -> None:
    """Make the partitions of today and the next days; several processes may do so at once."""
    for offset in range(AHEAD_DAYS):
        day = today + timedelta(days=offset)
        found = await connection.execute("SELECT to_regclass(%s)", [f"landing.{name_of(day)}"])
        if (await found.fetchone() or (None,))[0] is None:
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock(%s)", [_CREATE_LOCK])
                await connection.execute(create_statement(day))


_CREATE_LOCK = 7_265_102
