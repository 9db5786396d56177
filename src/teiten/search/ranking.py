"""Rankings: a dimension's values by hosts, packets or rate, with the previous period beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from teiten.search import dimensions, guarding, lines
from teiten.search.answers import Figure, Others, Top, TopRow
from teiten.search.coverage import Observation, observe, split_days
from teiten.search.desk import Desk
from teiten.search.dimensions import Dimension, Key
from teiten.search.errors import QueryError
from teiten.search.figures import share_of
from teiten.search.lines import ALL, OTHERS, Counts
from teiten.search.masking import check_column, check_filters
from teiten.search.planner import Plan
from teiten.search.query import Query
from teiten.search.statements import Draft
from teiten.search.tables import PACKETS
from teiten.search.visibility import Visibility

#: More ranks than this no screen shows; exports take rows.
MOST_RANKS = 1_000
#: So many are ranked for a panel that shows at most as many.
_SIZES = (10, 50, 300)
#: Columns of packets by which a page lists values, and which no roll-up has beside its value.
_TOGETHER = ("asn", "hints")


@dataclass(frozen=True)
class Ranked:
    """One value as the store ranked it."""

    key: Key
    #: Packets, or hosts.
    value: int
    previous: int
    #: Place in the previous period, from 1; None when it was not seen.
    previous_rank: int | None


@dataclass(frozen=True)
class Ranking:
    """The first values, and how many there are."""

    ranked: tuple[Ranked, ...]
    distinct: int
    #: What values that are gone now had in the previous period; known of dimensions of a few values.
    gone: int = 0
    #: Keys that a longer list of the same screen would show after these.
    following: tuple[Key, ...] = ()


def rank(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    made: Plan,
    *,
    dimension: Dimension,
    limit: int,
    previous: bool = True,
) -> Ranking:
    """Rank a dimension's values over the whole period; panels that show more or fewer of them share it."""
    size = next((each for each in _SIZES if each >= limit), limit)
    found = lines.share(
        desk,
        visibility,
        ("rank", query.dataset, query.survey, query.metric == "hosts", made, dimension.name, size, previous),
        lambda: _rank(desk, visibility, query, made, dimension=dimension, limit=size, previous=previous),
    )
    following = tuple(item.key for item in found.ranked[limit:])
    return replace(found, ranked=found.ranked[:limit], following=following)


def _rank(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    made: Plan,
    *,
    dimension: Dimension,
    limit: int,
    previous: bool,
) -> Ranking:
    column = next(iter(dimension.columns)) if len(dimension.columns) == 1 else ""
    if (
        made.table is PACKETS
        and column in _TOGETHER
        and query.metric != "hosts"
        and not visibility.is_guarded
    ):
        return _rank_together(desk, visibility, query, made, column=column, limit=limit, previous=previous)
    draft = Draft(made, query.dataset, query.survey, previous=previous)
    current = draft.current()
    counting = guarding.count_hosts if query.metric == "hosts" else guarding.count_packets
    count = partial(counting, visibility, made.table)
    names = name_keys(dimension)
    keys = ", ".join(
        f"{expression} AS {name}" for expression, name in zip(dimension.keys, names, strict=True)
    )
    before = count(f"NOT {current}") if previous else "toUInt64(0)"
    rows = draft.rows()
    if dimension.is_multiple and query.metric != "hosts" and not visibility.is_guarded:
        # A few combinations are taken apart, not every row.
        columns = ", ".join(sorted(dimension.columns))
        rows = (
            f"FROM (SELECT {columns}, {count(current)} AS now, {before} AS earlier {rows} GROUP BY {columns})"
        )
        figures = "sum(now) AS value, sum(earlier) AS previous"
    else:
        figures = f"{count(current)} AS value, {before} AS previous"
    inner = f"SELECT {keys}, {figures} {rows} GROUP BY {', '.join(names)}"
    order = ", ".join(names)
    statement = (
        f"SELECT {order}, value, previous, countIf(value > 0) OVER () AS distinct_count,"  # noqa: S608 - as above
        f" row_number() OVER (ORDER BY previous DESC, {order}) AS previous_rank"
        f" FROM ({inner}) ORDER BY value DESC, {order} LIMIT {draft.binding.bind('UInt32', limit)}"
    )
    return _read(desk.select(visibility, statement, draft.parameters), names)


def _rank_together(
    desk: Desk, visibility: Visibility, query: Query, made: Plan, *, column: str, limit: int, previous: bool
) -> Ranking:
    """Rank values out of a pass over single packets that all of :data:`_TOGETHER` share."""

    def ask() -> pa.Table:
        draft = Draft(made, query.dataset, query.survey, previous=previous)
        current = draft.current()
        before = made.table.count_packets(f"NOT {current}") if previous else "toUInt64(0)"
        columns = ", ".join(_TOGETHER)
        statement = (
            f"SELECT {columns}, {made.table.count_packets(current)} AS now, {before} AS earlier"
            f" {draft.rows()} GROUP BY {columns}"
        )
        return desk.select(visibility, statement, draft.parameters)

    key = ("together", query.dataset, query.survey, made, previous)
    found = lines.share(desk, visibility, key, ask)
    return order_values(*_add_up(found, column), limit=limit)


def _add_up(found: pa.Table, column: str) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Give the values of a column, and their packets now and before; of a mask each bit, or 0 without one."""
    values = found.column(column).to_numpy().astype(np.int64)
    figures = [found.column(name).to_numpy().astype(np.int64) for name in ("now", "earlier")]
    if column != "hints":
        keys, places = np.unique(values, return_inverse=True)
        now, earlier = (np.bincount(places, each, len(keys)).astype(np.int64) for each in figures)
        return keys, now, earlier
    bits = [0, *(1 << place for place in range(32))]
    masks = [(values & bit) != 0 if bit else values == 0 for bit in bits]
    sums = [[int(each[mask].sum()) for mask in masks] for each in figures]
    return np.array(bits, np.int64), np.array(sums[0], np.int64), np.array(sums[1], np.int64)


def order_values(
    keys: NDArray[np.int64], now: NDArray[np.int64], earlier: NDArray[np.int64], *, limit: int
) -> Ranking:
    """Rank values by their packets, of equals the lower one first, as the store does."""
    before = np.empty(len(keys), np.int64)
    before[np.lexsort((keys, -earlier))] = np.arange(1, len(keys) + 1)
    order = [place for place in np.lexsort((keys, -now)).tolist() if now[place]]
    ranked = tuple(
        Ranked((int(keys[i]),), int(now[i]), int(earlier[i]), int(before[i]) if earlier[i] else None)
        for i in order[:limit]
    )
    return Ranking(ranked, len(order), int(earlier[now == 0].sum()))


def check_split(visibility: Visibility, query: Query, dimension: str) -> Dimension:
    """Give the dimension, unless the viewer may not see it or filter as the query does.

    Raises:
        QueryError: when there is no such dimension.
        NotPermitted: when the viewer may not.
    """
    check_filters(visibility, query.filters)
    split = dimensions.get_dimension(dimension)
    check_column(visibility, split.name, split.permission)
    return split


def answer_top(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    *,
    dimension: str,
    limit: int,
    previous: bool,
    sparks: bool,
) -> Top:
    """See :meth:`teiten.search.service.Search.top`."""
    started = desk.clock.monotonic()
    split = check_split(visibility, query, dimension)
    check_limit(limit, most=MOST_RANKS)
    query = lines.narrow_to_split(lines.narrow_to_family(query), split)
    made = lines.plan_for(desk, query, dimension=split, needs_buckets=sparks)
    ranking = rank(desk, visibility, query, made, dimension=split, limit=limit, previous=previous)
    keys = [item.key for item in ranking.ranked]
    counts = _count_ranked(
        desk, visibility, query, made, split=split, ranking=ranking, previous=previous, sparks=sparks
    )
    observation = observe(desk, visibility, query, made.window)
    own: Mapping[Key, Sequence[float]] = {}
    if query.metric == "rate":
        observation, own = split_days(desk, visibility, query, observation, dimension=split, keys=keys)
    rows = _make_rows(desk, query, split, ranking, counts=counts, observation=observation, own=own)
    total = observation.figure(query.metric, counts[ALL])
    return Top(
        metric=query.metric,
        dimension=split.name,
        rows=rows,
        others=_make_others(query, counts, ranking, observation=observation, total=total),
        distinct=ranking.distinct,
        total=total,
        step_seconds=made.window.step_seconds,
        starts=made.window.starts,
        basis=observation.basis,
        cost=desk.cost(made, started, call="top"),
    )


def _count_ranked(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    made: Plan,
    *,
    split: Dimension,
    ranking: Ranking,
    previous: bool,
    sparks: bool,
) -> dict[int, Counts]:
    """Count each ranked line, the others and all; without sparks the rank knows the lines already."""
    is_whole = ranking.distinct <= len(ranking.ranked)
    if sparks or query.metric == "hosts" or visibility.is_guarded or (split.is_multiple and not is_whole):
        return lines.count_lines(
            desk,
            visibility,
            query,
            made,
            dimension=split,
            keys=[item.key for item in ranking.ranked],
            more=ranking.following,
            previous=previous,
            buckets=sparks,
            total_by_bucket=False,
        )
    known = {
        line: Counts(made.steps, total_packets=[item.previous, item.value])
        for line, item in enumerate(ranking.ranked, start=1)
    }
    if split.is_multiple:  # all values are told, and a packet may have several
        known[ALL] = lines.count_whole(desk, visibility, query, made, previous=previous)
        known[OTHERS] = Counts(made.steps, total_packets=[ranking.gone, 0])
        return known
    return lines.add_rest(desk, visibility, query, made, known, previous=previous)


def check_limit(limit: int, *, most: int) -> None:
    """Refuse a limit that no screen can use.

    Raises:
        QueryError: naming the bounds.
    """
    if not 1 <= limit <= most:
        rule = f"limit must be 1 to {most}"
        raise QueryError(f"{rule}, not {limit}", field="limit", value=str(limit), rule=rule)


def name_keys(dimension: Dimension) -> list[str]:
    """Give the result columns of a dimension's key."""
    return [f"key_{place}" for place in range(len(dimension.keys))]


def _read(table: pa.Table, names: list[str]) -> Ranking:
    rows = table.to_pylist()
    ranked = tuple(
        Ranked(
            key=tuple(row[name] for name in names),
            value=row["value"],
            previous=row["previous"],
            previous_rank=row["previous_rank"] if row["previous"] else None,
        )
        for row in rows
        if row["value"]
    )
    gone = sum(row["previous"] for row in rows if not row["value"])
    return Ranking(ranked, rows[0]["distinct_count"] if rows else 0, gone)


def _make_rows(
    desk: Desk,
    query: Query,
    split: Dimension,
    ranking: Ranking,
    *,
    counts: Mapping[int, Counts],
    observation: Observation,
    own: Mapping[Key, Sequence[float]],
) -> tuple[TopRow, ...]:
    names = desk.name_systems(split, [item.key for item in ranking.ranked])
    whole = observation.figure(query.metric, counts[ALL]).value
    rows = []
    for line, item in enumerate(ranking.ranked, start=1):
        mine = counts.get(line) or Counts(observation.window.count)
        figure = observation.figure(query.metric, mine, days=own.get(item.key))
        spark, _ = observation.points(query.metric, mine, days=own.get(item.key))
        group = dimensions.describe(split, item.key, names=names)
        share = None if item.key in own else share_of(figure.value, whole)
        rows.append(TopRow(line, group, figure, share, item.previous_rank, spark))
    if own:
        rows.sort(key=lambda row: -(row.figure.value or 0.0))
        rows = [replace(row, rank=place) for place, row in enumerate(rows, start=1)]
    return tuple(rows)


def _make_others(
    query: Query, counts: Mapping[int, Counts], ranking: Ranking, *, observation: Observation, total: Figure
) -> Others:
    rest = counts.get(OTHERS) or Counts(observation.window.count)
    figure = observation.figure(query.metric, rest)
    spark, _ = observation.points(query.metric, rest)
    count = max(0, ranking.distinct - len(ranking.ranked))
    return Others(count, figure, share_of(figure.value, total.value), spark)
