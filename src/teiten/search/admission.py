"""The entrance of every search: what a viewer may ask, and the question as it is answered for them.

A member's question is snapped to whole hours (to days from three days on), and ends
some time before now: nobody may watch a probe of their own arrive. A member who asks
about sensors of the own organisation alone gets real data.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from teiten.search.conditions import Condition, Expression
from teiten.search.errors import QueryError
from teiten.search.masking import check_filters
from teiten.search.periods import DAY
from teiten.search.query import Query
from teiten.search.visibility import Visibility

HOUR = 3_600
#: From this length on a member's periods are whole days: some of their figures are by day.
DAYS_FROM = timedelta(days=3)
#: Steps that a member may choose: what the snapped periods are made of.
_STEPS = (HOUR, 6 * HOUR, DAY)


def admit(
    visibility: Visibility,
    query: Query,
    *,
    now: datetime,
    zone: str,
    step_seconds: int | None = None,
) -> tuple[Visibility, Query]:
    """Give the visibility and the question with which a question is answered.

    Raises:
        NotPermitted: for a filter by something masked, naming the field.
        QueryError: for a step that is too fine for the viewer.
    """
    if asks_only_own(visibility, query):
        visibility = visibility.for_own_sensors()
    check_filters(visibility, query.filters)
    if not visibility.is_guarded:
        return visibility, query
    check_step(step_seconds)
    by_days = query.length >= DAYS_FROM or (step_seconds or 0) > HOUR
    start, end = snap(
        query.start,
        query.end,
        latest=now - timedelta(seconds=visibility.delay_seconds),
        zone=zone,
        by_days=by_days,
        keep_length=query.period != "custom",
    )
    return visibility, replace(query, start=start, end=end, period="custom", is_guarded=True)


def asks_only_own(visibility: Visibility, query: Query) -> bool:
    """Tell whether a question is about sensors of the viewer's organisation alone."""
    return visibility.is_guarded and any(_names_only(part, visibility) for part in query.conditions)


def _names_only(part: Expression, visibility: Visibility) -> bool:
    if not isinstance(part, Condition) or part.field != "sensor" or part.operator not in ("=", "in"):
        return False
    return all(value in visibility.own_sensors for value in part.values)


def check_step(step_seconds: int | None) -> None:
    """Refuse a bucket in which a marked packet could be told by its time.

    Raises:
        QueryError: naming the rule.
    """
    if step_seconds is None or step_seconds in _STEPS:
        return
    rule = "an hour (3600), six hours (21600) or a day (86400)"
    raise QueryError(
        f"step {step_seconds} s is not for members; take {rule}",
        field="step",
        value=str(step_seconds),
        rule=rule,
    )


def snap(
    start: datetime, end: datetime, *, latest: datetime, zone: str, by_days: bool, keep_length: bool
) -> tuple[datetime, datetime]:
    """Give ``[start, end)`` in whole hours or days of ``zone`` that end by ``latest``.

    A relative period that reaches beyond it is moved back whole (``keep_length``), a
    custom one is cut; what would become empty is the newest whole hour or day.
    """
    newest = _floor(latest, zone, by_days=by_days)
    snapped_end = min(newest, _floor(end, zone, by_days=by_days))
    if snapped_end < end and keep_length:
        start = snapped_end - (end - start)
    begun = _floor(start, zone, by_days=by_days)
    if begun < snapped_end:
        return begun, snapped_end
    following = _next(begun, zone, by_days=by_days)
    if following <= newest:
        return begun, following
    return _floor(newest - timedelta(hours=1), zone, by_days=by_days), newest


def _floor(instant: datetime, zone: str, *, by_days: bool) -> datetime:
    local = instant.astimezone(ZoneInfo(zone)).replace(minute=0, second=0, microsecond=0)
    return (local.replace(hour=0) if by_days else local).astimezone(timezone.utc)


def _next(instant: datetime, zone: str, *, by_days: bool) -> datetime:
    if not by_days:
        return instant + timedelta(hours=1)
    return _floor(instant + timedelta(hours=36), zone, by_days=True)
