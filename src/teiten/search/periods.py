"""Periods and buckets: which instants an answer really covers.

Every answer is about whole buckets. A question's period is widened to them, and
the answer says so; a relative period ("7 days until now") keeps its length and ends
with the bucket that now lies in. Buckets of a day or more begin at the midnights of
the installation's zone, shorter ones at multiples of their length in local time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

from teiten.foundation.clock import from_us, to_us
from teiten.search.errors import QueryError
from teiten.search.query import Query

DAY = 86_400
HOUR_US = 3_600_000_000
_FINE_STEPS = (1, 5, 10, 30, 60, 300, 900, 3_600)
_MOST_FINE_BUCKETS = 180
#: More buckets than this are refused: nobody can see them.
MOST_BUCKETS = 2_000
#: Longest period per step, from an hour on.
_COARSE_STEPS = ((16, 3_600), (400, DAY))


@dataclass(frozen=True)
class Window:
    """Whole buckets: ``[edges[0], edges[-1])``."""

    #: Starts of all buckets and the end of the last, µs.
    edges_us: tuple[int, ...]
    step_seconds: int
    zone: str

    @property
    def start_us(self) -> int:
        return self.edges_us[0]

    @property
    def end_us(self) -> int:
        return self.edges_us[-1]

    @property
    def count(self) -> int:
        return len(self.edges_us) - 1

    @property
    def starts(self) -> tuple[datetime, ...]:
        return tuple(from_us(edge) for edge in self.edges_us[:-1])

    @property
    def lengths_us(self) -> tuple[int, ...]:
        return tuple(after - before for before, after in pairwise(self.edges_us))

    @property
    def first_day(self) -> date:
        return from_us(self.start_us).astimezone(ZoneInfo(self.zone)).date()

    @property
    def last_day(self) -> date:
        """The day that holds the last instant, included."""
        return from_us(self.end_us - 1).astimezone(ZoneInfo(self.zone)).date()

    def before(self) -> Window:
        """Give the window of the same number of buckets just before."""
        if self.step_seconds >= DAY:
            zone = ZoneInfo(self.zone)
            days = self.step_seconds // DAY
            first = self.first_day
            edges = [
                _midnight(first + timedelta(days=days * (i - self.count)), zone)
                for i in range(self.count + 1)
            ]
            return Window(tuple(edges), self.step_seconds, self.zone)
        shift = self.end_us - self.start_us
        return Window(tuple(edge - shift for edge in self.edges_us), self.step_seconds, self.zone)

    def elapsed_share(self, now_us: int) -> float:
        """Tell how much of the window has passed: 1.0 unless its end is to come."""
        passed = min(now_us, self.end_us) - self.start_us
        return max(0.0, passed / (self.end_us - self.start_us))


def keep_seconds(seconds: float, window: Window) -> float:
    """Give for how long an answer about coverage is remembered: of whole days it changes slowly."""
    return seconds * 6 if window.step_seconds >= DAY else seconds


def pick_step(length: timedelta, *, coarsest_grain: int = 0) -> int:
    """Choose the bucket length: 60 to 385 buckets where the grain allows it, and days from 17 days on.

    Days are what roll-ups keep for years: a month by six hours cost ten times as much.
    """
    seconds = length.total_seconds()
    if seconds < 20 * 3_600:
        step = next((s for s in _FINE_STEPS if seconds / s <= _MOST_FINE_BUCKETS), 3_600)
    else:
        days = seconds / DAY
        step = next((s for most, s in _COARSE_STEPS if days <= most), 7 * DAY)
    return max(step, coarsest_grain)


def lay_out(query: Query, *, step_seconds: int, zone: str) -> Window:
    """Cover the query's period with whole buckets.

    Raises:
        QueryError: for a step that gives too many buckets, or none that is known.
    """
    if (
        step_seconds < 1
        or (step_seconds > DAY and step_seconds % DAY)
        or (step_seconds < DAY and DAY % step_seconds)
    ):
        raise _refuse_step(step_seconds, "must divide a day or be whole days")
    if query.length.total_seconds() / step_seconds > MOST_BUCKETS:
        raise _refuse_step(step_seconds, f"gives more than {MOST_BUCKETS} buckets; take a longer step")
    edges = (
        _edges_of_days(query, step_seconds // DAY, zone)
        if step_seconds >= DAY
        else _edges(query, step_seconds, zone)
    )
    if query.period != "custom" and len(edges) > 2 and _covers_more(edges, query):
        edges = edges[1:]
    return Window(tuple(edges), step_seconds, zone)


def _covers_more(edges: list[int], query: Query) -> bool:
    """Tell whether the first bucket can go without the window becoming shorter than asked."""
    return edges[-1] - edges[1] >= to_us(query.end) - to_us(query.start)


def _edges(query: Query, step_seconds: int, zone: str) -> list[int]:
    offset = query.start.astimezone(ZoneInfo(zone)).utcoffset() or timedelta(0)
    offset_us, step_us = int(offset.total_seconds()) * 1_000_000, step_seconds * 1_000_000
    start = (to_us(query.start) + offset_us) // step_us * step_us - offset_us
    count = -(-(to_us(query.end) - start) // step_us)
    return [start + i * step_us for i in range(count + 1)]


def _edges_of_days(query: Query, days: int, zone: str) -> list[int]:
    local = ZoneInfo(zone)
    day = query.start.astimezone(local).date()
    edges = [_midnight(day, local)]
    end = to_us(query.end)
    while edges[-1] < end:
        day += timedelta(days=days)
        edges.append(_midnight(day, local))
    return edges


def find_midnight(instant_us: int, zone: str) -> int:
    """Give the local midnight at or before an instant, µs."""
    local = ZoneInfo(zone)
    return _midnight(from_us(instant_us).astimezone(local).date(), local)


def find_hour(instant_us: int, zone: str) -> int:
    """Give the full hour of local clocks at or before an instant, µs: in some zones no full hour of UTC."""
    offset = from_us(instant_us).astimezone(ZoneInfo(zone)).utcoffset() or timedelta(0)
    offset_us = int(offset.total_seconds()) * 1_000_000
    return (instant_us + offset_us) // HOUR_US * HOUR_US - offset_us


def is_whole_days(window: Window) -> bool:
    """Tell whether a window, and the one before it, consist of whole local days."""
    bounds = (window.before().start_us, window.start_us, window.end_us)
    return all(is_midnight(bound, window.zone) for bound in bounds)


def is_midnight(instant_us: int, zone: str) -> bool:
    """Tell whether an instant is a local midnight."""
    return find_midnight(instant_us, zone) == instant_us


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


def _midnight(day: date, zone: ZoneInfo) -> int:
    return to_us(datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(timezone.utc))


def _refuse_step(step_seconds: int, rule: str) -> QueryError:
    return QueryError(f"step {step_seconds} s {rule}", field="step", value=str(step_seconds), rule=rule)
