"""Calendars as squares: a source's days by week, a sensor's hours by day.

A square is one of three things, never alike: a figure (coloured by logarithmic
class), watched and none seen (outlined), or not watched (hatched).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from math import log
from zoneinfo import ZoneInfo

from teiten.search.answers import CalendarDay

SIZE = 13
PITCH = 16
CLASSES = 6
_LEFT = 40
_TOP = 20
_DAYS = 7
_HOURS = 24


@dataclass(frozen=True)
class Square:
    """One square with its place."""

    x: float
    y: float
    #: ``q1`` to ``q6``, ``zero``, ``hatched``, ``planned`` or ``cell-c``.
    css: str
    title: str
    height: float = SIZE
    width: float = SIZE


@dataclass(frozen=True)
class Label:
    """Text at the edge of a calendar."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Calendar:
    """Squares with their labels, ready to be drawn."""

    width: float
    height: float
    squares: tuple[Square, ...]
    labels: tuple[Label, ...]


def class_of(value: float, most: float) -> int:
    """Give the class 1–6 of a value above 0 on a logarithmic scale up to ``most``."""  # noqa: RUF002 - a range
    if most <= 1:
        return CLASSES
    return min(CLASSES, 1 + int(log(max(1.0, value)) / log(most) * (CLASSES - 1) + 1e-9))


def draw_weeks(
    days: Sequence[CalendarDay], *, months: Sequence[str], weekdays: Sequence[str], words: dict[str, str]
) -> Calendar:
    """Draw days in columns of weeks that begin on Sunday.

    Args:
        days: without holes, oldest first.
        months: names of the twelve months.
        weekdays: names from Monday on.
        words: ``packets``, ``none`` and ``unwatched`` for the squares' titles.
    """
    if not days:
        return Calendar(_LEFT, _TOP, (), ())
    first = days[0].day - timedelta(days=(days[0].day.weekday() + 1) % _DAYS)
    most = float(max((day.packets or 0 for day in days), default=0))
    squares = []
    labels = [Label(0, _TOP + (row * PITCH) + SIZE - 2, weekdays[row - 1]) for row in (1, 3, 5)]
    for day in days:
        week, row = divmod((day.day - first).days, _DAYS)
        squares.append(Square(_LEFT + week * PITCH, _TOP + row * PITCH, *_look(day, most, words)))
    labels += _month_labels(first, days[-1].day, months)
    weeks = (days[-1].day - first).days // _DAYS + 1
    return Calendar(_LEFT + weeks * PITCH, _TOP + _DAYS * PITCH, tuple(squares), tuple(labels))


def _look(day: CalendarDay, most: float, words: dict[str, str]) -> tuple[str, str]:
    if day.packets is None:
        return "hatched", f"{day.day.isoformat()} {words['unwatched']}"
    if day.packets == 0:
        return "zero", f"{day.day.isoformat()} {words['none']}"
    return f"q{class_of(day.packets, most)}", f"{day.day.isoformat()} {day.packets:,} {words['packets']}"


def _month_labels(first: date, last: date, months: Sequence[str]) -> list[Label]:
    labels: list[Label] = []
    for week in range((last - first).days // _DAYS + 1):
        sunday = first + timedelta(days=week * _DAYS)
        is_first_week = sunday.day <= _DAYS
        if is_first_week and (not labels or _LEFT + week * PITCH - labels[-1].x > 2 * PITCH):
            labels.append(Label(_LEFT + week * PITCH, 11, months[sunday.month - 1]))
    return labels


def draw_hours(
    starts: Sequence[datetime],
    shares: Sequence[float | None],
    *,
    zone: ZoneInfo,
    words: dict[str, str],
    planned: Sequence[tuple[datetime, datetime]] = (),
) -> Calendar:
    """Draw a sensor's coverage, one row a day and one column an hour, filled to the share watched.

    Hours of ``planned`` maintenance have a pattern of their own: they are no gap.
    """
    if not starts:
        return Calendar(_LEFT, _TOP, (), ())
    local = [at.astimezone(zone) for at in starts]
    first = local[0].date()
    size, pitch = 9, 10.4
    squares: list[Square] = []
    labels = [Label(_LEFT + hour * pitch, 12, str(hour)) for hour in (0, 6, 12, 18)]
    for at, share in zip(local, shares, strict=True):
        row = (at.date() - first).days
        x, y = _LEFT + at.hour * pitch, _TOP + row * pitch
        is_planned = any(start <= at < end for start, end in planned)
        unwatched = words["planned"] if is_planned else words["unwatched"]
        title = f"{at:%m-%d %H}:00 " + (unwatched if not share else f"{share * 100:.1f} %")
        squares.append(Square(x, y, "planned" if is_planned else "hatched", title, size, size))
        if share:
            filled = round(size * min(1.0, share), 1)
            squares.append(Square(x, y + size - filled, "cell-c", title, filled, size))
    rows = (local[-1].date() - first).days + 1
    labels += [
        Label(0, _TOP + row * pitch + size, f"{first + timedelta(days=row):%m-%d}")
        for row in range(0, rows, _DAYS)
    ]
    return Calendar(_LEFT + _HOURS * pitch, _TOP + rows * pitch, tuple(squares), tuple(labels))
