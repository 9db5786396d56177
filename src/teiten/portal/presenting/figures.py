"""Numbers as people read them: grouped, shortened in the language's own units, never with false precision."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: A change of at least this much is coloured (amber up, blue down); below, it is grey.
NOTABLE_CHANGE = 0.20

_UNITS = {
    "ja": ((10**12, "兆"), (10**8, "億"), (10**4, "万")),
    "en": ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")),
}
#: From here on a figure is shortened; up to here every digit says something.
_SHORTEN_FROM = 1_000_000


@dataclass(frozen=True)
class Figure:
    """A number as text, its unit apart so that it can be set smaller."""

    text: str
    unit: str = ""


def format_count(value: float) -> str:
    """Write a whole number with grouped digits."""
    return f"{round(value):,}"


def format_measure(value: float | None) -> str:
    """Write a figure with about three significant digits, and a dash for none."""
    if value is None or math.isnan(value):
        return "—"
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:,.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def shorten(value: float, language: str) -> Figure:
    """Shorten large figures with the language's unit: 177,000,000 is 1.77 億, or 177 M."""
    if abs(value) < _SHORTEN_FROM:
        return Figure(
            format_count(value) if abs(value) >= 100 or value == int(value) else format_measure(value)
        )
    for size, unit in _UNITS["ja" if language.startswith("ja") else "en"]:
        if abs(value) >= size:
            return Figure(format_measure(value / size), unit)
    return Figure(format_count(value))


def format_share(share: float | None) -> str:
    """Write a share of 1 in percent; close to all or nothing keeps the digits that matter."""
    if share is None or math.isnan(share):
        return "—"
    percent = share * 100
    if 0 < percent < 0.1:
        return f"{percent:.2g} %"
    if 99.9 < percent < 100:
        return f"{math.floor(percent * 100) / 100:.2f} %"
    return f"{percent:.1f} %"


@dataclass(frozen=True)
class Change:
    """A change against the previous period, as arrow, text and tone."""

    arrow: str
    text: str
    #: "up", "down", "flat" or "none" (nothing to compare with).
    tone: str


def describe_change(now: float | None, before: float | None) -> Change:
    """Compare two figures; a change is neither good nor bad, so only its size sets the tone."""
    if now is None or before is None or before == 0:
        return Change("", "—", "none")
    change = now / before - 1
    if abs(change) < 0.005:
        return Change("±", "0 %", "flat")
    notable = abs(change) >= NOTABLE_CHANGE
    arrow, tone = ("▲", "up") if change > 0 else ("▼", "down")
    percent = abs(change) * 100
    text = f"{percent:,.0f} %" if percent < 9_950 else f"×{now / before:,.0f}"  # noqa: RUF001 - the sign people read
    return Change(arrow, text, tone if notable else "flat")
