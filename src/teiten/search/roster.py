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
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from teiten.foundation.clock import from_us, to_us
from teiten.search import holes
from teiten.search.conditions import AllOf, Condition, Expression, Not, all_of, any_of, negate, walk
from teiten.search.desk import Desk
from teiten.search.members import Member, Roster
from teiten.search.periods import DAY, HOUR_US, Window, find_hour, find_midnight, keep_seconds, part_days
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


#: Columns of what sensors watched, in the order of their numbers.
_Rows: TypeAlias = dict[str, NDArray[Any]]


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
    sumIf(address_seconds, ip_version = 6 AND {mode}) AS v6_seconds{figures}
FROM {table}
WHERE dataset = {dataset} AND {time} >= {start} AND {time} < {end} AND {filter}
GROUP BY sensor
ORDER BY sensor
"""
#: What only the period and the one before it are asked for.
_FIGURES = """,
    sumIf(greatest(sensor_seconds, address_seconds > 0), {now} AND {mode}) AS seconds_now,
    sumIf(greatest(sensor_seconds, address_seconds > 0), {before} AND {mode}) AS seconds_before,
    sumIf(captured, {now} AND {mode}) AS captured_now,
    sumIf(kernel_drops, {now} AND {mode}) AS drops_now,
    sumIf(excluded, {now} AND {mode}) AS excluded_now,
    arrayStringConcat(arraySort(groupUniqArrayIf(mode, {now})), ' ') AS modes_now"""
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
    return read_roster(desk, visibility, query, window).members


def read_roster(desk: Desk, visibility: Visibility, query: Query, window: Window) -> Roster:
    """Give what :func:`list_members` lists, column by column."""
    return desk.remember(
        ("members", query.dataset, project(query.filters), query.mode, query.is_guarded, window),
        lambda: _read_roster(desk, visibility, query, window),
        seconds=keep_seconds(desk.config.freshness_cache_seconds, window),
        viewer=None,
    )


def _read_roster(desk: Desk, visibility: Visibility, query: Query, window: Window) -> Roster:
    """Put together what sensors did in the days before the span and in the span itself.

    The span is read from its first midnight on, so that the days before are whole ones
    of the daily roll-up, and change so little that they are remembered.
    """
    span_us = window.before().start_us
    midnight_us = find_midnight(span_us, desk.zone)
    earlier = desk.remember(
        ("earlier", query.dataset, project(query.filters), query.mode, midnight_us),
        lambda: _read_earlier(desk, visibility, query, midnight_us),
        seconds=_EARLIER_KEPT_SECONDS,
        viewer=None,
    )
    table = COVERAGE_DAILY if window.step_seconds >= DAY else COVERAGE_HOURLY
    rows = _read_rows(
        desk, visibility, query, table, bounds=(midnight_us, span_us, window.start_us, window.end_us)
    )
    merged = _merge(earlier, rows)
    is_new = (rows["rows_in_mode"] > 0) & ~np.isin(rows["sensor"], earlier["sensor"])
    first = read_first_windows(
        desk, visibility, query, sensors=rows["sensor"][is_new], first_us=rows["first_us"][is_new]
    )
    if first:
        known, places = np.array(list(first)), np.array(list(first.values()))
        merged["first_us"][np.searchsorted(merged["sensor"], known)] = places
    found = make_roster(desk, query, _pick(merged, merged["rows_in_mode"] > 0))
    return found.where(found.until_us > np.maximum(found.from_us, span_us))


def _read_earlier(desk: Desk, visibility: Visibility, query: Query, midnight_us: int) -> _Rows:
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
) -> _Rows:
    """Read what each sensor watched, in the order of their numbers.

    Args:
        desk: what asks the store.
        visibility: whose limits hold.
        query: data set, mode and filter.
        table: coverage by hour or by day.
        bounds: first instant read, start of the previous period, of the period, and its end; µs.
    """
    binding = Binding()
    first, before, start = (_write_instant(desk, table, instant_us, binding) for instant_us in bounds[:3])
    end = _write_instant(desk, table, find_hour(bounds[3] + HOUR_US - 1, desk.zone), binding)
    mode = write_mode(query, binding)
    period = {
        "now": f"{table.time} >= {start}",
        "before": f"({table.time} >= {before} AND {table.time} < {start})",
    }
    statement = _SPAN.format(
        table=_write_source(desk, query, table, bounds, binding),
        time=table.time,
        stamp=_write_stamp(desk, table, binding),
        mode=mode,
        figures=_FIGURES.format(mode=mode, **period) if bounds[1] < bounds[3] else "",
        dataset=binding.bind("String", query.dataset),
        start=first,
        end=end,
        filter=write_filter(project(query.filters), binding),
    )
    found = desk.select(visibility, statement, binding.parameters)
    rows = {name: _to_array(found.column(name)) for name in found.column_names}
    rows["first_us"] = rows["first_second"] * 1_000_000
    return rows


def _to_array(column: pa.ChunkedArray[Any]) -> NDArray[Any]:
    values: NDArray[Any] = column.to_numpy()
    # Counts are unsigned in the store; differences of them must not be.
    return values.astype(np.int64) if values.dtype.kind in "ui" else values


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


def write_mode(query: Query, binding: Binding) -> str:
    """Give the clause that keeps the query's mode, over a column or variable ``mode``; imports may not know theirs."""
    if query.mode == "all":
        return "1"
    known = ["answering"] if query.mode == "answering" else ["silent", "unknown"]
    return f"mode IN {binding.bind('Array(String)', known)}"


def _write_instant(desk: Desk, table: Table, instant_us: int, binding: Binding) -> str:
    if table.grain_seconds == DAY:
        return binding.bind("Date", from_us(max(0, instant_us)).astimezone(ZoneInfo(desk.zone)).date())
    return (
        f"toDateTime({binding.bind('Int64', max(0, find_hour(instant_us, desk.zone) // 1_000_000))}, 'UTC')"
    )


def _write_stamp(desk: Desk, table: Table, binding: Binding) -> str:
    """Give the expression of the instant at which a row's hour or day begins."""
    return f"toDateTime(day, {binding.bind('String', desk.zone)})" if table.grain_seconds == DAY else "hour"


_SUMS = ("any_seconds", "mode_seconds", "v4_seconds", "v6_seconds", "rows_in_mode")
_NOW = ("seconds_now", "seconds_before", "captured_now", "drops_now", "excluded_now")


def _pick(rows: _Rows, mask: NDArray[np.bool_]) -> _Rows:
    return {name: values[mask] for name, values in rows.items()}


def _merge(earlier: _Rows, rows: _Rows) -> _Rows:
    """Put what each sensor did before the span and in it together."""
    sensors = np.union1d(earlier["sensor"], rows["sensor"])
    old, new = np.searchsorted(sensors, earlier["sensor"]), np.searchsorted(sensors, rows["sensor"])

    def lay(name: str, fill: Any = 0) -> NDArray[Any]:
        """Take the span's values, and the earlier ones where the span has none."""
        values = np.full(len(sensors), fill, dtype=rows[name].dtype)
        values[old] = earlier[name]
        values[new] = rows[name]
        return values

    merged: _Rows = {"sensor": sensors}
    for name in _SUMS:
        values = np.zeros(len(sensors), dtype=rows[name].dtype)
        values[old] += earlier[name]
        values[new] += rows[name]
        merged[name] = values
    for name in (*_NOW, "modes_now"):
        values = np.full(len(sensors), "" if name == "modes_now" else 0, dtype=rows[name].dtype)
        values[new] = rows[name]
        merged[name] = values
    for name in ("last_region", "last_us", "first_us", "mode_last_us"):
        merged[name] = lay(name)
    was_in_mode = old[earlier["rows_in_mode"] > 0]
    merged["first_us"][was_in_mode] = earlier["first_us"][earlier["rows_in_mode"] > 0]
    merged["mode_last_us"][old] = np.maximum(merged["mode_last_us"][old], earlier["mode_last_us"])
    return merged


def read_first_windows(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    *,
    sensors: NDArray[np.int64],
    first_us: NDArray[np.int64],
) -> dict[int, int]:
    """Find when each sensor's first window began: the roll-up only knows the hour or day."""
    if not len(sensors):
        return {}
    binding = Binding()
    statement = _FIRST_WINDOWS.format(
        dataset=binding.bind("String", query.dataset),
        sensors=binding.bind("Array(UInt32)", sensors.tolist()),
        since=binding.instant(int(first_us.min()) - HOUR_US),
        until=binding.instant(int(first_us.max()) + DAY_US),
        mode=write_mode(query, binding),
    )
    found = desk.select(visibility, statement, binding.parameters).to_pylist()
    return {row["sensor"]: row["first_us"] for row in found}


def read_freshness(desk: Desk, visibility: Visibility, query: Query, members: Roster) -> Freshness:
    """Tell how far the data of reporting sensors are complete."""
    reporting = members.where(members.is_reporting)
    if not len(reporting):
        return Freshness(None, frozenset())
    newest = reporting.last_window_end_us
    if query.dataset.startswith("import:"):
        return Freshness(int(newest.max()), frozenset())
    now_us = view_from(desk, query)
    known, awaited = set(members.sensor.tolist()), set(reporting.sensor.tolist())
    found = [hole for hole in holes.list_holes(desk, visibility, query) if hole.sensor in known]
    held = [hole.held_us for hole in found if hole.held_us > now_us - HOUR_US and hole.sensor in awaited]
    return Freshness(min([int(newest.min()), *held, now_us]), frozenset(hole.sensor for hole in found))


def view_from(desk: Desk, query: Query) -> int:
    """Give the instant from which freshness is judged, µs: a guarded question sees nothing after its end."""
    now_us = desk.clock.now_us()
    return min(now_us, to_us(query.end)) if query.is_guarded else now_us


def make_roster(desk: Desk, query: Query, rows: _Rows) -> Roster:
    """Tell from when to when the sensors of ``rows`` were expected."""
    now_us, last_us = view_from(desk, query), rows["last_us"]
    # Of two prefixes in two modes only the first one's rows carry the sensor's seconds.
    seconds = np.where(rows["mode_seconds"] != 0, rows["mode_seconds"], rows["any_seconds"])
    divisor = np.where(seconds != 0, seconds, np.inf)
    is_import = query.dataset.startswith("import:")
    reporting = is_import | (last_us >= now_us - desk.config.silent_after_seconds * 1_000_000)
    forgotten_us = last_us + desk.config.forget_after_days * DAY_US
    expected_until_us = np.where(reporting, last_us, np.minimum(now_us, forgotten_us))
    has_moved_on = rows["mode_last_us"] < last_us
    return Roster(
        sensor=rows["sensor"],
        region=rows["last_region"],
        from_us=rows["first_us"],
        until_us=np.where(has_moved_on, rows["mode_last_us"], expected_until_us),
        addresses_v4=rows["v4_seconds"] / divisor,
        addresses_v6=rows["v6_seconds"] / divisor,
        last_window_end_us=last_us,
        is_reporting=reporting,
        seconds=rows["seconds_now"],
        seconds_before=rows["seconds_before"],
        captured=rows["captured_now"],
        kernel_drops=rows["drops_now"],
        excluded=rows["excluded_now"],
        modes=rows["modes_now"],
    )
