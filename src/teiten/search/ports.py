"""Rates of ports side by side: each port's own denominator, where it does not reach all sensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from teiten.search import unreached
from teiten.search.basis import NotCounted
from teiten.search.conditions import PortValue
from teiten.search.desk import Desk
from teiten.search.dimensions import Dimension, Key
from teiten.search.periods import DAY, Window
from teiten.search.query import Query
from teiten.search.statements import join_windows
from teiten.search.unreached import Unreached
from teiten.search.visibility import Visibility

#: What a rate of a port rests on: covered address-days per bucket of both periods.
Days = Mapping[Key, tuple[float, ...]]


def split_ports(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    window: Window,
    *,
    family: int,
    all_days: Sequence[float],
    dimension: Dimension,
    keys: Sequence[Key],
) -> tuple[Days, tuple[NotCounted, ...]]:
    """Give the days of each value whose port is known not to reach somebody, and what they leave out."""
    span = join_windows(window)
    found = _find(desk, query, span, dimension, keys)
    if not found:
        return {}, ()
    if visibility.is_guarded:
        return _thin(desk, visibility, query, window, found=found, all_days=all_days)
    everyone = frozenset().union(*(each.sensors for each in found.values()))
    apart = unreached.read_apart(desk, visibility, query, span, sensors=everyone)
    seconds = apart.sheets[1] if family == 6 else apart.sheets[0]
    days: dict[Key, tuple[float, ...]] = {}
    told: dict[str, NotCounted] = {}
    for key, each in found.items():
        taken = seconds * each.shares(apart.sensors, family, span)
        own = np.maximum(0.0, np.array(all_days) - taken.sum(axis=0) / DAY)
        days[key] = tuple(own.tolist())
        now = taken[:, window.count :]
        sensors = np.unique(apart.sensors[now.any(axis=1)])
        if len(sensors):
            share = _share(now.sum() / DAY, all_days[window.count :])
            told[each.names[0]] = NotCounted(each.names, len(sensors), share)
    return days, tuple(told.values())


def split_clusters(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    window: Window,
    *,
    family: int,
    days: Mapping[int, float],
    by_sensor: bool,
    dimension: Dimension,
    keys: Sequence[Key],
) -> Mapping[Key, Mapping[int, float]]:
    """Give the same for clusters of a comparison: its sensors, or its buckets; those without any day are no cluster."""
    found = _find(desk, query, window, dimension, keys)
    clusters, each_day = np.array(list(days), np.int64), np.array(list(days.values()))
    own: dict[Key, Mapping[int, float]] = {}
    for key, each in found.items():
        if visibility.is_guarded:
            left = each_day * (1.0 - unreached.coarse_share(desk, visibility, query, each, window))
        elif by_sensor:
            lengths = np.array(window.lengths_us, np.float64)
            missed = (each.shares(clusters, family, window) * lengths).sum(axis=1) / lengths.sum()
            left = each_day * (1.0 - missed)
        else:
            apart = unreached.read_apart(desk, visibility, query, window, sensors=each.sensors)
            seconds = apart.sheets[1] if family == 6 else apart.sheets[0]
            taken = (seconds * each.shares(apart.sensors, family, window)).sum(axis=0) / DAY
            left = np.maximum(0.0, each_day - taken[clusters])
        own[key] = {
            cluster: kept
            for cluster, kept in zip(clusters.tolist(), left.tolist(), strict=True)
            if kept > 1e-9
        }
    return own


def _find(
    desk: Desk, query: Query, span: Window, dimension: Dimension, keys: Sequence[Key]
) -> dict[Key, Unreached]:
    """Find what is known of the ports of the keys."""
    if query.dataset.startswith("import:"):
        return {}
    known = {
        key: unreached.find_services(desk, (port_of(dimension, key),), span.start_us, span.end_us)
        for key in keys
    }
    return {key: found for key, found in known.items() if found is not None}


def port_of(dimension: Dimension, key: Key) -> PortValue:
    """Give the port that is part of a key."""
    place = dimension.columns.index("dst_port")
    return PortValue(int(key[place]), int(key[place + 1]))


def _thin(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    window: Window,
    *,
    found: Mapping[Key, Unreached],
    all_days: Sequence[float],
) -> tuple[Days, tuple[NotCounted, ...]]:
    days: dict[Key, tuple[float, ...]] = {}
    told: dict[str, NotCounted] = {}
    for key, each in found.items():
        before, now = (
            unreached.coarse_share(desk, visibility, query, each, one) for one in (window.before(), window)
        )
        kept: NDArray[np.float64] = 1.0 - np.repeat([before, now], window.count)
        days[key] = tuple((np.array(all_days) * kept).tolist())
        if now:
            told[each.names[0]] = NotCounted(each.names, None, now)
    return days, tuple(told.values())


def _share(part: float, days: Sequence[float]) -> float:
    whole = sum(days)
    return part / whole if whole else 0.0
