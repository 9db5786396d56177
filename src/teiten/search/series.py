"""Values over time, and the key figures of a period."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypeAlias

from teiten.search import dimensions, guarding, lines
from teiten.search.answers import Figure, Group, Line, Series, Totals
from teiten.search.conditions import where
from teiten.search.coverage import Observation, observe, split_days
from teiten.search.desk import Desk
from teiten.search.dimensions import Dimension, Key
from teiten.search.figures import make_figure, summarise
from teiten.search.lines import ALL, OTHERS, Counts
from teiten.search.masking import check_filters
from teiten.search.planner import Plan
from teiten.search.query import METRICS, Metric, Query
from teiten.search.ranking import check_limit, check_split, name_keys, rank
from teiten.search.statements import Draft
from teiten.search.visibility import Visibility

RankBy: TypeAlias = Literal["avg", "max", "last"]
MOST_LINES = 20

_ORDERS: Mapping[RankBy, str] = {
    "avg": "sum(value)",
    "max": "max(value)",
    "last": "sumIf(value, bucket = {last})",
}


def answer_totals(desk: Desk, visibility: Visibility, query: Query, *, step_seconds: int | None) -> Totals:
    """See :meth:`teiten.search.service.Search.totals`."""
    started = desk.clock.monotonic()
    check_filters(visibility, query.filters)
    made = lines.plan_for(desk, query, step_seconds=step_seconds, needs_hosts=True)
    observation = observe(desk, visibility, query, made.window)
    counts = lines.count_lines(desk, visibility, query, made, hosts=True)[ALL]
    rated = counts
    if not lines.family_of(query):
        # A rate is per address of one family; the other figures count both.
        family = where("ip_version", "=", observation.family)
        kept = lines.narrow(query, family)
        rated = lines.count_lines(
            desk, visibility, kept, lines.plan_for(desk, kept, step_seconds=made.window.step_seconds)
        )[ALL]
    by_metric: dict[Metric, Counts] = {metric: rated if metric == "rate" else counts for metric in METRICS}
    points = {metric: observation.points(metric, each) for metric, each in by_metric.items()}
    basis = observation.basis
    return Totals(
        hosts=observation.figure("hosts", counts),
        packets=observation.figure("packets", counts),
        rate=observation.figure("rate", rated),
        sensors=make_figure(basis.sensors_seen, basis.sensors_seen_before),
        sparks={metric: now for metric, (now, _) in points.items()},
        previous_sparks={metric: before for metric, (_, before) in points.items()},
        step_seconds=made.window.step_seconds,
        starts=made.window.starts,
        basis=basis,
        cost=desk.cost(made, started, call="totals"),
    )


def answer_series(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    *,
    dimension: str | None,
    limit: int,
    rank_by: RankBy,
    previous: bool,
    step_seconds: int | None,
) -> Series:
    """See :meth:`teiten.search.service.Search.series`."""
    started = desk.clock.monotonic()
    check_filters(visibility, query.filters)
    check_limit(limit, most=MOST_LINES)
    query = lines.narrow_to_family(query)
    split = check_split(visibility, query, dimension) if dimension else None
    if split is not None:
        query = lines.narrow_to_split(query, split)
    made = lines.plan_for(desk, query, dimension=split, step_seconds=step_seconds)
    with ThreadPoolExecutor(1, thread_name_prefix="basis") as beside:
        observing = beside.submit(observe, desk, visibility, query, made.window)
        keys: Sequence[Key] = ()
        more: Sequence[Key] = ()
        distinct = 0
        if split is not None:
            keys, more, distinct = _choose_keys(
                desk, visibility, query, made, split=split, limit=limit, rank_by=rank_by, previous=previous
            )
        counts = lines.count_lines(
            desk, visibility, query, made, dimension=split, keys=keys, more=more, previous=previous
        )
    observation = observing.result()
    own: Mapping[Key, Sequence[float]] = {}
    if split is not None and query.metric == "rate":
        observation, own = split_days(desk, visibility, query, observation, dimension=split, keys=keys)
    pen = _Pen(observation, query.metric, previous=previous)
    return Series(
        metric=query.metric,
        dimension=dimension,
        step_seconds=made.window.step_seconds,
        starts=made.window.starts,
        lines=_draw_lines(desk, pen, split, keys, counts=counts, own=own) if split else (),
        others=pen.draw(None, counts.get(OTHERS)) if split else None,
        others_count=max(0, distinct - len(keys)) if split else None,
        total=pen.draw(None, counts[ALL]),
        basis=observation.basis,
        cost=desk.cost(made, started, call="series"),
    )


class _Pen:
    """Draws lines of one answer."""

    def __init__(self, observation: Observation, metric: Metric, *, previous: bool) -> None:
        self._observation = observation
        self._metric: Metric = metric
        self._previous = previous

    def draw(
        self, group: Group | None, counts: Counts | None, *, days: Sequence[float] | None = None
    ) -> Line:
        mine = counts or Counts(self._observation.window.count)
        values, before = self._observation.points(self._metric, mine, days=days)
        figure = self._observation.figure(self._metric, mine, days=days)
        if not self._previous:
            figure = Figure(figure.value, None, None)
        return Line(group, values, before if self._previous else (), summarise(values, figure))


def _draw_lines(
    desk: Desk,
    pen: _Pen,
    split: Dimension,
    keys: Sequence[Key],
    *,
    counts: Mapping[int, Counts],
    own: Mapping[Key, Sequence[float]],
) -> tuple[Line, ...]:
    names = desk.name_systems(split, keys)
    return tuple(
        pen.draw(dimensions.describe(split, key, names=names), counts.get(number), days=own.get(key))
        for number, key in enumerate(keys, start=1)
    )


def _choose_keys(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    made: Plan,
    *,
    split: Dimension,
    limit: int,
    rank_by: RankBy,
    previous: bool,
) -> tuple[list[Key], Sequence[Key], int]:
    """Choose the values with a line of their own, by their mean, highest or newest bucket; then those that follow."""
    if rank_by == "avg" and query.metric != "hosts" and not visibility.is_guarded:
        # Packets add up, so that their mean ranks as their sum does.
        found = rank(desk, visibility, query, made, dimension=split, limit=limit, previous=previous)
        return [item.key for item in found.ranked], found.following, found.distinct
    draft = Draft(made, query.dataset, query.survey, previous=False)
    names = name_keys(split)
    keys = ", ".join(f"{expression} AS {name}" for expression, name in zip(split.keys, names, strict=True))
    counting = guarding.count_hosts if query.metric == "hosts" else guarding.count_packets
    order = _ORDERS[rank_by].format(last=_last_whole_bucket(desk, made))
    columns = ", ".join(names)
    statement = (
        f"SELECT {columns}, {order} AS score, count() OVER () AS distinct_count FROM"  # noqa: S608 - declared names, bound values
        f" (SELECT {keys}, {draft.bucket()} AS bucket, {counting(visibility, made.table)} AS value"
        f" FROM {made.table.name} WHERE {draft.where()} GROUP BY {columns}, bucket)"
        f" GROUP BY {columns} HAVING sum(value) > 0 ORDER BY score DESC, {columns} LIMIT {draft.binding.bind('UInt32', limit)}"
    )
    rows = desk.select(visibility, statement, draft.parameters).to_pylist()
    chosen = [tuple(row[name] for name in names) for row in rows]
    return chosen, (), rows[0]["distinct_count"] if rows else 0


def _last_whole_bucket(desk: Desk, made: Plan) -> int:
    """Give the number of the newest bucket that is over."""
    now_us = desk.clock.now_us()
    over = [place for place, edge in enumerate(made.window.edges_us[1:]) if edge <= now_us]
    return over[-1] if over else 0
