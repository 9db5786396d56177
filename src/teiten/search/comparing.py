"""One group of sensors against another, or against itself in the period before.

By sensors, from single packets of at most two days, or by regions over any time, from a
roll-up. Each side's rate is of one mode and one address family. The confidence interval
of a ratio takes its spread over sensors, or over buckets of time where a roll-up knows
no sensors (see :mod:`teiten.search.ratios`). When a group is compared with itself the
sides are not independent, and the interval is wider than it need be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from teiten.foundation.clock import from_us
from teiten.search import coverage, dimensions, guarding, lines, periods, ports, ranking
from teiten.search.answers_places import Comparison, ComparisonRow, GroupBasis, SensorGroup
from teiten.search.conditions import any_of
from teiten.search.desk import Desk
from teiten.search.dimensions import Dimension, Key, write_chosen
from teiten.search.errors import TooExpensive
from teiten.search.periods import Window
from teiten.search.planner import choose_table
from teiten.search.predicates import columns_of, write_filter
from teiten.search.query import Query
from teiten.search.ratios import Rate, compare_rates
from teiten.search.sensor_groups import (
    check_group,
    keep_group,
)
from teiten.search.sides import Crew, Side, Spread
from teiten.search.statements import Draft
from teiten.search.tables import HOUR, PACKETS, Table
from teiten.search.visibility import Visibility

#: Longest period over which single packets are read.
MOST_RAW = timedelta(hours=48)
MOST_ROWS = 50
#: Values of each side that are ranked.
_CANDIDATES = 1_000


def answer_comparison(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    *,
    one: SensorGroup,
    other: SensorGroup | None,
    dimension: str,
    limit: int,
    same_sensors: bool,
) -> Comparison:
    """See :meth:`teiten.search.service.Search.compare`."""
    started = desk.clock.monotonic()
    split = ranking.check_split(visibility, query, dimension)
    ranking.check_limit(limit, most=MOST_ROWS)
    for name, group in (("one", one), ("other", other)):
        if group is not None:
            check_group(desk, visibility, group, name=name)
    base = lines.narrow_to_split(lines.narrow_to_family(replace(query, metric="rate")), split)
    first = keep_group(desk, visibility, base, one)
    second = first if other is None else keep_group(desk, visibility, base, other)
    by_placement = one.needs_placement or (other is not None and other.needs_placement)
    is_raw = by_placement or same_sensors
    table, window = _plan(desk, base, (first, second), split, is_raw=is_raw)
    spread: Spread = "sensors" if table is PACKETS and not visibility.is_guarded else "buckets"
    crew = Crew(desk, visibility, table, spread, window, same_sensors=same_sensors)
    mine = crew.form(first, one, window)
    theirs = crew.form(second, other or one, window.before() if other is None else window)
    ranked = [_rank_side(desk, visibility, split, side) for side in (mine, theirs)]
    keys = _choose_keys([values for values, _ in ranked], limit)
    return Comparison(
        dimension=split.name,
        one=_tell_group(desk, visibility, mine, ranked[0][1]),
        other=_tell_group(desk, visibility, theirs, ranked[1][1]),
        rows=_make_rows(desk, visibility, split, (mine, theirs), keys, spread=spread),
        spread_over=spread,
        same_sensors=same_sensors,
        basis=coverage.observe(desk, visibility, base, window).basis,
        cost=desk.cost_of(table, window, started, call="compare"),
    )


def _plan(
    desk: Desk, base: Query, sides: Sequence[Query], split: Dimension, *, is_raw: bool
) -> tuple[Table, Window]:
    """Choose one table and one window for both sides.

    Raises:
        TooExpensive: when single packets of more than two days would be read.
    """
    needed = frozenset(split.columns).union(*(columns_of(side.filters) for side in sides))
    table = PACKETS
    if not is_raw and base.length > MOST_RAW:
        table = choose_table(base, needed, None, needs_hosts=False)
    if table is PACKETS and base.length > MOST_RAW:
        hours = MOST_RAW // timedelta(hours=1)
        raise TooExpensive(
            f"this comparison reads single packets, of at most {hours} hours; shorten the period,"
            " or compare regions by country, AS or port without further conditions"
        )
    step = HOUR if table is PACKETS else periods.pick_step(base.length, coarsest_grain=table.grain_seconds)
    return table, periods.lay_out(base, step_seconds=step, zone=desk.zone)


def _tell_group(desk: Desk, visibility: Visibility, side: Side, known: int | None) -> GroupBasis:
    window, days, sensors = side.made.window, side.whole_days, side.sensors
    if visibility.is_guarded and sensors - len(visibility.own_sensors) < visibility.least_sensors:
        # What so few watched would tell when one of them fails; their packets are withheld as well.
        days, sensors = 0.0, 0
    packets = _count_all(desk, visibility, side) if known is None else known
    return GroupBasis(
        start_at=from_us(window.start_us),
        end_at=from_us(window.end_us),
        sensors=sensors,
        covered_address_days=days,
        packets=packets,
        rate=packets / days if days > 0 and not side.is_unrated else None,
    )


def _count_all(desk: Desk, visibility: Visibility, side: Side) -> int:
    side = _take_rollup(desk, None, side)
    draft, where = _draft(side)
    source = draft.rows() if side.membership is None else f"FROM {side.made.table.name} WHERE {where}"
    statement = f"SELECT {guarding.count_packets(visibility, side.made.table)} AS packet_count {source}"
    rows = desk.select(visibility, statement, draft.parameters).to_pylist()
    return int(rows[0]["packet_count"]) if rows else 0


def _draft(side: Side) -> tuple[Draft, str]:
    draft = Draft(side.made, side.query.dataset, side.query.survey, previous=False)
    where = draft.where()
    if side.membership is not None:
        where += f" AND {side.membership.write(side.made.table, side.made.window, draft.binding)}"
    return draft, where


def _make_rows(
    desk: Desk,
    visibility: Visibility,
    split: Dimension,
    sides: tuple[Side, Side],
    keys: Sequence[Key],
    *,
    spread: Spread,
) -> tuple[ComparisonRow, ...]:
    counted = _count_both(desk, visibility, split, sides, keys, spread=spread)
    names = desk.name_systems(split, keys)
    own = [_split_days(desk, visibility, split, side, keys, spread=spread) for side in sides]
    rows = []
    for key in keys:
        packets = [counts.get(key, {}) for counts in counted]
        rates = [
            _make_rate(mine.get(key, side.days), each)
            for mine, side, each in zip(own, sides, packets, strict=True)
        ]
        values = [None if side.is_unrated else rate.value for side, rate in zip(sides, rates, strict=True)]
        ratio = compare_rates(*rates)
        is_told = None not in values
        rows.append(
            ComparisonRow(
                group=dimensions.describe(split, key, names=names),
                one_packets=sum(packets[0].values()),
                other_packets=sum(packets[1].values()),
                one_rate=values[0],
                other_rate=values[1],
                ratio=ratio.value if is_told else None,
                ratio_low=ratio.low if is_told else None,
                ratio_high=ratio.high if is_told else None,
            )
        )
    return tuple(rows)


def _make_rate(days: Mapping[int, float], packets: Mapping[int, int]) -> Rate:
    """Put packets beside coverage, cluster by cluster; all clusters that watched count, with 0 packets too."""
    return Rate(
        np.array([packets.get(cluster, 0) for cluster in days], dtype=np.float64),
        np.array(list(days.values()), dtype=np.float64),
    )


def _split_days(
    desk: Desk,
    visibility: Visibility,
    split: Dimension,
    side: Side,
    keys: Sequence[Key],
    *,
    spread: Spread,
) -> Mapping[Key, Mapping[int, float]]:
    """Give the days of the clusters for values whose port does not reach all sensors."""
    if "dst_port" not in split.columns:
        return {}
    return ports.split_clusters(
        desk,
        visibility,
        side.query,
        side.made.window,
        family=lines.family_of(side.query),
        days=side.days,
        by_sensor=spread == "sensors",
        dimension=split,
        keys=keys,
    )


def _rank_side(
    desk: Desk, visibility: Visibility, split: Dimension, side: Side
) -> tuple[dict[Key, int], int | None]:
    """Give a side's most frequent values, and all its packets where one pass tells them."""
    names = ranking.name_keys(split)
    side = _take_rollup(desk, split, side)
    draft, where = _draft(side)
    source = draft.rows() if side.membership is None else f"FROM {side.made.table.name} WHERE {where}"
    count = guarding.count_packets(visibility, side.made.table)
    columns = ", ".join(names)
    statement = (
        f"SELECT {columns}, packet_count, sum(packet_count) OVER () AS whole FROM"  # noqa: S608 - as above
        f" (SELECT {_select_keys(split, names)}, {count} AS packet_count {source} GROUP BY {columns})"
        f" ORDER BY packet_count DESC, {columns} LIMIT {_CANDIDATES}"
    )
    rows = desk.select(visibility, statement, draft.parameters).to_pylist()
    found = {tuple(row[name] for name in names): int(row["packet_count"]) for row in rows}
    if split.is_multiple or visibility.is_guarded:
        return found, None
    return found, int(rows[0]["whole"]) if rows else 0


def _take_rollup(desk: Desk, split: Dimension | None, side: Side) -> Side:
    """Let a roll-up count a side whose sensors are no matter of placement, where one holds the same hours or days."""
    if side.membership is not None:
        return side
    made = lines.plan_for(
        desk,
        side.query,
        dimension=split,
        step_seconds=side.made.window.step_seconds,
        needs_hosts=False,
        needs_buckets=False,
    )
    return replace(side, made=made) if made.window == side.made.window else side


def _choose_keys(sides: Sequence[Mapping[Key, int]], limit: int) -> list[Key]:
    """Choose the values with most packets on both sides together."""
    sums: dict[Key, int] = {}
    for ranked in sides:
        for key, packets in ranked.items():
            sums[key] = sums.get(key, 0) + packets
    ordered = sorted((item for item in sums.items() if item[1]), key=lambda item: (-item[1], item[0]))
    return [key for key, _ in ordered[:limit]]


def _count_both(
    desk: Desk,
    visibility: Visibility,
    split: Dimension,
    sides: tuple[Side, Side],
    keys: Sequence[Key],
    *,
    spread: Spread,
) -> Sequence[Mapping[Key, Mapping[int, int]]]:
    """Count both sides: in one pass over single packets of the same time, which cost the most."""
    one, other = sides
    is_common = one.made.window == other.made.window and not (one.membership or other.membership)
    if not (keys and is_common and one.made.table is PACKETS and spread == "sensors"):
        return [_count_clusters(desk, visibility, split, side, keys, spread=spread) for side in sides]
    parts = [side.made.filters for side in sides if side.made.filters is not None]
    both = any_of(parts) if len(parts) == len(sides) else None
    draft = Draft(replace(one.made, filters=both), one.query.dataset, one.query.survey, previous=False)
    belongs = [write_filter(side.made.filters, draft.binding) for side in sides]
    names = ranking.name_keys(split)
    chosen = (
        "1" if split.is_multiple else write_chosen(split, list(keys), draft.binding, expressions=split.keys)
    )
    statement = (
        f"SELECT {_select_keys(split, names)}, sensor AS cluster, toUInt8({belongs[0]}) AS in_one,"  # noqa: S608 - as above
        f" toUInt8({belongs[1]}) AS in_other, {guarding.count_packets(visibility, PACKETS)} AS packet_count"
        f" FROM {PACKETS.name} WHERE {draft.where()} AND {chosen} GROUP BY {', '.join(names)}, cluster, in_one, in_other"
    )
    found = desk.select(visibility, statement, draft.parameters)
    return [_gather_clusters(found, names, keys, side=name) for name in ("in_one", "in_other")]


def _gather_clusters(
    found: pa.Table, names: Sequence[str], keys: Sequence[Key], *, side: str
) -> Mapping[Key, Mapping[int, int]]:
    """Put one side's packets together by value and sensor."""
    mine = found.filter(pa.array(found.column(side).to_numpy() == 1))
    gathered: dict[Key, dict[int, int]] = {key: {} for key in keys}
    columns = [mine.column(name).to_pylist() for name in (*names, "cluster", "packet_count")]
    for *key, cluster, packets in zip(*columns, strict=True):
        known = gathered.get(tuple(key))
        if known is not None:
            known[cluster] = known.get(cluster, 0) + packets
    return gathered


def _count_clusters(
    desk: Desk,
    visibility: Visibility,
    split: Dimension,
    side: Side,
    keys: Sequence[Key],
    *,
    spread: Spread,
) -> Mapping[Key, Mapping[int, int]]:
    """Count packets of each value by sensor or bucket."""
    if not keys:
        return {}
    draft, where = _draft(side)
    names = ranking.name_keys(split)
    # Several values of one packet are made by arrayJoin, which no WHERE may hold.
    if not split.is_multiple:
        where += f" AND {write_chosen(split, list(keys), draft.binding, expressions=split.keys)}"
    cluster = "sensor" if spread == "sensors" else draft.bucket()
    statement = (
        f"SELECT {_select_keys(split, names)}, {cluster} AS cluster,"  # noqa: S608 - as above
        f" {guarding.count_packets(visibility, side.made.table)} AS packet_count"
        f" FROM {side.made.table.name} WHERE {where} GROUP BY {', '.join(names)}, cluster"
    )
    found: dict[Key, dict[int, int]] = {}
    wanted = set(keys)
    rows: list[dict[str, Any]] = desk.select(visibility, statement, draft.parameters).to_pylist()
    for row in rows:
        key = tuple(row[name] for name in names)
        if key in wanted:
            found.setdefault(key, {})[row["cluster"]] = row["packet_count"]
    return found


def _select_keys(split: Dimension, names: Sequence[str]) -> str:
    return ", ".join(f"{key} AS {name}" for key, name in zip(split.keys, names, strict=True))
