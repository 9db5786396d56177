"""What grew beyond its usual range: recent rates against those of the 28 days before.

The formulas are GreyNoise's, per covered address-day instead of per source: *trend* is
(recent mean - long mean) / long mean, *anomaly* (recent peak - long mean) / long mean.
A value is named only when its recent mean is above the 95th percentile of its usual
days, and its packets are more than chance makes of the usual rate: at least
:data:`LEAST_PACKETS`, and :data:`LEAST_SIGMA` square roots of the expected count above
it. So 1 → 2 is no trend. What was never seen before is news, not a trend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from teiten.foundation.clock import from_us
from teiten.search import dimensions, guarding, lines, modes, ranking, unreached, watched
from teiten.search.answers import Points
from teiten.search.answers_news import Mover, Movers
from teiten.search.coverage import Observation, observe, split_days, tell_no_rate
from teiten.search.desk import Desk
from teiten.search.dimensions import Dimension, Key, write_chosen
from teiten.search.errors import TooExpensive
from teiten.search.news import list_days_before
from teiten.search.periods import Window
from teiten.search.planner import Plan, choose_table
from teiten.search.predicates import columns_of
from teiten.search.query import Query
from teiten.search.statements import Draft
from teiten.search.tables import PACKETS
from teiten.search.visibility import Visibility
from teiten.search.watched import Watched

USUAL_DAYS = 28
#: With fewer watched days than this nothing is usual.
LEAST_DAYS = 7
LEAST_PACKETS = 30
LEAST_SIGMA = 4.0
MOST_MOVERS = 50
#: Only the most frequent values of the period are looked at.
_CANDIDATES = 300
#: Buckets with less than this share of the period's mean coverage tell no peak.
_LEAST_COVERAGE = 0.25


@dataclass(frozen=True)
class Rates:
    """Packets and covered address-days of one value: by bucket of the period, and by usual day."""

    recent_packets: NDArray[np.float64]
    recent_days: NDArray[np.float64]
    usual_packets: NDArray[np.float64]
    usual_days: NDArray[np.float64]


@dataclass(frozen=True)
class Movement:
    """The figures of a value that moved."""

    recent_packets: int
    recent_rate: float
    peak_rate: float
    usual_rate: float
    usual_low: float
    usual_high: float
    spark: Points

    @property
    def trend(self) -> float:
        return (self.recent_rate - self.usual_rate) / self.usual_rate

    @property
    def anomaly(self) -> float:
        return (self.peak_rate - self.usual_rate) / self.usual_rate


def find_movement(rates: Rates) -> Movement | None:
    """Tell whether a value grew beyond its usual range; None when it did not."""
    packets, days = float(rates.recent_packets.sum()), float(rates.recent_days.sum())
    watched = rates.usual_days > 0
    usual_packets, usual_days = float(rates.usual_packets[watched].sum()), float(rates.usual_days.sum())
    if packets < LEAST_PACKETS or not days or not usual_packets or watched.sum() < LEAST_DAYS:
        return None
    each = rates.usual_packets[watched] / rates.usual_days[watched]
    low, high = np.percentile(each, [5, 95]).tolist()
    usual, recent = usual_packets / usual_days, packets / days
    expected = usual * days
    if recent <= high or packets - expected <= LEAST_SIGMA * sqrt(max(expected, 1.0)):
        return None
    by_day: list[float | None] = [None] * len(watched)
    for place, rate in zip(np.flatnonzero(watched).tolist(), each.tolist(), strict=True):
        by_day[place] = rate
    peak = _find_peak(rates, recent)
    return Movement(round(packets), recent, peak, usual, low, high, (*by_day, recent))


def _find_peak(rates: Rates, recent: float) -> float:
    is_watched = rates.recent_days >= _LEAST_COVERAGE * rates.recent_days.mean()
    is_watched &= rates.recent_days > 0
    return max(recent, float((rates.recent_packets[is_watched] / rates.recent_days[is_watched]).max()))


def answer_movers(desk: Desk, visibility: Visibility, query: Query, *, dimension: str, limit: int) -> Movers:
    """See :meth:`teiten.search.service.Search.movers`."""
    started = desk.clock.monotonic()
    split = ranking.check_split(visibility, query, dimension)
    ranking.check_limit(limit, most=MOST_MOVERS)
    query = lines.narrow_to_split(lines.narrow_to_family(replace(query, metric="rate")), split)
    made = lines.plan_for(desk, query, dimension=split)
    usual, usual_plan = _plan_usual(desk, query, split, made)
    recent_seen = observe(desk, visibility, query, made.window)
    usual_seen = _observe_usual(desk, visibility, usual, usual_plan.window, recent=recent_seen)
    mine = np.array(usual_seen.days[usual_plan.steps :])
    found: list[tuple[Key, Movement]] = []
    is_rated = not (recent_seen.basis.no_rate or usual_seen.basis.no_rate)
    if is_rated and (mine > 0).sum() >= LEAST_DAYS:
        ranked = ranking.rank(
            desk, visibility, query, made, dimension=split, limit=_CANDIDATES, previous=False
        )
        keys = [item.key for item in ranked.ranked if item.value >= LEAST_PACKETS]
        recent = _Half(desk, visibility, query, made, recent_seen, split=split, keys=keys)
        recent_seen = recent.seen
        past = _Half(desk, visibility, usual, usual_plan, usual_seen, split=split, keys=keys)
        rates = {key: Rates(*recent.give(key), *past.give(key)) for key in keys}
        moved = ((key, find_movement(each)) for key, each in rates.items())
        found = [(key, movement) for key, movement in moved if movement is not None]
        found.sort(key=lambda item: -item[1].trend)
    return Movers(
        dimension=split.name,
        items=_describe(desk, split, found[:limit]),
        days=USUAL_DAYS,
        days_watched=int((mine > 0).sum()),
        starts=(*usual_plan.window.starts, from_us(made.window.start_us)),
        basis=recent_seen.basis,
        cost=desk.cost(made, started, call="movers"),
    )


def _plan_usual(desk: Desk, query: Query, split: Dimension, made: Plan) -> tuple[Query, Plan]:
    """Plan the whole days before the period, from a daily roll-up where there is one.

    Raises:
        TooExpensive: when only single packets could tell.
    """
    window = list_days_before(made.window, USUAL_DAYS, zone=desk.zone)
    usual = query.within(from_us(window.start_us), from_us(window.end_us))
    needed = columns_of(query.filters) | frozenset(split.columns)
    table = choose_table(usual, needed, None, needs_hosts=False)
    if table is PACKETS:
        raise TooExpensive(
            f"what is usual for {split.name} under this filter would have to be counted in the single packets"
            f" of {USUAL_DAYS} days; choose another dimension, or fewer conditions"
        )
    return usual, Plan(table, window, query.filters)


def _observe_usual(
    desk: Desk, visibility: Visibility, usual: Query, window: Window, *, recent: Observation
) -> Observation:
    """Tell what was watched on the usual days, and whether they have a rate: all that is needed of them."""
    every = watched.read_watched(desk, visibility, usual, window)
    parts = unreached.count(desk, visibility, usual, window, seen=every)
    seen = Watched.together(parts.values(), window.count).address_seconds(recent.family)
    all_seen = Watched.together(every.values(), window.count).address_seconds(recent.family)
    strata = modes.list_strata(desk, visibility, usual, window)
    no_rate = tell_no_rate(usual, [each for each in strata if each.ip_version == recent.family])
    days, all_days = ((0.0,) * window.count + tuple(watched.to_days(each)) for each in (seen, all_seen))
    basis = replace(recent.basis, no_rate=no_rate)
    return Observation(basis, window, recent.family, recent.now_us, days=days, all_days=all_days)


class _Half:
    """Packets and coverage per bucket of the period, or of the usual days."""

    def __init__(
        self,
        desk: Desk,
        visibility: Visibility,
        query: Query,
        made: Plan,
        seen: Observation,
        *,
        split: Dimension,
        keys: Sequence[Key],
    ) -> None:
        self._count = made.steps
        self._days = np.array(seen.days[made.steps :])
        self.seen, self._own = split_days(desk, visibility, query, seen, dimension=split, keys=keys)
        self._packets = _count_by_bucket(desk, visibility, query, made, split=split, keys=keys)

    def give(self, key: Key) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        packets = self._packets.get(key, np.zeros(self._count))
        own = self._own.get(key)
        return packets, self._days if own is None else np.array(own[self._count :])


def _count_by_bucket(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    made: Plan,
    *,
    split: Dimension,
    keys: Sequence[Key],
) -> Mapping[Key, NDArray[np.float64]]:
    if not keys:
        return {}
    draft = Draft(made, query.dataset, query.survey, previous=False)
    names = ranking.name_keys(split)
    selected = ", ".join(f"{key} AS {name}" for key, name in zip(split.keys, names, strict=True))
    chosen = write_chosen(split, list(keys), draft.binding, expressions=split.keys)
    # Several values of one packet are made by arrayJoin, which no WHERE may hold.
    kept = "1" if split.is_multiple else chosen
    statement = (
        f"SELECT {selected}, {draft.bucket()} AS bucket,"  # noqa: S608 - declared names, bound values
        f" {guarding.count_packets(visibility, made.table)} AS packet_count"
        f" FROM {made.table.name} WHERE {draft.where()} AND {kept} GROUP BY {', '.join(names)}, bucket"
    )
    found: dict[Key, NDArray[np.float64]] = {}
    table = desk.select(visibility, statement, draft.parameters)
    columns = [table.column(name).to_pylist() for name in (*names, "bucket", "packet_count")]
    for *key, bucket, packets in zip(*columns, strict=True):
        if bucket < made.steps:
            found.setdefault(tuple(key), np.zeros(made.steps))[bucket] = packets
    return found


def _describe(desk: Desk, split: Dimension, found: Sequence[tuple[Key, Movement]]) -> tuple[Mover, ...]:
    names = desk.name_systems(split, [key for key, _ in found])
    return tuple(
        Mover(
            group=dimensions.describe(split, key, names=names),
            recent_packets=moved.recent_packets,
            recent_rate=moved.recent_rate,
            peak_rate=moved.peak_rate,
            usual_rate=moved.usual_rate,
            usual_low=moved.usual_low,
            usual_high=moved.usual_high,
            trend=moved.trend,
            anomaly=moved.anomaly,
            spark=moved.spark,
        )
        for key, moved in found
    )
