"""Holes in the batch numbers of sensors: data that may still come.

A hole is explained, and no longer waited for, by a tombstone of the sensor's spool or
by batches of another data set that took these numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from teiten.search.desk import Desk
from teiten.search.predicates import Binding
from teiten.search.query import Query
from teiten.search.visibility import Visibility

#: How far back holes are looked for.
_LOOK_BACK_US = 86_400_000_000
#: More holes than this are not looked at one by one.
_MOST_HOLES = 5_000


@dataclass(frozen=True)
class Hole:
    """Numbers ``first_seq`` to ``last_seq`` of a sensor's epoch are not there."""

    sensor: int
    epoch: int
    first_seq: int
    last_seq: int
    #: End of the last window before the hole, µs.
    held_us: int


_HOLES = """
SELECT sensor, epoch, toUInt64(previous_seq + 1) AS first_seq, toUInt64(batch_seq - 1) AS last_seq, held_us
FROM
(
    SELECT
        sensor, epoch, batch_seq,
        lagInFrame(batch_seq) OVER numbered AS previous_seq,
        lagInFrame(toUnixTimestamp64Micro(window_end_at)) OVER numbered AS held_us
    FROM coverage
    WHERE dataset = {dataset} AND window_start_at >= {since} AND (sensor, epoch) IN
    (
        SELECT sensor, epoch FROM coverage
        WHERE dataset = {dataset} AND window_start_at >= {since}
        GROUP BY sensor, epoch
        HAVING max(batch_seq) - min(batch_seq) + 1 > uniqExact(batch_seq)
    )
    WINDOW numbered AS (PARTITION BY sensor, epoch ORDER BY batch_seq ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
)
WHERE previous_seq > 0 AND batch_seq > previous_seq + 1
ORDER BY held_us DESC, sensor, epoch, first_seq
LIMIT {limit}
"""
_EXPLAINED = """
SELECT sensor, epoch, first_seq, last_seq FROM lost_batches WHERE (sensor, epoch) IN {pairs}
UNION ALL
SELECT sensor, epoch, batch_seq AS first_seq, batch_seq AS last_seq FROM coverage
WHERE dataset != {dataset} AND (sensor, epoch) IN {pairs}
"""


def list_holes(desk: Desk, visibility: Visibility, query: Query) -> tuple[Hole, ...]:
    """List the unexplained holes of the last day, newest first; all panels of a screen ask for the same."""
    return desk.remember(
        ("holes", query.dataset),
        lambda: _list_holes(desk, visibility, query),
        seconds=desk.config.freshness_cache_seconds,
        viewer=None,
    )


def _list_holes(desk: Desk, visibility: Visibility, query: Query) -> tuple[Hole, ...]:
    binding = Binding()
    statement = _HOLES.format(
        dataset=binding.bind("String", query.dataset),
        since=binding.instant(desk.clock.now_us() - _LOOK_BACK_US),
        limit=binding.bind("UInt32", _MOST_HOLES),
    )
    rows = desk.select(visibility, statement, binding.parameters).to_pylist()
    holes = [Hole(**row) for row in rows]
    if not holes:
        return ()
    explained = _list_explained(desk, visibility, query, holes)
    return tuple(hole for hole in holes if not is_explained(hole, explained))


def is_explained(hole: Hole, ranges: Iterable[tuple[int, int, int, int]]) -> bool:
    """Tell whether ranges ``(sensor, epoch, first, last)``, ordered by first, cover the hole."""
    wanted = hole.first_seq
    for sensor, epoch, first, last in ranges:
        if (sensor, epoch) == (hole.sensor, hole.epoch) and first <= wanted <= last:
            wanted = last + 1
            if wanted > hole.last_seq:
                return True
    return False


def _list_explained(
    desk: Desk, visibility: Visibility, query: Query, holes: Sequence[Hole]
) -> list[tuple[int, int, int, int]]:
    binding = Binding()
    pairs = sorted({(hole.sensor, hole.epoch) for hole in holes})
    statement = _EXPLAINED.format(
        dataset=binding.bind("String", query.dataset),
        pairs=binding.bind("Array(Tuple(UInt32, UInt32))", pairs),
    )
    rows: list[dict[str, Any]] = desk.select(visibility, statement, binding.parameters).to_pylist()
    return sorted((row["sensor"], row["epoch"], row["first_seq"], row["last_seq"]) for row in rows)
