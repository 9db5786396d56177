"""All sensors of a region as cells; healthy ones are pale, so that the others stand out.

A large fleet is drawn in runs: cells of one colour that stand beside one another
are one dashed line, so that 10,000 sensors take a few KB. Which sensor a cell is,
the page's script finds by its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from teiten.fleet.selectors import SensorBrief
from teiten.portal.sensors.states import SHAPES, StateMark

_WIDTH = 882.0
#: Up to this many sensors, cells are large enough to be pressed.
_FEW = 600
#: Up to this many sensors, regions stand side by side.
_COMPACT, _COMPACT_COLUMNS = 200, 12
_LARGE, _SMALL = 21.0, 7.0
_BOX = 14.0
#: Up to this many marks of a large fleet have shapes; beyond, colour alone has to do.
_MOST_SHAPES = 1_200
#: Drawn as plain squares anyway.
_PLAIN = SHAPES["st-w"]


@dataclass(frozen=True)
class Cell:
    """One sensor's cell."""

    transform: str
    css: str
    shape: str
    title: str
    #: None for a sensor under a pseudonym.
    sensor: int | None


@dataclass(frozen=True)
class RegionGrid:
    """The cells of one region."""

    name: str
    total: int
    attention: int
    width: float
    height: float
    cells: tuple[Cell, ...]
    #: Drawn at its own size, beside other regions, instead of over the whole width.
    is_compact: bool
    #: Runs of cells as (class, path); empty for a small fleet.
    runs: tuple[tuple[str, str], ...]
    #: Numbers of the sensors of a large fleet, in the order of their cells; 0: masked.
    numbers: str
    columns: int


def draw_region(
    name: str,
    rows: Sequence[SensorBrief],
    marks: Sequence[StateMark],
    *,
    attention: int,
    fleet_size: int,
    marked: int,
) -> RegionGrid:
    """Lay the sensors of a region out in rows of cells, in the order given.

    Args:
        name: of the region.
        rows: its sensors.
        marks: how each is drawn.
        attention: how many of them somebody should look at.
        fleet_size: sensors of all regions; it decides how large cells are.
        marked: sensors of all regions that are not plain squares.
    """
    is_small = fleet_size > _FEW
    pitch = _SMALL if is_small else _LARGE
    is_compact = fleet_size <= _COMPACT
    width = _COMPACT_COLUMNS * pitch if is_compact else _WIDTH
    columns = int(width // pitch)
    all_plain = is_small and marked > _MOST_SHAPES
    as_run = [is_small and (all_plain or mark.shape == _PLAIN) for mark in marks]
    cells = tuple(
        _draw_cell(row, mark, place % columns * pitch, place // columns * pitch, pitch)
        for place, (row, mark, run) in enumerate(zip(rows, marks, as_run, strict=True))
        if not run
    )
    return RegionGrid(
        name, len(rows), attention, width, (len(rows) + columns - 1) // columns * pitch, cells, is_compact,
        _draw_runs([mark.css if run else "" for mark, run in zip(marks, as_run, strict=True)], columns),
        ",".join(str(row.id or 0) for row in rows) if is_small else "", columns,
    )  # fmt: skip


def _draw_runs(classes: Sequence[str], columns: int) -> tuple[tuple[str, str], ...]:
    """Draw cells of one class in one row as a line whose dashes are the cells; each line begins with a dash."""
    paths: dict[str, list[str]] = {}
    for row in range(0, len(classes), columns):
        place = 0
        for css, group in groupby(classes[row : row + columns]):
            count = len(list(group))
            if css:
                x, y = place * _SMALL, row // columns * _SMALL + 3
                paths.setdefault(css, []).append(f"M{x:g} {y:g}h{count * _SMALL - 1:g}")
            place += count
    return tuple((css, "".join(parts)) for css, parts in paths.items())


def _draw_cell(row: SensorBrief, mark: StateMark, x: float, y: float, pitch: float) -> Cell:
    scale = (pitch - 1) / _BOX
    return Cell(
        f"translate({x:g} {y:g}) scale({scale:.3f})", mark.css, mark.shape, f"{row.name} {mark.word}", row.id
    )
