"""Small marks drawn on the server: sparklines and bars as geometry, coloured by the stylesheet only.

A missing value is a break in the line, never a zero: not watched and none seen
must not look alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

#: Paths of the 16 x 16 line icons.
ICONS: dict[str, str] = {
    "search": '<circle cx="7" cy="7" r="4.5"/><path d="m10.5 10.5 3.5 3.5"/>',
    "theme": '<circle cx="8" cy="8" r="5.5"/><path d="M8 2.5v11M8 2.5a5.5 5.5 0 0 1 0 11" fill="currentColor"/>',
    "table": '<path d="M2.5 3.5h11v9h-11zM2.5 6.5h11M6 6.5v6"/>',
    "chart": '<path d="M2.5 13.5h11M4.5 11V8M8 11V4M11.5 11V6"/>',
    "download": '<path d="M8 2.5v7.5M5 7l3 3 3-3M3 13h10"/>',
    "down": '<path d="m4 6 4 4 4-4"/>',
    "left": '<path d="m10 4-4 4 4 4"/>',
    "right": '<path d="m6 4 4 4-4 4"/>',
    "plus": '<path d="M8 3v10M3 8h10"/>',
    "minus": '<path d="M3 8h10"/>',
    "close": '<path d="m4 4 8 8M12 4l-8 8"/>',
    "run": '<path d="M5 3.5v9l7-4.5z" fill="currentColor"/>',
    "copy": '<path d="M5.5 5.5h7v7h-7zM3.5 10.5v-7h7"/>',
    "link": '<path d="M6.5 9.5a2.5 2.5 0 0 0 3.6 0l2-2a2.5 2.5 0 0 0-3.6-3.6l-.8.8M9.5 6.5a2.5 2.5 0 0 0-3.6 0l-2 2a2.5 2.5 0 0 0 3.6 3.6l.8-.8"/>',
    "warn": '<path d="M8 2.5 14 13H2zM8 6.5v3M8 11.2v.3"/>',
    "lock": '<path d="M4 7.5h8v6H4zM5.5 7.5V5a2.5 2.5 0 0 1 5 0v2.5"/>',
    "pause": '<path d="M5.5 3.5v9M10.5 3.5v9"/>',
    "globe": '<circle cx="8" cy="8" r="5.5"/><path d="M2.5 8h11M8 2.5c2 1.6 2 9.4 0 11M8 2.5c-2 1.6-2 9.4 0 11"/>',
    "out": '<path d="M6 3H3v10h3M9 5l3 3-3 3M12 8H6"/>',
}

Values = Sequence[float | None]


def _round(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _runs(values: Values) -> Iterator[list[tuple[int, float]]]:
    """List the unbroken stretches of known values with their places."""
    for is_known, group in groupby(enumerate(values), key=lambda pair: pair[1] is not None):
        if is_known:
            yield [(place, value) for place, value in group if value is not None]


def draw_spark(values: Values, *, width: float, height: float, top: float) -> tuple[str, str]:
    """Give the paths of a sparkline's line and of the surface below it.

    Args:
        values: One per interval; None where nothing was watched.
        width: Of the drawing.
        height: Of the drawing; the bottom is 0.
        top: The value at the upper edge.
    """
    step = width / max(1, len(values) - 1)
    scale = (height - 2) / top if top > 0 else 0.0
    line, area = [], []
    for run in _runs(values):
        if len(run) == 1:  # a lone value would draw nothing
            run = [run[0], (run[0][0], run[0][1])]  # noqa: PLW2901 - the same point twice, as a dot
        points = [(_round(place * step), _round(height - 1 - value * scale)) for place, value in run]
        path = "L".join(f"{x} {y}" for x, y in points)
        line.append(f"M{path}")
        area.append(f"M{path}L{points[-1][0]} {_round(height)}L{points[0][0]} {_round(height)}Z")
    return "".join(line), "".join(area)


def highest(*series: Values) -> float:
    """Give the highest known value of several series, 0 when none is known."""
    return max((value for values in series for value in values if value is not None), default=0.0)


def thin(values: Values, most: int) -> list[float | None]:
    """Average neighbours until at most ``most`` values are left; an unknown value stays unknown only alone."""
    size = -(-len(values) // most)
    if size <= 1:
        return list(values)
    return [_mean(values[at : at + size]) for at in range(0, len(values), size)]


def _mean(values: Values) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
