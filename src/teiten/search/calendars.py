"""A source's activity day by day, over most of a year, with the coverage of each day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from teiten.foundation.clock import from_us
from teiten.search import gaps, guarding, periods, roster
from teiten.search.answers import CalendarDay
from teiten.search.desk import Desk
from teiten.search.figures import divide, share_of
from teiten.search.members import Roster
from teiten.search.periods import DAY, Window
from teiten.search.predicates import Binding, highest_address, lowest_address
from teiten.search.query import Query
from teiten.search.roster import DAY_US
from teiten.search.tables import SOURCES
from teiten.search.visibility import Visibility

#: 44 weeks, as wide as the screen shows.
CALENDAR_DAYS = 308
#: All sources of a data set share what was watched; late data and the newest day show after this.
_KEPT_SECONDS = 300.0


def read_calendar(
    desk: Desk, visibility: Visibility, query: Query, days: Mapping[date, DayOfSource], *, ip_version: int
) -> tuple[CalendarDay, ...]:
    """Give each day of the 44 weeks that end with the query's period."""
    counts = {day: each.packets for day, each in days.items()}
    seen = observe_days(desk, visibility, query)
    window = seen.window
    covered = (seen.v6_seconds if ip_version == 6 else seen.v4_seconds).tolist()
    expected = gaps.expect(seen.members, window, family=ip_version).tolist()
    first = window.first_day
    return tuple(
        _make_day(first + timedelta(days=place), counts, covered=covered[place], expected=expected[place])
        for place in range(window.count)
    )


@dataclass(frozen=True)
class DaysWatched:
    """What all sensors watched day by day, in address-seconds, and which of them were expected."""

    window: Window
    v4_seconds: NDArray[np.float64]
    v6_seconds: NDArray[np.float64]
    members: Roster


def observe_days(desk: Desk, visibility: Visibility, query: Query) -> DaysWatched:
    """Read what was watched on each day of the calendar, in every mode and by all sensors."""
    span = query.within(query.end - timedelta(days=CALENDAR_DAYS), query.end)
    window = periods.lay_out(span, step_seconds=DAY, zone=desk.zone)
    return desk.remember(
        ("calendar", query.dataset, query.is_guarded, window),
        lambda: _observe_days(desk, visibility, span, window),
        seconds=_KEPT_SECONDS,
        viewer=None,
    )


#: One pass tells days and sensors apart; whoever fell silent before the calendar is expected until forgotten.
_DAYS_AND_SENSORS = """
SELECT
    grouping(sensor) AS is_day,
    sensor,
    toInt32(dateDiff('day', {first}, day)) AS place,
    toUnixTimestamp(toDateTime(min(day), {zone})) AS first_second,
    toUnixTimestamp64Micro(max(last_window_end_at)) AS last_us,
    sum(sensor_seconds) AS any_seconds,
    sumIf(address_seconds, ip_version = 4) AS v4_seconds,
    sumIf(address_seconds, ip_version = 6) AS v6_seconds
FROM coverage_1d
WHERE dataset = {dataset} AND day >= {since} AND day <= {last}
GROUP BY GROUPING SETS ((sensor), (day))
ORDER BY is_day, sensor, place
"""


def _observe_days(desk: Desk, visibility: Visibility, query: Query, window: Window) -> DaysWatched:
    binding = Binding()
    since_us = periods.find_midnight(window.start_us - desk.config.forget_after_days * DAY_US, desk.zone)
    statement = _DAYS_AND_SENSORS.format(
        dataset=binding.bind("String", query.dataset),
        zone=binding.bind("String", desk.zone),
        since=binding.bind("Date", from_us(max(0, since_us)).astimezone(ZoneInfo(desk.zone)).date()),
        first=binding.bind("Date", window.first_day),
        last=binding.bind("Date", window.last_day),
    )
    found = desk.select(visibility, statement, binding.parameters)
    rows: dict[str, NDArray[Any]] = {name: found.column(name).to_numpy() for name in found.column_names}
    is_day = rows["is_day"] == 1
    days = {name: values[is_day & (rows["place"] >= 0)] for name, values in rows.items()}
    sheets = np.zeros((2, window.count))
    for sheet, name in zip(sheets, ("v4_seconds", "v6_seconds"), strict=True):
        sheet[days["place"]] = days[name]
    sensors = {name: values[~is_day] for name, values in rows.items()}
    members = _make_roster(desk, visibility, query, sensors, since_us=since_us)
    return DaysWatched(window, sheets[0], sheets[1], members)


def _make_roster(
    desk: Desk, visibility: Visibility, query: Query, rows: dict[str, NDArray[Any]], *, since_us: int
) -> Roster:
    """Put sensors together; of those that were new in these days the first window is looked up."""
    count = len(rows["sensor"])
    first_us = rows["first_second"].astype(np.int64) * 1_000_000
    is_new = first_us > since_us
    sensor = rows["sensor"].astype(np.int64)
    first = roster.read_first_windows(
        desk, visibility, query, sensors=sensor[is_new], first_us=first_us[is_new]
    )
    if first:
        first_us[np.searchsorted(sensor, list(first))] = list(first.values())
    last_us, seconds = rows["last_us"].astype(np.int64), rows["any_seconds"]
    nothing = np.zeros(count, np.int64)
    figures = dict.fromkeys(
        ("seconds_now", "seconds_before", "captured_now", "drops_now", "excluded_now"), nothing
    )
    unknown = np.full(count, "", dtype=object)
    return roster.make_roster(
        desk,
        query,
        {
            "sensor": sensor,
            "first_us": first_us,
            "last_us": last_us,
            "mode_last_us": last_us,
            "any_seconds": seconds,
            "mode_seconds": seconds,
            "v4_seconds": rows["v4_seconds"],
            "v6_seconds": rows["v6_seconds"],
            "last_region": unknown,
            "modes_now": unknown,
            **figures,
        },
    )


def _make_day(day: date, counts: dict[date, int], *, covered: float, expected: float) -> CalendarDay:
    packets = counts.get(day, 0)
    share = share_of(covered, expected)
    return CalendarDay(
        day=day,
        packets=packets if covered > 0 or packets else None,
        rate=divide(packets, covered / DAY),
        coverage=None if share is None else min(1.0, share),
    )


@dataclass(frozen=True)
class DayOfSource:
    """What a source did on one day."""

    packets: int
    first_at: datetime
    last_at: datetime


def read_days(
    desk: Desk, visibility: Visibility, query: Query, network: IPv4Network | IPv6Network
) -> dict[date, DayOfSource]:
    """Read all days that are kept of a source; for a guarded viewer those on which enough sensors saw it, undated."""
    binding = Binding()
    low, high = binding.bind("IPv6", lowest_address(network)), binding.bind("IPv6", highest_address(network))
    first, last = "min(first_seen_at)", "max(last_seen_at)"
    if visibility.is_guarded:
        first = last = f"toDateTime(day, {binding.bind('String', desk.zone)})"
    statement = (
        f"SELECT day, {guarding.count_packets(visibility, SOURCES)} AS packet_count,"  # noqa: S608 - declared names, bound values
        f" toDateTime64({first}, 6, 'UTC') AS first_at, toDateTime64({last}, 6, 'UTC') AS last_at"
        f" FROM {SOURCES.name} WHERE dataset = {binding.bind('String', query.dataset)}"
        f" AND src_addr BETWEEN {low} AND {high} GROUP BY day{guarding.having(visibility, SOURCES)}"
    )
    rows = desk.select(visibility, statement, binding.parameters).to_pylist()
    return {row["day"]: DayOfSource(row["packet_count"], row["first_at"], row["last_at"]) for row in rows}
