"""Packets as files: CSV, NDJSON, Parquet (zstd), Arrow stream, in bounded memory.

Rows come oldest first, in chunks of some hundred thousand, each masked by
:func:`teiten.search.masking.mask_batch` before it is written. The first column is
always the data set, so that simulated rows stay marked wherever a file ends up. A member
gets lines of alike packets of an hour (:mod:`teiten.search.grouped`), with their number
as the last column.

What a file rests on (query, data set, period, coverage, time, disclosure level) is in
the schema metadata of Parquet and Arrow under keys that begin with ``teiten.``. CSV
and NDJSON stay pure, since comment lines break readers; there the same pairs are in
:attr:`ExportStart.metadata`, which the portal sends as ``Teiten-*`` response headers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import pyarrow as pa

from teiten.foundation.clock import from_us, to_us
from teiten.search import cells, formats, grouped, lines, metrics, url
from teiten.search.basis import Basis, NotCounted
from teiten.search.coverage import observe
from teiten.search.desk import Desk
from teiten.search.disclosing import watch_file
from teiten.search.errors import QueryError, TooExpensive
from teiten.search.formats import FORMATS, ExportFormat
from teiten.search.masking import check_filters, choose_columns, list_visible, mask_basis, mask_batch
from teiten.search.packet_filters import write_where
from teiten.search.packets import check_columns, write_columns
from teiten.search.predicates import Binding
from teiten.search.query import Query
from teiten.search.recording import Disclosed
from teiten.search.tables import PACKETS
from teiten.search.visibility import Visibility
from teiten.traffic.columns import COLUMNS

__all__ = ["Export", "ExportFormat", "start_export"]

#: Rows that one statement fetches at most, about: what bounds the memory.
CHUNK_ROWS = 100_000
_HOUR_US = 3_600_000_000
_ALL = tuple(column.name for column in COLUMNS)


@dataclass(frozen=True)
class ExportStart:
    """An export that is ready to flow."""

    file_name: str
    media_type: str
    columns: tuple[str, ...]
    #: Columns that hold nothing because this viewer may not see them.
    masked: tuple[str, ...]
    rows: int
    #: What the file rests on: query, data set, coverage, time, disclosure level.
    metadata: Mapping[str, str] = field(default_factory=dict)


class Export:
    """Bytes of a file, piece by piece; iterate once."""

    def __init__(self, start: ExportStart, pieces: Iterator[bytes]) -> None:
        #: Name, media type, columns, rows and metadata, known before the first byte.
        self.start = start
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces


@dataclass(frozen=True)
class Stretch:
    """A time that holds a known number of rows."""

    start: datetime
    end: datetime
    rows: int


def start_export(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    *,
    file_format: ExportFormat,
    columns: Sequence[str] | None,
    limit: int | None,
    byte_order_mark: bool,
) -> Export:
    """See :meth:`teiten.search.service.Search.export`."""
    check_filters(visibility, query.filters)
    if file_format not in FORMATS:
        rule = "one of " + ", ".join(FORMATS)
        raise QueryError(
            f"format must be {rule}, not {file_format!r}", field="format", value=file_format, rule=rule
        )
    wanted = check_columns(("dataset", *(columns or list_visible(visibility, _ALL))))
    shown, masked = _choose_columns(visibility, wanted)
    stretches = _plan_stretches(desk, visibility, query, shown, limit=limit)
    found = sum(stretch.rows for stretch in stretches)
    rows = found if limit is None else min(found, limit)
    if rows > desk.config.max_export_rows:
        raise TooExpensive(
            f"the export would have {rows:,} rows, and at most {desk.config.max_export_rows:,} are allowed;"
            " shorten the period, add a filter, or give a limit",
            field="limit",
        )
    window = lines.plan_for(desk, query, needs_hosts=False).window
    basis = mask_basis(visibility, observe(desk, visibility, query, window).basis)
    if visibility.is_guarded:
        wanted = (*(shown if columns is None else wanted), grouped.PACKETS_COLUMN)
    start = ExportStart(
        file_name=_name_file(query, file_format),
        media_type=FORMATS[file_format].media_type,
        columns=wanted,
        masked=masked,
        rows=rows,
        metadata=describe(desk, visibility, query, basis=basis),
    )
    batches = _read_batches(desk, visibility, query, stretches, shown=shown, columns=wanted, limit=rows)
    pieces = formats.write(file_format, batches, metadata=start.metadata, byte_order_mark=byte_order_mark)
    has_payload = "payload" in wanted and "payload" not in masked
    given = Disclosed("export", query, visibility.level, rows, has_payload=has_payload)
    return Export(start, watch_file(visibility, given, _count_pieces(pieces, file_format, rows)))


def describe(desk: Desk, visibility: Visibility, query: Query, *, basis: Basis) -> dict[str, str]:
    """Give what a file rests on, as short ASCII texts."""
    share = "unknown" if basis.share is None else f"{basis.share:.4f}"
    until = "unknown" if basis.complete_until is None else url.write_instant(basis.complete_until)
    return {
        "teiten.dataset": query.dataset,
        "teiten.query": url.encode_string(query),
        "teiten.start": url.write_instant(query.start),
        "teiten.end": url.write_instant(query.end),
        "teiten.coverage_share": share,
        "teiten.covered_address_days": f"{basis.covered_address_days:.3f}",
        "teiten.not_counted": "; ".join(map(write_not_counted, basis.not_counted)),
        "teiten.complete_until": until,
        "teiten.rule_versions": ",".join(str(version) for version in basis.rule_versions),
        "teiten.disclosure": visibility.level,
        "teiten.tlp": desk.config.tlp_of(visibility.level),
        "teiten.least_sensors": str(visibility.least_sensors),
        "teiten.exported_at": url.write_instant(desk.clock.now()),
    }


def write_not_counted(left: NotCounted) -> str:
    """Say, in short ASCII, which ports leave how much out."""
    sensors = "" if left.sensors is None else f" {left.sensors} sensors,"
    return f"{' '.join(left.ports)}:{sensors} {left.share:.4f} of the address-days"


def plan_chunks(
    hours: Sequence[tuple[int, int]], *, start_us: int, end_us: int, chunk_rows: int = CHUNK_ROWS
) -> list[Stretch]:
    """Turn rows per hour into stretches of about ``chunk_rows`` rows.

    Args:
        hours: (start of an hour in µs, rows in it), in order; hours without rows may be missing.
        start_us: start of the period; the first stretch does not begin before it.
        end_us: end of the period.
        chunk_rows: rows of a stretch.
    """
    stretches: list[Stretch] = []
    first: int | None = None
    waiting = 0
    for hour_us, rows in hours:
        if rows > chunk_rows:
            if first is not None:
                stretches.append(_clip(first, hour_us, waiting, start_us=start_us, end_us=end_us))
                first, waiting = None, 0
            stretches.extend(_cut(hour_us, rows, start_us=start_us, end_us=end_us, chunk_rows=chunk_rows))
            continue
        if first is not None and waiting + rows > chunk_rows:
            stretches.append(_clip(first, hour_us, waiting, start_us=start_us, end_us=end_us))
            first, waiting = None, 0
        first, waiting = (hour_us if first is None else first), waiting + rows
    if first is not None:
        last = hours[-1][0] + _HOUR_US
        stretches.append(_clip(first, last, waiting, start_us=start_us, end_us=end_us))
    return stretches


def _cut(hour_us: int, rows: int, *, start_us: int, end_us: int, chunk_rows: int) -> list[Stretch]:
    low, high = max(hour_us, start_us), min(hour_us + _HOUR_US, end_us)
    parts = math.ceil(rows / chunk_rows)
    edges = [low + (high - low) * part // parts for part in range(parts + 1)]
    return [
        Stretch(from_us(a), from_us(b), rows // parts + (rows % parts if place == 0 else 0))
        for place, (a, b) in enumerate(pairwise(edges))
        if b > a
    ]


def _clip(first_us: int, last_us: int, rows: int, *, start_us: int, end_us: int) -> Stretch:
    return Stretch(from_us(max(first_us, start_us)), from_us(min(last_us, end_us)), rows)


def _choose_columns(
    visibility: Visibility, columns: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    choose = grouped.choose_group_columns if visibility.is_guarded else choose_columns
    return choose(visibility, columns)


def _plan_stretches(
    desk: Desk, visibility: Visibility, query: Query, columns: Sequence[str], *, limit: int | None
) -> list[Stretch]:
    """Count rows from the period's start on, until there are as many as are wanted, and plan how they are read."""
    hours: list[tuple[int, int]] = []
    for start, end in _list_parts(visibility, query, limit):
        part = query.within(start, end)
        if visibility.is_guarded:
            hours += grouped.count_groups(desk, visibility, part, columns, unit=grouped.unit_of(query))
        else:
            hours += _count_by_hour(desk, visibility, part)
        if limit is not None and sum(rows for _, rows in hours) >= limit:
            break
    if visibility.is_guarded:
        return plan_units(hours, unit=grouped.unit_of(query))
    rows = CHUNK_ROWS if limit is None else max(1, min(CHUNK_ROWS, limit))
    return plan_chunks(hours, start_us=to_us(query.start), end_us=to_us(query.end), chunk_rows=rows)


def _list_parts(
    visibility: Visibility, query: Query, limit: int | None
) -> Iterator[tuple[datetime, datetime]]:
    """Give the period in parts of whole hours, each twice as long as the one before; whole without a limit or in days."""
    if limit is None or grouped.unit_of(query) > timedelta(hours=1):
        yield query.start, query.end
        return
    start_us, end_us, length = to_us(query.start), to_us(query.end), _HOUR_US
    # A guarded question begins with an hour of the installation's zone, others are counted by UTC's.
    until_us = start_us + _HOUR_US - (0 if visibility.is_guarded else start_us % _HOUR_US)
    while start_us < end_us:
        yield from_us(start_us), from_us(min(until_us, end_us))
        start_us, length = until_us, 2 * length
        until_us += length


def _count_by_hour(desk: Desk, visibility: Visibility, query: Query) -> list[tuple[int, int]]:
    binding = Binding()
    statement = (
        "SELECT intDiv(toUnixTimestamp64Micro(observed_at), 3600000000) AS hour, count() AS found"  # noqa: S608 - declared names, bound values
        f" FROM {PACKETS.name} WHERE {write_where(query, binding)} GROUP BY hour ORDER BY hour LIMIT 200000"
    )
    rows = desk.select(visibility, statement, binding.parameters, role="export").to_pylist()
    return [(row["hour"] * _HOUR_US, row["found"]) for row in rows]


def plan_units(hours: Sequence[tuple[int, int]], *, unit: timedelta) -> list[Stretch]:
    """Turn lines per hour or day into stretches of whole ones: a line must not be cut in two."""
    stretches: list[Stretch] = []
    for hour_us, lines_found in hours:
        last = stretches[-1] if stretches else None
        end = from_us(hour_us) + unit
        if last is not None and last.rows + lines_found <= CHUNK_ROWS:
            stretches[-1] = Stretch(last.start, end, last.rows + lines_found)
        else:
            stretches.append(Stretch(from_us(hour_us), end, lines_found))
    return stretches


def _read_batches(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    stretches: Sequence[Stretch],
    *,
    shown: Sequence[str],
    columns: Sequence[str],
    limit: int,
) -> Iterator[pa.RecordBatch]:
    """Give masked, readable batches with exactly ``columns``; at least one, if empty."""
    read = _read_packets
    if visibility.is_guarded:
        read = partial(_read_lines, unit=grouped.unit_of(query))
    missing = limit
    whole = [Stretch(query.start, query.end, 0)]
    for stretch in stretches or whole:
        batch = read(desk, visibility, query.within(stretch.start, stretch.end), shown, limit=missing)
        missing -= batch.num_rows
        yield _order_columns(batch, columns)
        if missing <= 0:
            return


def _read_packets(
    desk: Desk, visibility: Visibility, query: Query, columns: Sequence[str], *, limit: int
) -> pa.RecordBatch:
    table = _read_stretch(desk, visibility, query, columns, limit=limit)
    return cells.make_readable(mask_batch(visibility, cells.combine(table)))


def _read_lines(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    columns: Sequence[str],
    *,
    limit: int,
    unit: timedelta,
) -> pa.RecordBatch:
    table = grouped.read_groups(desk, visibility, query, columns, limit=limit, unit=unit, is_export=True)
    batch = cells.make_readable(grouped.to_batch(visibility, query, table, columns))
    packets = cells.combine(table.select(["packet_count"])).column(0)
    return pa.RecordBatch.from_arrays(
        [*batch.columns, packets], names=[*batch.schema.names, grouped.PACKETS_COLUMN]
    )


def _read_stretch(
    desk: Desk, visibility: Visibility, query: Query, columns: Sequence[str], *, limit: int
) -> pa.Table:
    binding = Binding()
    statement = (
        f"SELECT {write_columns(columns)} FROM {PACKETS.name} WHERE {write_where(query, binding)}"  # noqa: S608 - as above
        f" ORDER BY observed_at, sensor, epoch, batch_seq, row LIMIT {binding.bind('UInt64', limit)}"
    )
    return desk.select(visibility, statement, binding.parameters, role="export")


def _order_columns(batch: pa.RecordBatch, columns: Sequence[str]) -> pa.RecordBatch:
    """Bring the columns into the order asked for; masked ones are text columns without values."""
    there = set(batch.schema.names)
    arrays: list[pa.Array[Any]] = [
        batch.column(name) if name in there else pa.nulls(batch.num_rows, pa.string()) for name in columns
    ]
    return pa.RecordBatch.from_arrays(arrays, names=list(columns))


def _count_pieces(pieces: Iterator[bytes], file_format: ExportFormat, rows: int) -> Iterator[bytes]:
    yield from pieces
    metrics.EXPORTED_ROWS.labels(file_format).inc(rows)


def _name_file(query: Query, file_format: ExportFormat) -> str:
    start, end = (
        instant.strftime("%Y%m%dT%H%M%SZ")
        for instant in (from_us(to_us(query.start)), from_us(to_us(query.end)))
    )
    return f"teiten-{query.dataset.replace(':', '-')}-{start}-{end}{FORMATS[file_format].suffix}"
