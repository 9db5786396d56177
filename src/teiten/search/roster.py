"""Which sensors were expected to watch, from when to when, and how fresh they are.

The store knows sensors by the windows they reported in the mode that is asked about. A
sensor is *expected* from the start of its first window on, up to its last one where it
watches in another mode since. While it is *reporting* (its newest window ended at most
``silent_after_seconds`` before now) it is expected up to that window's end, since its
next one is not due; a silent sensor is expected up to now, so that its silence counts
as missing, until it is forgotten after ``forget_after_days``.

``complete_until`` is the earliest of the newest window ends of all reporting sensors,
and not after a hole in their batch numbers that is younger than an hour and that no
tombstone explains; older holes are counted as late instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from teiten.foundation.clock import from_us, to_us
from teiten.search import holes
from teiten.search.conditions import AllOf, Condition, Expression, Not, all_of, any_of, negate, walk
from teiten.search.desk import Desk
from teiten.search.periods import DAY, HOUR_US, Window, find_midnight, keep_seconds
from teiten.search.predicates import Binding, write_filter
from teiten.search.query import Query
from teiten.search.tables import (
    COVERAGE_DAILY,
    COVERAGE_HOURLY,
    COVERAGE_REGIONS_DAILY,
    COVERAGE_REGIONS_HOURLY,
    Table,
)
from teiten.search.visibility import Visibility

DAY_US = 86_400_000_000
_COVERAGE_FIELDS = frozenset({"region", "sensor"})


@dataclass(frozen=True)
class Member:
    """One sensor of the roster."""

    sensor: int
    region: str
    #: Expected time, µs.
    from_us: int
    until_us: int
    #: Mean addresses watched, by family.
    addresses_v4: float
    addresses_v6: float
    last_window_end_us: int
    is_reporting: bool
    #: Seconds watched in the period, and in the one before.
    seconds: float
    seconds_before: float
    captured: int
    kernel_drops: int
    excluded: int
    modes: tuple[str, ...]

    def addresses(self, family: int) -> float:
        return self.addresses_v6 if family == 6 else self.addresses_v4


@dataclass(frozen=True)
class Freshness:
    """How far the newest data are complete, over a whole data set or part of it."""

    complete_until_us: int | None
    #: Sensors with holes in their batch numbers.
    holed: frozenset[int]


def project(expression: Expression | None) -> Expression | None:
    """Keep of a filter what tells which sensors could have seen a matching packet.

    Anything else is taken as true, so that the result never leaves out a sensor that
    the filter keeps.
    """
    if expression is None or isinstance(expression, Condition):
        return expression if expression is None or expression.field in _COVERAGE_FIELDS else None
    if isinstance(expression, Not):
        is_whole = all(condition.field in _COVERAGE_FIELDS for condition in walk(expression.part))
        return negate(expression.part) if is_whole else None
    kept = [project(part) for part in expression.parts]
    if isinstance(expression, AllOf):
        return all_of([part for part in kept if part is not None])
    return None if None in kept else any_of([part for part in kept if part is not None])


def choose_coverage(query: Query, window: Window, *, by: str = "region") -> Table:
    """Give the smallest roll-up of coverage that tells ``by`` and what the query keeps, of the window's grain."""
    kept = project(query.filters)
    fields = {"region", by, *(condition.field for condition in walk(kept))}
    is_daily = window.step_seconds >= DAY
    if "sensor" in fields:
        return COVERAGE_DAILY if is_daily else COVERAGE_HOURLY
    return COVERAGE_REGIONS_DAILY if is_daily else COVERAGE_REGIONS_HOURLY


_SPAN = """
SELECT
    sensor,
    argMax(region, {time}) AS last_region,
    toUnixTimestamp(minIf({stamp}, {mode})) AS first_second,
    toUnixTimestamp64Micro(maxIf(last_window_end_at, {mode})) AS mode_last_us,
    toUnixTimestamp64Micro(max(last_window_end_at)) AS last_us,
    countIf({mode}) AS rows_in_mode,
    sum(sensor_seconds) AS any_seconds,
    sumIf(sensor_seconds, {mode}) AS mode_seconds,
    sumIf(address_seconds, ip_version = 4 AND {mode}) AS v4_seconds,
    sumIf(address_seconds, ip_version = 6 AND {mode}) AS v6_seconds,
    sumIf(greatest(sensor_seconds, address_seconds > 0), {now} AND {mode}) AS seconds_now,
    sumIf(greatest(sensor_seconds, address_seconds > 0), {before} AND {mode}) AS seconds_before,
    sumIf(captured, {now} AND {mode}) AS captured_now,
    sumIf(kernel_drops, {now} AND {mode}) AS drops_now,
    sumIf(excluded, {now} AND {mode}) AS excluded_now,
    arrayStringConcat(arraySort(groupUniqArrayIf(mode, {now})), ' ') AS modes_now
FROM {table}
WHERE dataset = {dataset} AND {time} >= {start} AND {time} < {end} AND {filter}
GROUP BY sensor
ORDER BY sensor
"""
#: Hours where a period begins or ends within the day, days in between.
_HOURS_AND_DAYS = """
(
    SELECT {columns}, hour FROM coverage_1h
    WHERE dataset = {dataset} AND toDate(hour, {zone}) IN {partly}
    UNION ALL
    SELECT {columns}, toDateTime(day, {zone}) AS hour FROM coverage_1d
    WHERE dataset = {dataset} AND day IN {wholly}
)"""
_COLUMNS = (
    "dataset, sensor, region, mode, ip_version, address_seconds, sensor_seconds, captured, kernel_drops, excluded,"
    " last_window_end_at"
)
_FIRST_WINDOWS = """
SELECT sensor, min(toUnixTimestamp64Micro(window_start_at)) AS first_us
FROM coverage
WHERE dataset = {dataset} AND sensor IN {sensors} AND window_start_at >= {since} AND window_start_at < {until}
    AND (empty(watched_mode) OR arrayExists(mode -> {mode}, watched_mode))
GROUP BY sensor
"""
#: The past hardly changes: late data of earlier days show after this, seconds.
_EARLIER_KEPT_SECONDS = 300.0


def list_members(desk: Desk, visibility: Visibility, query: Query, window: Window) -> tuple[Member, ...]:
    """List the sensors that were expected at any time of the window or the one before."""
    return desk.memory.recall(
        ("members", query.dataset, project(query.filters), query.mode, query.is_guarded, window),
        now=desk.clock.monotonic(),
        keep_seconds=keep_seconds(desk.config.freshness_cache_seconds, window),
        make=lambda: _list_members(desk, visibility, query, window),
    )


def _list_members(desk: Desk, visibility: Visibility, query: Query, window: Window) -> tuple[Member, ...]:
    """Put together what sensors did in the days before the span and in the span itself.

    The span is read from its first midnight on, so that the days before are whole ones
    of the daily roll-up, and change so little that they are remembered.
    """
    span_us = window.before().start_us
    midnight_us = find_midnight(span_us, desk.zone)
    earlier = desk.memory.recall(
        ("earlier", query.dataset, project(query.filters), query.mode, midnight_us),
        now=desk.clock.monotonic(),
        keep_seconds=_EARLIER_KEPT_SECONDS,
        make=lambda: _read_earlier(desk, visibility, query, midnight_us),
    )
    table = COVERAGE_DAILY if window.step_seconds >= DAY else COVERAGE_HOURLY
    rows = _read_rows(
        desk, visibility, query, table, bounds=(midnight_us, span_us, window.start_us, window.end_us)
    )
    newcomers = [row for row in rows.values() if row["sensor"] not in earlier and row["rows_in_mode"]]
    first = _read_first_windows(desk, visibility, query, newcomers)
    merged = (_merge(earlier.get(sensor), rows.get(sensor)) for sensor in sorted({*earlier, *rows}))
    members = (
        _make_member(desk, query, row, first.get(row["sensor"])) for row in merged if row["rows_in_mode"]
    )
    return tuple(m for m in members if m.until_us > max(m.from_us, span_us))


def _read_earlier(
    desk: Desk, visibility: Visibility, query: Query, midnight_us: int
) -> dict[int, dict[str, Any]]:
    """Find the sensors that watched before the span and are not forgotten."""
    since_us = find_midnight(midnight_us - desk.config.forget_after_days * DAY_US, desk.zone)
    bounds = (since_us, midnight_us, midnight_us, midnight_us)
    return _read_rows(desk, visibility, query, COVERAGE_DAILY, bounds=bounds)


def _read_rows(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    table: Table,
    *,
    bounds: tuple[int, int, int, int],
) -> dict[int, dict[str, Any]]:
    """Read what each sensor watched.

    Args:
        desk: what asks the store.
        visibility: whose limits hold.
        query: data set, mode and filter.
        table: coverage by hour or by day.
        bounds: first instant read, start of the previous period, of the period, and its end; µs.
    """
    binding = Binding()
    first, before, start = (_write_instant(desk, table, instant_us, binding) for instant_us in bounds[:3])
    end = _write_instant(desk, table, -(-bounds[3] // HOUR_US) * HOUR_US, binding)
    statement = _SPAN.format(
        table=_write_source(desk, query, table, bounds, binding),
        time=table.time,
        stamp=_write_stamp(desk, table, binding),
        mode=write_mode(query, binding),
        now=f"{table.time} >= {start}",
        before=f"({table.time} >= {before} AND {table.time} < {start})",
        dataset=binding.bind("String", query.dataset),
        start=first,
        end=end,
        filter=write_filter(project(query.filters), binding),
    )
    table_read = desk.select(visibility, statement, binding.parameters)
    names = table_read.column_names
    columns = [table_read.column(name).to_pylist() for name in names]
    # Column by column: ten thousand sensors as rows of Arrow's own would cost more than the statement.
    rows = [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
    for row in rows:
        row["first_us"] = row["first_second"] * 1_000_000
    return {row["sensor"]: row for row in rows}


def _write_source(
    desk: Desk, query: Query, table: Table, bounds: tuple[int, int, int, int], binding: Binding
) -> str:
    """Give the table, or hours and days together where most days lie wholly in one of the periods."""
    if table.grain_seconds == DAY:
        return table.name
    wholly, partly = part_days(bounds, desk.zone)
    if len(wholly) < _LEAST_WHOLE_DAYS:
        return table.name
    return _HOURS_AND_DAYS.format(
        columns=_COLUMNS,
        dataset=binding.bind("String", query.dataset),
        zone=binding.bind("String", desk.zone),
        partly=binding.bind("Array(Date)", partly),
        wholly=binding.bind("Array(Date)", wholly),
    )


#: With fewer whole days than this hours alone are read.
_LEAST_WHOLE_DAYS = 2


def part_days(bounds: tuple[int, ...], zone: str) -> tuple[list[date], list[date]]:
    """Part the local days of ``[bounds[0], bounds[-1])`` into those without a bound inside and those with one; µs."""
    local = ZoneInfo(zone)
    wholly: list[date] = []
    partly: list[date] = []
    start_us = find_midnight(bounds[0], zone)
    while start_us < bounds[-1]:
        next_us = find_midnight(start_us + 36 * HOUR_US, zone)
        is_parted = any(start_us < bound < next_us for bound in bounds)
        (partly if is_parted else wholly).append(from_us(start_us).astimezone(local).date())
        start_us = next_us
    return wholly, partly


def write_mode(query: Query, binding: Binding) -> str:
    """Give the clause that keeps the query's mode, over a column or variable ``mode``; imports may not know theirs."""
    if query.mode == "all":
        return "1"
    known = ["answering"] if query.mode == "answering" else ["silent", "unknown"]
    return f"mode IN {binding.bind('Array(String)', known)}"


def _write_instant(desk: Desk, table: Table, instant_us: int, binding: Binding) -> str:
    if table.grain_seconds == DAY:
        return binding.bind("Date", from_us(max(0, instant_us)).astimezone(ZoneInfo(desk.zone)).date())
    return f"toDateTime({binding.bind('Int64', max(0, _full_hour(instant_us) // 1_000_000))}, 'UTC')"


def _write_stamp(desk: Desk, table: Table, binding: Binding) -> str:
    """Give the expression of the instant at which a row's hour or day begins."""
    return f"toDateTime(day, {binding.bind('String', desk.zone)})" if table.grain_seconds == DAY else "hour"


_SUMS = ("any_seconds", "mode_seconds", "v4_seconds", "v6_seconds", "rows_in_mode")
_NOW = ("seconds_now", "seconds_before", "captured_now", "drops_now", "excluded_now")


def _merge(earlier: dict[str, Any] | None, row: dict[str, Any] | None) -> dict[str, Any]:
    """Put what a sensor did before the span and in it together."""
    if earlier is None or row is None:
        return row or {**(earlier or {}), **dict.fromkeys(_NOW, 0), "modes_now": ""}
    merged = dict(row)
    for name in _SUMS:
        merged[name] += earlier[name]
    if earlier["rows_in_mode"]:
        merged["first_us"] = earlier["first_us"]
    merged["mode_last_us"] = max(row["mode_last_us"], earlier["mode_last_us"])
    return merged


def _read_first_windows(
    desk: Desk, visibility: Visibility, query: Query, rows: list[dict[str, Any]]
) -> dict[int, int]:
    """Find when each sensor's first window began: the roll-up only knows the hour or day."""
    if not rows:
        return {}
    binding = Binding()
    statement = _FIRST_WINDOWS.format(
        dataset=binding.bind("String", query.dataset),
        sensors=binding.bind("Array(UInt32)", [row["sensor"] for row in rows]),
        since=binding.instant(min(row["first_us"] for row in rows) - HOUR_US),
        until=binding.instant(max(row["first_us"] for row in rows) + DAY_US),
        mode=write_mode(query, binding),
    )
    found = desk.select(visibility, statement, binding.parameters).to_pylist()
    return {row["sensor"]: row["first_us"] for row in found}


def read_freshness(
    desk: Desk, visibility: Visibility, query: Query, members: tuple[Member, ...]
) -> Freshness:
    """Tell how far the data of reporting sensors are complete."""
    newest = {member.sensor: member.last_window_end_us for member in members if member.is_reporting}
    if not newest:
        return Freshness(None, frozenset())
    if query.dataset.startswith("import:"):
        return Freshness(max(newest.values()), frozenset())
    now_us = view_from(desk, query)
    known = {member.sensor for member in members}
    found = [hole for hole in holes.list_holes(desk, visibility, query) if hole.sensor in known]
    held = [hole.held_us for hole in found if hole.held_us > now_us - HOUR_US and hole.sensor in newest]
    return Freshness(min([*newest.values(), *held, now_us]), frozenset(hole.sensor for hole in found))


def view_from(desk: Desk, query: Query) -> int:
    """Give the instant from which freshness is judged, µs: a guarded question sees nothing after its end."""
    now_us = desk.clock.now_us()
    return min(now_us, to_us(query.end)) if query.is_guarded else now_us


def _full_hour(instant_us: int) -> int:
    return instant_us // HOUR_US * HOUR_US


def _make_member(desk: Desk, query: Query, row: dict[str, Any], first_us: int | None) -> Member:
    now_us, last_us = view_from(desk, query), row["last_us"]
    # Of two prefixes in two modes only the first one's rows carry the sensor's seconds.
    seconds = row["mode_seconds"] or row["any_seconds"]
    is_import = query.dataset.startswith("import:")
    reporting = is_import or last_us >= now_us - desk.config.silent_after_seconds * 1_000_000
    has_moved_on = row["mode_last_us"] < last_us
    forgotten_us = last_us + desk.config.forget_after_days * DAY_US
    expected_until_us = last_us if reporting else min(now_us, forgotten_us)
    return Member(
        sensor=row["sensor"],
        region=row["last_region"],
        from_us=row["first_us"] if first_us is None else first_us,
        until_us=row["mode_last_us"] if has_moved_on else expected_until_us,
        addresses_v4=row["v4_seconds"] / seconds if seconds else 0.0,
        addresses_v6=row["v6_seconds"] / seconds if seconds else 0.0,
        last_window_end_us=last_us,
        is_reporting=reporting,
        seconds=row["seconds_now"],
        seconds_before=row["seconds_before"],
        captured=row["captured_now"],
        kernel_drops=row["drops_now"],
        excluded=row["excluded_now"],
        modes=tuple(row["modes_now"].split()),
    )
