"""All sensors of a region as cells; healthy ones are pale, so that the others stand out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from teiten.fleet.health import Condition
from teiten.fleet.selectors import SensorRow
from teiten.portal.sensors.states import mark_of

_WIDTH = 882.0
#: Up to this many sensors, cells are large enough to be pressed.
_FEW = 600
#: Up to this many sensors, regions stand side by side.
_COMPACT, _COMPACT_COLUMNS = 200, 12
_LARGE, _SMALL = 21.0, 7.0
_BOX = 14.0


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
    #: One path for all healthy sensors of a large fleet; empty for a small one.
    watching_path: str


def draw_region(name: str, rows: Sequence[SensorRow], *, fleet_size: int) -> RegionGrid:
    """Lay the sensors of a region out in rows of cells, in the order given."""
    pitch = _LARGE if fleet_size <= _FEW else _SMALL
    is_compact = fleet_size <= _COMPACT
    width = _COMPACT_COLUMNS * pitch if is_compact else _WIDTH
    columns = int(width // pitch)
    is_small = pitch == _SMALL
    cells, healthy = [], []
    for place, row in enumerate(rows):
        x, y = place % columns * pitch, place // columns * pitch
        if is_small and row.condition is Condition.WATCHING:
            healthy.append(f"M{x:g} {y:g}h6v6h-6z")
        else:
            cells.append(_draw_cell(row, x, y, pitch))
    height = (len(rows) + columns - 1) // columns * pitch
    attention = sum(1 for row in rows if row.condition is not Condition.WATCHING)
    return RegionGrid(name, len(rows), attention, width, height, tuple(cells), is_compact, "".join(healthy))


def _draw_cell(row: SensorRow, x: float, y: float, pitch: float) -> Cell:
    mark = mark_of(row.condition)
    scale = (pitch - 1) / _BOX
    return Cell(
        f"translate({x:g} {y:g}) scale({scale:.3f})", mark.css, mark.shape, f"{row.name} {mark.word}", row.id
    )
