"""Planned troubles, so that the screens of a demonstration have something to show.

Each is declared: a simulated sensor that is silent, loses batches, drops packets or
has a wrong clock says so through the same fields as a real one. Hours count from
the anchor (the first start) and come again every week.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from teiten.simulators.population import HOUR_US

_WEEK_US = 7 * 24 * HOUR_US
#: A repeated plan speaks for three days before the anchor and four after it.
_BEFORE_US = 3 * 24 * HOUR_US

Hours = tuple[float, float]


@dataclass(frozen=True)
class Behaviour:
    """What a simulated sensor does beside watching."""

    #: Nothing is recorded and nobody is told; hours from the anchor, ``[from, to)``.
    silent_hours: tuple[Hours, ...] = ()
    #: Recorded, but dropped by a full spool: tombstones tell.
    lost_hours: tuple[Hours, ...] = ()
    #: The ring overflows: kernel drops are stated.
    dropping_hours: tuple[Hours, ...] = ()
    #: Share of packets that the kernel drops then.
    drop_share: float = 0.0
    #: How far the sensor's clock is ahead, µs; its batches and heartbeats state the offset.
    clock_ahead_us: int = 0


BEHAVIOURS: dict[str, Behaviour] = {
    "steady": Behaviour(),
    "silent": Behaviour(silent_hours=((-5.5, 7.0), (-62.0, -57.5))),
    "interrupted": Behaviour(silent_hours=((-40.0, -38.25), (-15.0, -14.5), (30.0, 31.0))),
    "lossy": Behaviour(lost_hours=((-7.0, -4.0), (-50.0, -48.0), (44.0, 46.0))),
    "dropping": Behaviour(
        dropping_hours=((-66.0, -60.0), (-42.0, -36.0), (-20.0, -12.0), (-3.0, 8.0), (28.0, 40.0)),
        drop_share=0.035,
    ),
    "skewed": Behaviour(clock_ahead_us=4_100_000),
}


def cut_spans(
    spans: tuple[Hours, ...], *, anchor_us: int, start_us: int, end_us: int
) -> list[tuple[int, int]]:
    """Give the parts of ``[start_us, end_us)`` that the weekly spans cover, in order."""
    found = []
    first_week = (start_us - anchor_us + _BEFORE_US) // _WEEK_US - 1
    last_week = (end_us - anchor_us + _BEFORE_US) // _WEEK_US + 1
    for week in range(first_week, last_week + 1):
        for begin, end in spans:
            base = anchor_us + week * _WEEK_US
            low = max(start_us, base + round(begin * HOUR_US))
            high = min(end_us, base + round(end * HOUR_US))
            if low < high:
                found.append((low, high))
    return sorted(found)


def subtract_spans(whole: tuple[int, int], spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Give what is left of ``whole`` without the spans, which are in order of their starts."""
    at, end = whole
    for low, high in spans:
        if min(low, end) > at:
            yield at, min(low, end)
        at = max(at, high)
        if at >= end:
            return
    if at < end:
        yield at, end


def overlap_us(spans: list[tuple[int, int]], start_us: int, end_us: int) -> int:
    """Give how many µs of ``[start_us, end_us)`` lie in the spans."""
    return sum(max(0, min(end_us, high) - max(start_us, low)) for low, high in spans)
