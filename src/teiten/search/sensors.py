"""Who was watching: each sensor's coverage, freshness and faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from teiten.foundation.clock import from_us
from teiten.search import holes, lines, pseudonyms, roster, watched
from teiten.search.answers import Points
from teiten.search.conditions import where
from teiten.search.coverage import observe
from teiten.search.desk import Desk
from teiten.search.errors import QueryError
from teiten.search.fields import FIELDS
from teiten.search.masking import check_column, check_filters
from teiten.search.members import Member
from teiten.search.periods import DAY, Window
from teiten.search.predicates import Binding, write_filter
from teiten.search.query import Query
from teiten.search.roster import DAY_US
from teiten.search.tables import HOUR, PACKETS
from teiten.search.visibility import Visibility
from teiten.search.watched import Watched
from teiten.search.watching import RegionCoverage, SensorCoverage, Sensors

State = Literal["watching", "silent", "gapped", "dropping", "skewed"]
_MOST_DROP_SHARE = 0.001
_MOST_CLOCK_OFFSET_SECONDS = 1.0
#: Up to this period cells are hours, beyond it days.
_HOURLY_DAYS = 31

_NEWEST = """
SELECT
    sensor,
    argMax(epoch, window_end_at) AS last_epoch,
    argMax(batch_seq, window_end_at) AS last_seq,
    argMax(clock_offset_us, window_end_at) AS last_offset_us,
    argMax(software, window_end_at) AS last_software,
    max(landed_at) AS last_landed_at
FROM coverage
WHERE dataset = {dataset} AND window_start_at >= {since} AND window_start_at < {until} AND {filter}
GROUP BY sensor
"""
_LOST = """
SELECT sensor, sum(last_seq - first_seq + 1) AS lost
FROM lost_batches FINAL
WHERE dataset = {dataset} AND window_end_at > {since} AND window_start_at < {until}
GROUP BY sensor
"""


def check_sensor(sensor: int) -> int:
    """Refuse a number that no sensor can have.

    Raises:
        QueryError: naming the bounds.
    """
    if not 0 <= sensor <= FIELDS["sensor"].highest:
        rule = f"0 to {FIELDS['sensor'].highest}"
        raise QueryError(f"sensor must be {rule}, not {sensor}", field="sensor", value=str(sensor), rule=rule)
    return sensor


def answer_sensors(
    desk: Desk, visibility: Visibility, query: Query, *, step_seconds: int | None, sensor: int | None
) -> Sensors:
    """See :meth:`teiten.search.service.Search.sensors`."""
    started = desk.clock.monotonic()
    check_filters(visibility, query.filters)
    if sensor is not None:
        check_column(visibility, "sensor", "sensor")
        query = lines.narrow(query, where("sensor", "=", check_sensor(sensor)))
    step = step_seconds if step_seconds is not None else _pick_step(query)
    window = lines.plan_for(desk, query, step_seconds=step, needs_hosts=False).window
    observation = observe(desk, visibility, query, window)
    members = roster.list_members(desk, visibility, query, window)
    members = tuple(member for member in members if member.until_us > window.start_us)
    seen = watched.read_watched(desk, visibility, query, window, by="sensor")
    nothing = Watched.nothing(window.count)
    each = [seen.get(member.sensor, nothing) for member in members]
    seconds = np.array([part.sensor_seconds for part in each]).reshape(len(members), window.count)
    expected = expect_matrix(members, window)
    facts = _Facts(desk, visibility, query, window)
    joined = _join_small_regions(visibility, members)
    shares = share_points(seconds.sum(axis=1), expected.sum(axis=1))
    described = (
        _show(visibility, facts.describe(member, share, cells))
        for member, share, cells in zip(joined, shares, share_rows(seconds, expected), strict=True)
    )
    shown = [each for each in described if each is not None]
    if visibility.is_guarded:
        shown = _keep_common(visibility, shown)
        shown.sort(key=lambda each: (each.sensor is None, each.pseudonym))
    regions = _sum_up_regions(joined, each, expected, family=observation.family)
    return Sensors(
        step_seconds=window.step_seconds,
        starts=window.starts,
        sensors=tuple(shown),
        regions=tuple(region for region in regions if _is_told(visibility, region, joined)),
        masked=() if visibility.may_see_sensor else ("sensors",),
        basis=observation.basis,
        cost=desk.cost_of(PACKETS, window, started, call="sensors"),
    )


def _show(visibility: Visibility, coverage: SensorCoverage) -> SensorCoverage | None:
    """Give what the viewer may see of a sensor: all of it, a pseudonym with little, or nothing."""
    number = coverage.sensor
    if visibility.may_see_sensor or number in visibility.own_sensors or number is None:
        return coverage
    name = pseudonyms.name_sensor(visibility, number)
    if name is None:
        return None
    return SensorCoverage(
        sensor=None,
        pseudonym=name,
        region=coverage.region,
        addresses=0.0,
        last_window_at=None,
        last_landed_at=None,
        last_epoch=0,
        last_seq=0,
        clock_offset_seconds=None,
        share=None if coverage.share is None else round(coverage.share, 1),
        cells=(),
        captured_packets=0,
        kernel_drops=0,
        missing_batches=0,
        lost_batches=0,
        software="",
        state="silent" if coverage.state == "silent" else "watching",
    )


def _keep_common(visibility: Visibility, shown: Sequence[SensorCoverage]) -> list[SensorCoverage]:
    """Leave under a pseudonym a share that at least *k* in the region have: another would link two recipients' names.

    Fewer pseudonyms than *k* are not listed at all: a filter by their region would tell it.
    """
    if sum(each.sensor is None for each in shown) < visibility.least_sensors:
        return [each for each in shown if each.sensor is not None]
    alike = Counter((each.region, each.share) for each in shown if each.sensor is None)
    return [
        replace(each, share=None)
        if each.sensor is None and alike[each.region, each.share] < visibility.least_sensors
        else each
        for each in shown
    ]


def _join_small_regions(visibility: Visibility, members: Sequence[Member]) -> list[Member]:
    """For a guarded viewer, put regions of fewer than *k* sensors of others together: their failures would tell sensors."""
    if not visibility.is_guarded:
        return list(members)
    sizes = _count_others(visibility, members)
    return [
        replace(member, region="") if sizes[member.region] < visibility.least_sensors else member
        for member in members
    ]


def _count_others(visibility: Visibility, members: Sequence[Member]) -> Counter[str]:
    return Counter(member.region for member in members if member.sensor not in visibility.own_sensors)


def _is_told(visibility: Visibility, region: RegionCoverage, members: Sequence[Member]) -> bool:
    """Tell whether a region's coverage may be shown: all small ones together may be too few still."""
    if not visibility.is_guarded:
        return True
    return _count_others(visibility, members)[region.region] >= visibility.least_sensors


def _pick_step(query: Query) -> int:
    return HOUR if query.length.days <= _HOURLY_DAYS else DAY


def expect_matrix(members: Sequence[Member], window: Window) -> NDArray[np.float64]:
    """Give the seconds expected of each member in each bucket, shape (members, buckets)."""
    edges = np.array(window.edges_us, dtype=np.int64)
    starts = np.array([member.from_us for member in members], dtype=np.int64).reshape(-1, 1)
    ends = np.array([member.until_us for member in members], dtype=np.int64).reshape(-1, 1)
    overlap = np.minimum(ends, edges[1:]) - np.maximum(starts, edges[:-1])
    return np.asarray(np.clip(overlap, 0, None) / 1_000_000, dtype=np.float64)


def share_points(seconds: NDArray[np.float64], expected: NDArray[np.float64]) -> Points:
    """Give watched / expected per bucket; None where nothing was expected."""
    return next(iter(share_rows(seconds[np.newaxis], expected[np.newaxis])))


def share_rows(seconds: NDArray[np.float64], expected: NDArray[np.float64]) -> Iterator[Points]:
    """Give :func:`share_points` of each row of two matrices."""
    wanted = expected > 0
    shares = np.minimum(1.0, seconds / np.where(wanted, expected, np.inf)).tolist()
    for row, is_whole, want in zip(shares, np.asarray(wanted.all(axis=1)).tolist(), wanted, strict=True):
        if is_whole:
            yield tuple(row)
        else:
            yield tuple(
                share if is_wanted else None for share, is_wanted in zip(row, want.tolist(), strict=True)
            )


class _Facts:
    """What is known of each sensor besides its coverage."""

    def __init__(self, desk: Desk, visibility: Visibility, query: Query, window: Window) -> None:
        self._now_us = desk.clock.now_us()
        self._newest = _read_newest(desk, visibility, query, window)
        self._lost = _read_lost(desk, visibility, query, window)
        found = holes.list_holes(desk, visibility, query)
        self._missing: Mapping[int, int] = _count_missing(found)

    def describe(self, member: Member, share: float | None, cells: Points) -> SensorCoverage:
        newest = self._newest.get(member.sensor, {})
        offset_us = newest.get("last_offset_us")
        lost = self._lost.get(member.sensor, 0)
        missing = self._missing.get(member.sensor, 0)
        offset = None if offset_us is None else offset_us / 1_000_000
        return SensorCoverage(
            sensor=member.sensor,
            region=member.region,
            addresses=member.addresses_v4 + member.addresses_v6,
            last_window_at=from_us(member.last_window_end_us),
            last_landed_at=_instant(newest.get("last_landed_at")),
            last_epoch=newest.get("last_epoch", 0),
            last_seq=newest.get("last_seq", 0),
            clock_offset_seconds=offset,
            share=share,
            cells=cells,
            captured_packets=member.captured,
            kernel_drops=member.kernel_drops,
            missing_batches=missing,
            lost_batches=lost,
            software=newest.get("last_software", ""),
            state=judge_state(member, offset_seconds=offset, missing=missing + lost),
        )


def judge_state(member: Member, *, offset_seconds: float | None, missing: int) -> State:
    """Tell the worst thing about a sensor: silence before holes, drops, clock."""
    if not member.is_reporting:
        return "silent"
    if missing:
        return "gapped"
    if member.kernel_drops > _MOST_DROP_SHARE * (member.captured + member.kernel_drops):
        return "dropping"
    if offset_seconds is not None and abs(offset_seconds) > _MOST_CLOCK_OFFSET_SECONDS:
        return "skewed"
    return "watching"


def _instant(value: Any) -> datetime | None:
    return value if isinstance(value, datetime) else None


def _count_missing(found: Sequence[holes.Hole]) -> dict[int, int]:
    counts: Counter[int] = Counter()
    for hole in found:
        counts[hole.sensor] += hole.last_seq - hole.first_seq + 1
    return dict(counts)


def _read_newest(
    desk: Desk, visibility: Visibility, query: Query, window: Window
) -> dict[int, dict[str, Any]]:
    binding = Binding()
    statement = _NEWEST.format(
        dataset=binding.bind("String", query.dataset),
        since=binding.instant(min(window.end_us, desk.clock.now_us()) - 2 * DAY_US),
        until=binding.instant(window.end_us),
        filter=write_filter(roster.project(query.filters), binding),
    )
    table = desk.select(visibility, statement, binding.parameters)
    names = table.column_names
    # Column by column: rows of Arrow's own would cost more than the statement.
    rows = zip(*(table.column(name).to_pylist() for name in names), strict=True)
    return {row[0]: dict(zip(names, row, strict=True)) for row in rows}


def _read_lost(desk: Desk, visibility: Visibility, query: Query, window: Window) -> dict[int, int]:
    binding = Binding()
    statement = _LOST.format(
        dataset=binding.bind("String", query.dataset),
        since=binding.instant(window.start_us),
        until=binding.instant(window.end_us),
    )
    rows = desk.select(visibility, statement, binding.parameters).to_pylist()
    return {row["sensor"]: row["lost"] for row in rows}


def _sum_up_regions(
    members: Sequence[Member], seen: Sequence[Watched], expected: NDArray[np.float64], *, family: int
) -> tuple[RegionCoverage, ...]:
    regions: list[RegionCoverage] = []
    for region in sorted({member.region for member in members}):
        places = [place for place, member in enumerate(members) if member.region == region]
        have = np.sum([seen[place].sensor_seconds for place in places], axis=0)
        want = expected[places].sum(axis=0)
        whole = float(want.sum())
        regions.append(
            RegionCoverage(
                region=region,
                sensors_known=len(places),
                sensors_watching=sum(members[place].is_reporting for place in places),
                share=min(1.0, float(have.sum()) / whole) if whole else None,
                cells=share_points(have, want),
                covered_address_days=float(sum(seen[p].address_seconds(family).sum() for p in places)) / DAY,
            )
        )
    return tuple(regions)
