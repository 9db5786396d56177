"""Verdicts by day: one row a tool, one column a day; each state has a shape of its own, never colour alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from teiten.search.answers import CalendarDay, VerdictDay
from teiten.traffic.hints import Hint
from teiten.traffic.verdicts import ToolVerdict

PITCH = 20
SIZE = 16
_LEFT = 128
_TOP = 20
MOST_DAYS = 31
#: Smaller square inside the outlined one: too few packets to say.
_INNER = 6
_CSS = {"yes": "vd-yes", "no": "zero", "not computable": "hatched", "too few": "vd-few"}


@dataclass(frozen=True)
class DayCell:
    """One tool on one day."""

    x: int
    y: int
    #: ``vd-yes``, ``vd-few``, ``zero``, ``hatched``, ``unseen`` or ``unwatched``.
    css: str
    title: str


@dataclass(frozen=True)
class DayLabel:
    """Text at the edge: a tool, or a day."""

    x: int
    y: int
    text: str


@dataclass(frozen=True)
class VerdictStrip:
    """The picture, ready to be drawn."""

    width: int
    height: int
    size: int
    inner: int
    cells: tuple[DayCell, ...]
    tools: tuple[DayLabel, ...]
    days: tuple[DayLabel, ...]


def draw_verdict_days(
    days: Sequence[VerdictDay],
    calendar: Sequence[CalendarDay],
    *,
    names: dict[Hint, str],
    words: dict[str, str],
) -> VerdictStrip | None:
    """Draw the last days of the period; None when no tool was ever judged other than "no".

    Args:
        days: with verdicts, any order.
        calendar: every day, so that days without packets and days not watched are told apart.
        names: of the tools.
        words: ``yes``, ``no``, ``not computable``, ``too few``, ``unseen``, ``unwatched``.
    """
    judged = {day.day: day for day in days}
    tools = _list_tools(days)
    if not tools:
        return None
    first, last = min(judged), max(judged)
    shown = [day for day in calendar if first <= day.day <= last][-MOST_DAYS:]
    cells = [
        _draw(column, row, day, _find(judged.get(day.day), tool), words)
        for row, tool in enumerate(tools)
        for column, day in enumerate(shown)
    ]
    labels = [
        DayLabel(_LEFT + column * PITCH, 12, f"{day.day:%m-%d}")
        for column, day in enumerate(shown)
        if column % 7 == 0
    ]
    names_shown = [DayLabel(0, _TOP + row * PITCH + 12, names[tool]) for row, tool in enumerate(tools)]
    return VerdictStrip(
        width=_LEFT + max(1, len(shown)) * PITCH,
        height=_TOP + len(tools) * PITCH,
        size=SIZE,
        inner=_INNER,
        cells=tuple(cells),
        tools=tuple(names_shown),
        days=tuple(labels),
    )  # fmt: skip


def _list_tools(days: Sequence[VerdictDay]) -> list[Hint]:
    """List the tools for which something speaks, or that could not be asked for; the surest first."""
    best: dict[Hint, float] = {}
    for verdict in (verdict for day in days for verdict in day.verdicts):
        says_something = verdict.matching > 0 or verdict.state == "not computable"
        if verdict.hint is not None and verdict.state != "no" and says_something:
            best[verdict.hint] = max(best.get(verdict.hint, 0.0), verdict.confidence)
    return sorted(best, key=lambda hint: (-best[hint], int(hint)))


def _find(day: VerdictDay | None, tool: Hint) -> ToolVerdict | None:
    verdicts = () if day is None else day.verdicts
    return next((verdict for verdict in verdicts if verdict.hint == tool), None)


def _draw(
    column: int, row: int, day: CalendarDay, verdict: ToolVerdict | None, words: dict[str, str]
) -> DayCell:
    x, y = _LEFT + column * PITCH, _TOP + row * PITCH
    if verdict is None:
        state = "unwatched" if day.packets is None else "unseen"
        return DayCell(x, y, state, f"{_write_day(day.day)} {words[state]}")
    asked = verdict.matching + verdict.contradicting
    title = f"{_write_day(day.day)} {words[verdict.state]} {verdict.confidence:.2f} · {verdict.matching:,} / {asked:,}"
    return DayCell(x, y, _CSS[verdict.state], title)


def _write_day(day: date) -> str:
    return day.isoformat()
