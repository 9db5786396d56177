"""Ratios as dots with whiskers on a logarithmic axis, drawn on the server; colour comes from classes.

A whisker that does not touch 1 is a difference; one that does may be chance, and is
drawn hollow, so that colour is not what tells them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

WIDTH, HEIGHT = 260, 20
_MARGIN = 8
#: The axis never spans less than this to either side of 1, and never more.
_LEAST, _MOST = 2.0, 100.0
_TICKS = (2, 3, 5, 10, 30, 100)


@dataclass(frozen=True)
class Ratio:
    """One ratio with the bounds of its interval."""

    ratio: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Whisker:
    """One row of the picture; places are in units of the drawing."""

    centre: float
    #: None where there is no dot.
    dot: float | None
    left: float
    right: float
    has_interval: bool
    #: The interval goes on beyond the edge.
    is_cut: bool
    #: The interval does not hold 1.
    is_sure: bool


@dataclass(frozen=True)
class Tick:
    """A mark of the axis."""

    x: float
    text: str


@dataclass(frozen=True)
class Whiskers:
    """All rows on one axis."""

    rows: tuple[Whisker, ...]
    ticks: tuple[Tick, ...]
    centre: float


def draw_whiskers(ratios: Sequence[Ratio]) -> Whiskers:
    """Lay ratios out on one axis that has 1 in its middle."""
    most = _span(ratios)
    ticks = [value for value in _TICKS if value <= most]
    shown = ticks if len(ticks) <= 2 else [ticks[0], ticks[-1]]
    marks = [Tick(_place(1 / value, most), f"1/{value}") for value in reversed(shown)]
    marks += [Tick(_place(1, most), "1"), *(Tick(_place(value, most), str(value)) for value in shown)]
    return Whiskers(tuple(_draw(ratio, most) for ratio in ratios), tuple(marks), _place(1, most))


def _span(ratios: Sequence[Ratio]) -> float:
    known = [value for ratio in ratios for value in (ratio.ratio, ratio.low, ratio.high) if value]
    widest = max((max(value, 1 / value) for value in known), default=_LEAST)
    return min(_MOST, max(_LEAST, widest * 1.1))


def _place(value: float, most: float) -> float:
    share = log(value) / log(most) if value > 0 else -1.0
    middle = WIDTH / 2
    return round(middle + max(-1.0, min(1.0, share)) * (middle - _MARGIN), 1)


def _draw(ratio: Ratio, most: float) -> Whisker:
    dot = None if ratio.ratio is None else _place(ratio.ratio, most)
    low, high = ratio.low, ratio.high
    has_interval = low is not None and high is not None
    left = _place(low, most) if low is not None else dot or 0.0
    right = _place(high, most) if high is not None else dot or 0.0
    return Whisker(
        centre=_place(1, most),
        dot=dot,
        left=left,
        right=right,
        has_interval=has_interval,
        is_cut=has_interval and ((low or 0.0) < 1 / most or (high or 0.0) > most),
        is_sure=low is not None and high is not None and (low > 1 or high < 1),
    )
