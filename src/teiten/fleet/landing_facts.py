"""What the landing ledger knows of each sensor: its last batch, and numbers that never came.

``landing`` keeps for ever which sequence numbers it received. A hole counts while
the batch after it is less than a day old: later it is history, told by the
coverage, and says nothing about how the sensor is now.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from teiten.landing import ledger

RECENT = timedelta(days=1)

_HAS_LANDING = "SELECT to_regclass('landing.received') IS NOT NULL"

_LAST_BATCH = "SELECT sensor, max(last_landed_at) FROM landing.received GROUP BY sensor"

_HOLES = """
WITH piece AS (
    SELECT r.sensor, r.epoch, lower(x) AS first_seq,
        lower(x) - lag(upper(x), 1, 1::bigint) OVER (PARTITION BY r.sensor, r.epoch ORDER BY x) AS missing
    FROM landing.received AS r CROSS JOIN LATERAL unnest(r.seqs) AS x
    WHERE r.last_landed_at > %(since)s
)
SELECT piece.sensor, sum(piece.missing)::bigint
FROM piece JOIN landing.batches AS b
    ON b.sensor = piece.sensor AND b.epoch = piece.epoch AND b.seq = piece.first_seq AND b.landed_at > %(since)s
WHERE piece.missing > 0
GROUP BY piece.sensor
"""


@dataclass(frozen=True)
class Landed:
    """What was received from one sensor."""

    last_batch_at: datetime | None = None
    #: Sequence numbers missing in front of batches of the last day.
    missing_batches: int = 0


NOTHING = Landed()


def has_landing() -> bool:
    """Tell whether a gateway has ever prepared its ledger in this database."""
    with connection.cursor() as cursor:
        cursor.execute(_HAS_LANDING)
        return bool(cursor.fetchone()[0])


def release_held(sensor: int) -> int:
    """Let batches that were kept back on suspicion go to the loader; gives how many."""
    if not has_landing():
        return 0
    return ledger.release_held(connection.connection, sensor=sensor)


def discard_held(sensor: int) -> int:
    """Decide that batches that were kept back are never loaded; gives how many."""
    if not has_landing():
        return 0
    return ledger.discard_held(connection.connection, sensor=sensor)


def read_landed(*, now: datetime) -> dict[int, Landed]:
    """Give sensor → what was received; empty where no gateway has ever run."""
    if not has_landing():
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_HOLES, {"since": now - RECENT})
        holes = dict(cursor.fetchall())
        cursor.execute(_LAST_BATCH)
        return {sensor: Landed(at, holes.get(sensor, 0)) for sensor, at in cursor.fetchall()}
