"""Arithmetic of figures: changes, shares, rates, statistics of a line. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from teiten.search.answers import Figure, LineStatistics, Points
from teiten.search.query import Metric


def make_figure(value: float | None, previous: float | None) -> Figure:
    """Put a value beside the previous one."""
    return Figure(value, previous, change_of(value, previous))


def change_of(value: float | None, previous: float | None) -> float | None:
    """Give (value - previous) / previous; None without either, or from zero."""
    if value is None or not previous:
        return None
    return (value - previous) / previous


def share_of(part: float | None, whole: float | None) -> float | None:
    """Give part / whole; None without either, or of nothing."""
    if part is None or not whole:
        return None
    return part / whole


def divide(count: float, days: float) -> float | None:
    """Give a rate per covered address-day; None where nothing was covered."""
    return count / days if days > 0 else None


def measure(metric: Metric, *, packets: float, hosts: float, days: float) -> float | None:
    """Give the metric of one bucket or period; None where nothing was watched and nothing seen."""
    if metric == "rate":
        return divide(packets, days)
    if days <= 0 and not packets:
        return None
    return hosts if metric == "hosts" else packets


def points_of(
    metric: Metric, *, packets: Sequence[int], hosts: Sequence[int], days: Sequence[float]
) -> Points:
    """Give the metric bucket by bucket."""
    return tuple(
        measure(metric, packets=packet_count, hosts=host_count, days=covered)
        for packet_count, host_count, covered in zip(packets, hosts, days, strict=True)
    )


def summarise(points: Points, total: Figure) -> LineStatistics:
    """Give the statistics of a line over its watched buckets; p95 by nearest rank."""
    watched = sorted(value for value in points if value is not None)
    if not watched:
        return LineStatistics(None, None, None, None, None, total)
    last = next(value for value in reversed(points) if value is not None)
    return LineStatistics(
        minimum=watched[0],
        mean=sum(watched) / len(watched),
        p95=watched[max(0, -(-len(watched) * 95 // 100) - 1)],
        maximum=watched[-1],
        last=last,
        total=total,
    )
