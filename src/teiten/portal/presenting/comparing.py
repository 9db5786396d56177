"""Whether two periods may be compared: a count that differs because sensors were not there says nothing."""

from __future__ import annotations

from dataclasses import replace

from teiten.search.answers import Figure, Points
from teiten.search.query import Metric

#: Share of buckets that may be unwatched in the previous period beyond those in this one.
_TOLERANCE = 0.1


def is_comparable(now: Points, before: Points) -> bool:
    """Tell whether the previous period was watched about as much as this one."""
    return bool(before) and _unwatched(before) - _unwatched(now) <= _TOLERANCE


def _unwatched(points: Points) -> float:
    return sum(1 for point in points if point is None) / len(points) if points else 1.0


def compare_fairly(figure: Figure, metric: Metric, *, comparable: bool) -> Figure:
    """Drop the previous value of a count when the periods may not be compared; a rate always may."""
    return figure if comparable or metric == "rate" else replace(figure, previous=None, change=None)
