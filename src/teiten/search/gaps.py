"""Where observation is missing: expected against watched, per region and bucket. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil

import numpy as np
from numpy.typing import NDArray

from teiten.foundation.clock import from_us
from teiten.search.basis import Gap
from teiten.search.maintenance import Planned
from teiten.search.members import Roster
from teiten.search.periods import DAY, Window
from teiten.search.watched import Watched

#: A bucket has a gap when more than this share of its expected observation is missing.
_LEAST_SHARE = 0.02
_MOST_GAPS = 10


def expect(members: Roster, window: Window, *, family: int) -> NDArray[np.float64]:
    """Give the address-seconds expected per bucket."""
    return _sum_up(members, members.addresses(family), window)


def expect_sensors(members: Roster, window: Window) -> NDArray[np.float64]:
    """Give the sensor-seconds expected per bucket."""
    return _sum_up(members, np.ones(len(members)), window)


def find_gaps(
    members: Roster,
    watched: Mapping[str, Watched],
    window: Window,
    *,
    family: int,
    pending_from_us: int | None,
    planned: Mapping[str, Planned] | None = None,
) -> tuple[Gap, ...]:
    """Find the largest gaps: runs of buckets in which a region watched less than expected.

    Maintenance and what is missing beside it are gaps of their own.

    Args:
        members: the roster.
        watched: region → what it watched per bucket of ``window``.
        window: the period.
        family: address family that missing address-days are counted in.
        pending_from_us: data of buckets that end after this may still come.
        planned: region → what it missed by declared maintenance.
    """
    gaps: list[Gap] = []
    for region in sorted(set(members.region.tolist())):
        mine = members.where(members.region == region)
        seen = watched.get(region) or Watched.nothing(window.count)
        apart = (planned or {}).get(region) or Planned.nothing(window.count)
        gaps.extend(
            _find_runs(
                region, mine, seen, window, family=family, pending_from_us=pending_from_us, planned=apart
            )
        )
    return tuple(sorted(gaps, key=lambda gap: -gap.missing_address_days)[:_MOST_GAPS])


def _find_runs(
    region: str,
    members: Roster,
    seen: Watched,
    window: Window,
    *,
    family: int,
    pending_from_us: int | None,
    planned: Planned,
) -> Iterable[Gap]:
    expected = expect(members, window, family=family)
    lost = expect_sensors(members, window) - seen.sensor_seconds - planned.sensor_seconds
    lengths = np.array(window.lengths_us) / 1_000_000
    missing = np.maximum(0.0, expected - seen.address_seconds(family) - planned.address_seconds)
    for kind, absent, sensors in (
        ("missing", missing, lost / lengths),
        ("planned", planned.address_seconds, planned.sensor_seconds / lengths),
    ):
        for start, end in _list_runs(absent > _LEAST_SHARE * expected):
            is_pending = pending_from_us is not None and window.edges_us[end] > pending_from_us
            yield Gap(
                start_at=from_us(window.edges_us[start]),
                end_at=from_us(window.edges_us[end]),
                region=region,
                sensors=max(1, ceil(float(sensors[start:end].max()) - _LEAST_SHARE)),
                missing_address_days=float(absent[start:end].sum()) / DAY,
                kind="planned" if kind == "planned" else "pending" if is_pending else "missing",
            )


def _list_runs(is_gap: NDArray[np.bool_]) -> Iterable[tuple[int, int]]:
    """Give ``[start, end)`` of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_gap, [False]]).astype(np.int8)))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _sum_up(members: Roster, weight: NDArray[np.float64], window: Window) -> NDArray[np.float64]:
    """Add up each member's expected seconds per bucket, times its weight.

    With F(t) the weighted time expected before t, a bucket expects F(its end) - F(its
    start); F comes from sorted starts and ends, so that 10,000 members cost nothing.
    """
    origin = window.start_us
    starts = np.maximum(members.from_us, origin) - origin
    ends = np.maximum(members.until_us, origin) - origin
    edges = np.array(window.edges_us, dtype=np.int64) - origin
    before = _accumulate(starts, weight, edges) - _accumulate(np.maximum(starts, ends), weight, edges)
    return np.asarray(np.diff(before) / 1_000_000)


def _accumulate(
    instants: NDArray[np.int64], weight: NDArray[np.float64], edges: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Give, for each edge, the sum of weight * (edge - instant) over the instants before it."""
    order = np.argsort(instants)
    weights = np.concatenate([[0.0], np.cumsum(weight[order])])
    moments = np.concatenate([[0.0], np.cumsum(weight[order] * instants[order])])
    place = np.searchsorted(instants[order], edges, side="right")
    return np.asarray(weights[place] * edges - moments[place])
