"""A source's activity day by day, over most of a year, with the coverage of each day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network

from teiten.search import gaps, guarding, periods, roster, watched
from teiten.search.answers import CalendarDay
from teiten.search.desk import Desk
from teiten.search.figures import divide, share_of
from teiten.search.members import Roster
from teiten.search.periods import DAY, Window
from teiten.search.predicates import Binding, highest_address, lowest_address
from teiten.search.query import Query
from teiten.search.tables import SOURCES
from teiten.search.visibility import Visibility
from teiten.search.watched import Watched

#: 44 weeks, as wide as the screen shows.
CALENDAR_DAYS = 308


def read_calendar(
    desk: Desk, visibility: Visibility, query: Query, days: Mapping[date, DayOfSource], *, ip_version: int
) -> tuple[CalendarDay, ...]:
    """Give each day of the 44 weeks that end with the query's period."""
    span = query.within(query.end - timedelta(days=CALENDAR_DAYS), query.end)
    window = periods.lay_out(span, step_seconds=DAY, zone=desk.zone)
    counts = {day: each.packets for day, each in days.items()}
    seen = desk.memory.recall(
        ("calendar", query.dataset, window),
        now=desk.clock.monotonic(),
        keep_seconds=60.0,
        make=lambda: _observe_days(desk, visibility, span, window),
    )
    covered = seen.watched.address_seconds(ip_version).tolist()
    expected = gaps.expect(seen.members, window, family=ip_version).tolist()
    first = window.first_day
    return tuple(
        _make_day(first + timedelta(days=place), counts, covered=covered[place], expected=expected[place])
        for place in range(window.count)
    )


@dataclass(frozen=True)
class _Days:
    """What all sensors watched, and which of them were expected."""

    watched: Watched
    members: Roster


def _observe_days(desk: Desk, visibility: Visibility, query: Query, window: Window) -> _Days:
    by_region = watched.read_watched(desk, visibility, query, window)
    whole = Watched.together(by_region.values(), window.count)
    return _Days(whole, roster.read_roster(desk, visibility, query, window))


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
