"""Which sensors were expected to watch, from when to when, and how fresh they are.

The store knows sensors by the windows they reported. A sensor is *expected* from the
start of its first window on. While it is *reporting* (its newest window ended at most
``silent_after_seconds`` before now) it is expected up to that window's end, since its
next one is not due; a silent sensor is expected up to now, so that its silence counts
as missing, until it is forgotten after ``forget_after_days``.

``complete_until`` is the earliest of the newest window ends of all reporting sensors,
and not after a hole in their batch numbers that is younger than an hour and that no
tombstone explains; older holes are counted as late instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from teiten.search import holes
from teiten.search.conditions import AllOf, Condition, Expression, Not, all_of, any_of, negate, walk
from teiten.search.desk import Desk
from teiten.search.periods import Window
from teiten.search.predicates import Binding, write_filter
from teiten.search.query import Query
from teiten.search.visibility import Visibility

HOUR_US = 3_600_000_000
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


_SPAN = """
SELECT
    sensor,
    argMax(region, hour) AS last_region,
    toUnixTimestamp(min(hour)) AS first_hour,
    toUnixTimestamp64Micro(max(last_window_end_at)) AS last_us,
    sum(sensor_seconds) AS seconds_all,
    sumIf(address_seconds, ip_version = 4) AS v4_seconds,
    sumIf(address_seconds, ip_version = 6) AS v6_seconds,
    sumIf(sensor_seconds, hour >= {middle}) AS seconds_now,
    sumIf(sensor_seconds, hour < {middle}) AS seconds_before,
    sumIf(captured, hour >= {middle}) AS captured_now,
    sumIf(kernel_drops, hour >= {middle}) AS drops_now,
    sumIf(excluded, hour >= {middle}) AS excluded_now,
    groupUniqArrayIf(mode, hour >= {middle}) AS modes_now
FROM coverage_1h
WHERE dataset = {dataset} AND hour >= {start} AND hour < {end} AND {filter}
GROUP BY sensor
ORDER BY sensor
"""
_EARLIER = """
SELECT
    sensor,
    argMax(region, hour) AS last_region,
    toUnixTimestamp(min(hour)) AS first_hour,
    toUnixTimestamp64Micro(max(last_window_end_at)) AS last_us,
    sum(sensor_seconds) AS seconds_all,
    sumIf(address_seconds, ip_version = 4) AS v4_seconds,
    sumIf(address_seconds, ip_version = 6) AS v6_seconds
FROM coverage_1h
WHERE dataset = {dataset} AND hour >= {since} AND hour < {start} AND {filter}
GROUP BY sensor
ORDER BY sensor
"""
_FIRST_WINDOWS = """
SELECT sensor, min(toUnixTimestamp64Micro(window_start_at)) AS first_us
FROM coverage
WHERE dataset = {dataset} AND sensor IN {sensors} AND window_start_at >= {since} AND window_start_at < {until}
GROUP BY sensor
"""
#: What a sensor that watched in no hour of the span has there.
_NOTHING: Mapping[str, Any] = {
    "seconds_now": 0.0,
    "seconds_before": 0.0,
    "captured_now": 0,
    "drops_now": 0,
    "excluded_now": 0,
    "modes_now": (),
}
#: The past hardly changes: late data of earlier days show after this, seconds.
_EARLIER_KEPT_SECONDS = 300.0


def list_members(desk: Desk, visibility: Visibility, query: Query, window: Window) -> tuple[Member, ...]:
    """List the sensors that were expected at any time of the window or the one before."""
    return desk.memory.recall(
        ("members", query.dataset, project(query.filters), window),
        now=desk.clock.monotonic(),
        keep_seconds=desk.config.freshness_cache_seconds,
        make=lambda: _list_members(desk, visibility, query, window),
    )


def _list_members(desk: Desk, visibility: Visibility, query: Query, window: Window) -> tuple[Member, ...]:
    span_us = window.before().start_us
    start_us = _full_hour(span_us)
    earlier = desk.memory.recall(
        ("earlier", query.dataset, project(query.filters), start_us),
        now=desk.clock.monotonic(),
        keep_seconds=_EARLIER_KEPT_SECONDS,
        make=lambda: _read_earlier(desk, visibility, query, start_us),
    )
    rows = _read_span(desk, visibility, query, window, start_us=start_us)
    newcomers = [row for row in rows.values() if row["sensor"] not in earlier]
    first = _read_first_windows(desk, visibility, query, newcomers)
    merged = (_merge(earlier.get(sensor), rows.get(sensor)) for sensor in sorted({*earlier, *rows}))
    members = (_make_member(desk, query, row, first.get(row["sensor"])) for row in merged)
    return tuple(m for m in members if m.until_us > max(m.from_us, span_us))


def _read_span(
    desk: Desk, visibility: Visibility, query: Query, window: Window, *, start_us: int
) -> dict[int, dict[str, Any]]:
    binding = Binding()
    statement = _SPAN.format(
        dataset=binding.bind("String", query.dataset),
        start=_hour(start_us, binding),
        middle=_hour(_full_hour(window.start_us), binding),
        end=_hour(window.end_us, binding),
        filter=write_filter(project(query.filters), binding),
    )
    return {row["sensor"]: row for row in desk.select(visibility, statement, binding.parameters).to_pylist()}


def _read_earlier(
    desk: Desk, visibility: Visibility, query: Query, start_us: int
) -> dict[int, dict[str, Any]]:
    """Find the sensors that watched before the span and are not forgotten."""
    binding = Binding()
    statement = _EARLIER.format(
        dataset=binding.bind("String", query.dataset),
        since=_hour(start_us - desk.config.forget_after_days * DAY_US, binding),
        start=_hour(start_us, binding),
        filter=write_filter(project(query.filters), binding),
    )
    return {row["sensor"]: row for row in desk.select(visibility, statement, binding.parameters).to_pylist()}


def _merge(earlier: dict[str, Any] | None, row: dict[str, Any] | None) -> dict[str, Any]:
    """Put what a sensor did before the span and in it together."""
    if row is None:
        return {**(earlier or {}), **_NOTHING}
    if earlier is None:
        return row
    sums = {name: row[name] + earlier[name] for name in ("seconds_all", "v4_seconds", "v6_seconds")}
    return {**row, **sums, "first_hour": earlier["first_hour"]}


def _read_first_windows(
    desk: Desk, visibility: Visibility, query: Query, rows: list[dict[str, Any]]
) -> dict[int, int]:
    """Find when each sensor's first window began: the roll-up only knows the hour."""
    if not rows:
        return {}
    binding = Binding()
    hours = [row["first_hour"] * 1_000_000 for row in rows]
    statement = _FIRST_WINDOWS.format(
        dataset=binding.bind("String", query.dataset),
        sensors=binding.bind("Array(UInt32)", [row["sensor"] for row in rows]),
        since=binding.instant(min(hours) - HOUR_US),
        until=binding.instant(max(hours) + HOUR_US),
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
    now_us = desk.clock.now_us()
    known = {member.sensor for member in members}
    found = [hole for hole in holes.list_holes(desk, visibility, query) if hole.sensor in known]
    held = [hole.held_us for hole in found if hole.held_us > now_us - HOUR_US and hole.sensor in newest]
    return Freshness(min([*newest.values(), *held, now_us]), frozenset(hole.sensor for hole in found))


def _full_hour(instant_us: int) -> int:
    return instant_us // HOUR_US * HOUR_US


def _hour(instant_us: int, binding: Binding) -> str:
    return f"toDateTime({binding.bind('Int64', max(0, instant_us // 1_000_000))}, 'UTC')"


def _make_member(desk: Desk, query: Query, row: dict[str, Any], first_us: int | None) -> Member:
    now_us, last_us, seconds = desk.clock.now_us(), row["last_us"], row["seconds_all"]
    is_import = query.dataset.startswith("import:")
    reporting = is_import or last_us >= now_us - desk.config.silent_after_seconds * 1_000_000
    forgotten_us = last_us + desk.config.forget_after_days * DAY_US
    return Member(
        sensor=row["sensor"],
        region=row["last_region"],
        from_us=row["first_hour"] * 1_000_000 if first_us is None else first_us,
        until_us=last_us if reporting else min(now_us, forgotten_us),
        addresses_v4=row["v4_seconds"] / seconds if seconds else 0.0,
        addresses_v6=row["v6_seconds"] / seconds if seconds else 0.0,
        last_window_end_us=last_us,
        is_reporting=reporting,
        seconds=row["seconds_now"],
        seconds_before=row["seconds_before"],
        captured=row["captured_now"],
        kernel_drops=row["drops_now"],
        excluded=row["excluded_now"],
        modes=tuple(sorted(row["modes_now"])),
    )
