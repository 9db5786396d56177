"""Packets as a member sees them: one line for all packets of an hour (or day) that look the same.

A line holds only what many sensors saw alike: everything shown is part of the group, and
a group stands on at least *k* sensors. So a value that a sender chose to recognise a
packet by (a window and MSS in ``tcp_fp``, a port, an hour) is shown only where it marks
no single sensor. Lines are ordered by what they show, never by sensors or batches.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pyarrow as pa

from teiten.foundation.clock import from_us, to_us
from teiten.search import cells, guarding
from teiten.search.admission import DAYS_FROM
from teiten.search.desk import Desk
from teiten.search.dimensions import to_text
from teiten.search.errors import QueryError
from teiten.search.masking import choose_columns, mask_batch
from teiten.search.packet_filters import write_where
from teiten.search.predicates import Binding, type_of
from teiten.search.query import Query
from teiten.search.tables import PACKETS
from teiten.search.visibility import Visibility

#: Open columns that tell of the sensor, not of the packet: a member filters by them, but no line has them.
_OF_SENSORS = frozenset({"region", "answering"})
#: Column of the number of packets of a line.
PACKETS_COLUMN = "packets"


@dataclass(frozen=True)
class Place:
    """The last line of a page: its hour and its values."""

    hour_us: int
    keys: tuple[Any, ...]


def unit_of(query: Query) -> timedelta:
    """Give the time that one line is of: a day in periods of whole days, an hour in shorter ones."""
    return timedelta(days=1) if query.length >= DAYS_FROM else timedelta(hours=1)


def choose_group_columns(
    visibility: Visibility, columns: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Part columns into those of a line and those that a member's line does not have."""
    shown, _ = choose_columns(visibility, columns)
    kept = tuple(column for column in shown if column not in _OF_SENSORS)
    return kept, tuple(column for column in columns if column not in kept)


def read_groups(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    columns: Sequence[str],
    *,
    below: Place | None = None,
    limit: int,
    unit: timedelta,
    is_export: bool = False,
) -> pa.Table:
    """Read up to ``limit`` lines of a period of whole hours, with their hour and their packets.

    Args:
        desk: what every search works with.
        visibility: of a guarded viewer.
        query: a question snapped to hours.
        columns: those of a line.
        below: the line after which to go on.
        limit: most lines.
        unit: of the whole question's lines, :func:`unit_of`.
        is_export: oldest first, under the limits of exports; newest first otherwise.
    """
    binding = Binding()
    keys = list_keys(columns)
    where = write_where(query, binding)
    if below is not None:
        where += f" AND {_write_below(below, keys, binding)}"
    order = ", ".join(["hour_at" if is_export else "hour_at DESC", *keys])
    statement = (
        f"SELECT {', '.join([_write_unit(desk, unit, binding), *keys])},"  # noqa: S608 - declared names, bound values
        f" {guarding.count_packets(visibility, PACKETS)} AS packet_count"
        f" FROM {PACKETS.name} WHERE {where} GROUP BY {', '.join(['hour_at', *keys])}"
        f"{guarding.having(visibility, PACKETS)}"
        f" ORDER BY {order} LIMIT {binding.bind('UInt64', limit)}"
    )
    return desk.select(visibility, statement, binding.parameters, role="export" if is_export else "screen")


def count_groups(
    desk: Desk, visibility: Visibility, query: Query, columns: Sequence[str], *, unit: timedelta
) -> list[tuple[int, int]]:
    """Count the lines of each hour (or day): (its start in µs, lines), in order."""
    binding = Binding()
    keys = list_keys(columns)
    inner = (
        f"SELECT {_write_unit(desk, unit, binding)} FROM {PACKETS.name}"  # noqa: S608 - as above
        f" WHERE {write_where(query, binding)} GROUP BY {', '.join(['hour_at', *keys])}"
        f"{guarding.having(visibility, PACKETS)}"
    )
    statement = (
        "SELECT toUnixTimestamp64Micro(hour_at) AS hour_us, count() AS found"  # noqa: S608 - as above
        f" FROM ({inner}) GROUP BY hour_us ORDER BY hour_us LIMIT 200000"
    )
    rows = desk.select(visibility, statement, binding.parameters, role="export").to_pylist()
    return [(row["hour_us"], row["found"]) for row in rows]


def list_keys(columns: Sequence[str]) -> list[str]:
    """Name the columns that a line is grouped by besides its hour."""
    return [column for column in columns if column not in ("observed_at", "dataset")]


def to_batch(visibility: Visibility, query: Query, table: pa.Table, columns: Sequence[str]) -> pa.RecordBatch:
    """Give lines with the names of packet columns, masked once more."""
    arrays: dict[str, Any] = {}
    for column in columns:
        if column == "observed_at":
            arrays[column] = table.column("hour_at")
        elif column == "dataset":
            arrays[column] = pa.chunked_array([pa.array([query.dataset] * table.num_rows, pa.string())])
        else:
            arrays[column] = table.column(column)
    return mask_batch(visibility, cells.combine(pa.table(arrays)))


def read_place(table: pa.Table, row: int, columns: Sequence[str]) -> Place:
    """Give the place of one line of a table."""
    values = tuple(to_text(table.column(key)[row].as_py()) for key in list_keys(columns))
    return Place(to_us(table.column("hour_at")[row].as_py()), values)


def write_place(desk: Desk, visibility: Visibility, place: Place, columns: Sequence[str]) -> str:
    """Give a place as a page reference, sealed for this recipient."""
    clear = json.dumps([place.hour_us, list(place.keys), list_keys(columns)], separators=(",", ":"))
    return desk.references.seal(visibility, clear)


def parse_place(desk: Desk, visibility: Visibility, page: str, columns: Sequence[str]) -> Place:
    """Read what :func:`write_place` gave.

    Raises:
        QueryError: when it is none, or belongs to other columns.
    """
    hour_us, keys, names = json.loads(desk.references.open_seal(visibility, page, name="page"))
    if names != list_keys(columns):
        raise QueryError(
            "page belongs to other columns; search again from the first page",
            field="page",
            value=page[:200],
            rule="from a search's answer for the same columns",
        )
    return Place(int(hour_us), tuple(keys))


def end_of(place: Place, unit: timedelta) -> int:
    """Give the end of a place's hour or day, µs."""
    return to_us(from_us(place.hour_us) + unit)


def _write_unit(desk: Desk, unit: timedelta, binding: Binding) -> str:
    zone = binding.bind("String", desk.zone)
    start = "toStartOfDay" if unit >= timedelta(days=1) else "toStartOfHour"
    return f"toDateTime64(toTimeZone({start}(observed_at, {zone}), 'UTC'), 6, 'UTC') AS hour_at"


def _write_below(place: Place, keys: Sequence[str], binding: Binding) -> str:
    earlier = f"observed_at < {binding.instant(place.hour_us)}"
    if not keys:
        return earlier
    mark = binding.bind(f"Tuple({', '.join(type_of(key) for key in keys)})", place.keys)
    return f"({earlier} OR tuple({', '.join(keys)}) > {mark})"
