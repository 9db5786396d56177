"""Which table answers a question, over which whole buckets.

The first roll-up whose columns are enough wins, hourly before daily; without one,
single packets. A question that only a daily roll-up can answer is answered by it
when the period is long; a short one reads packets and keeps its fine buckets, unless it
is made of whole days and nobody looks at its buckets.
"""

from __future__ import annotations

from dataclasses import dataclass

from teiten.search import guarding, periods
from teiten.search.conditions import Condition, Expression, Value
from teiten.search.dimensions import Dimension
from teiten.search.periods import Window
from teiten.search.predicates import columns_of
from teiten.search.query import Query
from teiten.search.tables import DAY, HOUR, PACKETS, ROLL_UPS, Table

#: Below this an hourly roll-up is too coarse for a picture, and packets are few enough.
_FINE_SECONDS = 20 * HOUR
#: From this on a day is a fine enough bucket.
_COARSE_SECONDS = 3 * DAY
#: From this on a daily roll-up is read even where an hourly one is there; buckets are days then.
_DAILY_SECONDS = 16 * DAY


@dataclass(frozen=True)
class Plan:
    """Table and buckets of one answer."""

    table: Table
    window: Window
    filters: Expression | None
    #: Where buckets do not matter, whole days are read from this one; None where there is none.
    by_days: Table | None = None

    @property
    def steps(self) -> int:
        return self.window.count


def plan(
    query: Query,
    *,
    dimension: Dimension | None = None,
    step_seconds: int | None = None,
    zone: str,
    needs_hosts: bool = True,
    needs_buckets: bool = True,
    only: Table | None = None,
) -> Plan:
    """Choose table and buckets.

    Args:
        query: what is asked.
        dimension: what it is split by.
        step_seconds: bucket length that the viewer chose.
        zone: the zone of days.
        needs_hosts: whether the table must count distinct sources.
        needs_buckets: whether figures by bucket are wanted; without them whole days are read by day.
        only: use this table, whatever the cost (for checks).

    Raises:
        QueryError: for a step that does not fit the period.
    """
    needed = columns_of(query.filters) | frozenset(dimension.columns if dimension else ())
    table = only or choose_table(query, needed, step_seconds, needs_hosts=needs_hosts)
    step = step_seconds
    if step is None:
        step = periods.pick_step(query.length, coarsest_grain=table.grain_seconds)
        if query.is_guarded:  # a bucket beyond a day would reach beyond the snapped end
            step = min(max(step, HOUR), DAY)
    window = periods.lay_out(query, step_seconds=step, zone=zone)
    if not needs_buckets and only is None and periods.is_whole_days(window):
        table = choose_table(query, needed, DAY, needs_hosts=needs_hosts, coarsest=True)
    by_days = _choose_by_days(query, table, needed, needs_hosts=needs_hosts)
    return Plan(table, window, query.filters, by_days)


def choose_table(
    query: Query,
    needed: frozenset[str],
    step_seconds: int | None,
    *,
    needs_hosts: bool = True,
    coarsest: bool = False,
) -> Table:
    """Give the smallest table that has the ``needed`` columns at a fit grain, the ``coarsest`` where it is asked for."""
    finest = _finest_grain(query, step_seconds)
    if query.is_guarded:
        finest = max(finest, HOUR)
    fit = [
        table
        for table in ROLL_UPS
        if table.grain_seconds <= finest and _is_enough(query, table, needed, needs_hosts=needs_hosts)
    ]
    is_daily = step_seconds is None or step_seconds % DAY == 0
    if coarsest or (is_daily and query.length.total_seconds() > _DAILY_SECONDS):
        fit.sort(key=lambda table: -table.grain_seconds)
    return fit[0] if fit else PACKETS


def _choose_by_days(
    query: Query, hourly: Table, needed: frozenset[str], *, needs_hosts: bool
) -> Table | None:
    """Give the smallest daily roll-up that holds the same as an hourly one, in the same columns."""
    if hourly.grain_seconds != HOUR:
        return None
    fit = (
        table
        for table in ROLL_UPS
        if table.grain_seconds == DAY
        and table.hosts in (None, hourly.hosts)
        and _is_enough(query, table, needed, needs_hosts=needs_hosts)
    )
    return next(fit, None)


def _is_enough(query: Query, table: Table, needed: frozenset[str], *, needs_hosts: bool) -> bool:
    has_all = needed <= table.columns and (table.hosts is not None or not needs_hosts)
    return has_all and is_answerable(query, table)


def is_answerable(query: Query, table: Table) -> bool:
    """Tell whether the table holds every packet that the query keeps, and knows sensors where it must."""
    if query.is_guarded and not guarding.knows_sensors(table):
        return False
    return not table.only or any(implies(query, wanted) for wanted in table.only)


def implies(query: Query, wanted: Condition) -> bool:
    """Tell whether every packet of the query surely fulfils ``field != none`` or ``survey = yes``."""
    if wanted.field == "survey" and query.survey == "only":
        return True
    none = wanted.values[0] if wanted.operator == "!=" else 0
    named = [part for part in query.conditions if isinstance(part, Condition) and part.field == wanted.field]
    return any(part == wanted or _leaves_out(part, none) for part in named)


def _leaves_out(part: Condition, none: Value) -> bool:
    if part.operator in ("!=", "not in"):
        return none in part.values
    return part.operator in ("=", "in") and none not in part.values


def _finest_grain(query: Query, step_seconds: int | None) -> int:
    """Give the coarsest grain that still serves: 0, an hour or a day."""
    if step_seconds is not None:
        return next((grain for grain in (DAY, HOUR) if step_seconds % grain == 0), 0)
    seconds = query.length.total_seconds()
    if seconds < _FINE_SECONDS:
        return 0
    return DAY if seconds >= _COARSE_SECONDS else HOUR
