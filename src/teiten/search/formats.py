"""Record batches to the bytes of a file. Pure functions over Arrow; no store, no viewer."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

ExportFormat: TypeAlias = Literal["csv", "ndjson", "parquet", "arrow"]

#: Rows that are turned into JSON at once.
_ROWS_AS_TEXT = 20_000
#: pyarrow's stubs know fewer argument types than its functions take.
_compute: Any = pc
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
#: A spreadsheet takes a cell that begins with one of these for a formula (OWASP "CSV injection").
_FORMULA = r"^[=+\-@\t\r\n]"


@dataclass(frozen=True)
class FileKind:
    """What a browser needs to know of a format."""

    media_type: str
    suffix: str


FORMATS: dict[ExportFormat, FileKind] = {
    "csv": FileKind("text/csv; charset=utf-8", ".csv"),
    "ndjson": FileKind("application/x-ndjson", ".ndjson"),
    "parquet": FileKind("application/vnd.apache.parquet", ".parquet"),
    "arrow": FileKind("application/vnd.apache.arrow.stream", ".arrows"),
}


class _Drain(io.RawIOBase):
    """A file that only remembers what was written since it was last emptied."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._place = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._place += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._place

    def empty(self) -> bytes:
        """Give what was written since the last call."""
        data, self._pieces = b"".join(self._pieces), []
        return data


def write(
    file_format: ExportFormat,
    batches: Iterator[pa.RecordBatch],
    *,
    metadata: Mapping[str, str],
    byte_order_mark: bool = False,
) -> Iterator[bytes]:
    """Give a file's bytes, one piece per batch, and its end."""
    if file_format == "csv":
        return _write_csv(batches, byte_order_mark=byte_order_mark)
    if file_format == "ndjson":
        return (_write_lines(part) for batch in batches for part in _slice(batch))
    return _write_columnar(file_format, batches, metadata)


def protect_formulas(column: pa.Array[Any]) -> pa.Array[Any]:
    """Put an apostrophe before text that a spreadsheet would compute."""
    if not pa.types.is_string(column.type):
        return column
    danger = _compute.match_substring_regex(column, _FORMULA)
    if not _compute.any(danger).as_py():
        return column
    quoted = _compute.binary_join_element_wise(pa.scalar("'"), column, pa.scalar(""))
    protected: pa.Array[Any] = _compute.if_else(danger, quoted, column)
    return protected


def _write_csv(batches: Iterator[pa.RecordBatch], *, byte_order_mark: bool) -> Iterator[bytes]:
    is_first = True
    for batch in batches:
        sink = io.BytesIO()
        if is_first and byte_order_mark:
            sink.write(_BYTE_ORDER_MARK)
        arrays = [protect_formulas(column) for column in batch.columns]
        safe = pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)
        pa_csv.write_csv(safe, sink, pa_csv.WriteOptions(include_header=is_first, quoting_style="needed"))
        is_first = False
        yield sink.getvalue()


def _write_columnar(
    file_format: ExportFormat, batches: Iterator[pa.RecordBatch], metadata: Mapping[str, str]
) -> Iterator[bytes]:
    sink = _Drain()
    first = next(batches)
    schema = first.schema.with_metadata(dict(metadata))
    file = pa.PythonFile(sink, mode="w")
    writer: Any = (
        pq.ParquetWriter(file, schema, compression="zstd")
        if file_format == "parquet"
        else pa.ipc.new_stream(file, schema)
    )
    with writer:
        for batch in _chain(first, batches):
            writer.write_batch(batch.cast(schema))
            yield sink.empty()
    yield sink.empty()


def _chain(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest


def _slice(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Cut a batch: as text a row takes some twenty times its columns' memory."""
    for start in range(0, max(1, batch.num_rows), _ROWS_AS_TEXT):
        yield batch.slice(start, _ROWS_AS_TEXT)


def _write_lines(batch: pa.RecordBatch) -> bytes:
    """Write one JSON object per row, column by column: several times the speed of row by row."""
    if not batch.num_rows:
        return b""
    parts = [
        _write_member(name, column) for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    joined = _compute.binary_join_element_wise(*parts, pa.scalar(","))
    rows = _compute.binary_join_element_wise(pa.scalar("{"), joined, pa.scalar("}\n"), pa.scalar(""))
    return b"".join(piece.encode() for piece in rows.to_pylist())


def _write_member(name: str, column: pa.Array[Any]) -> pa.Array[Any]:
    values = _compute.fill_null(_write_json(column), "null")
    member: pa.Array[Any] = _compute.binary_join_element_wise(
        pa.scalar(json.dumps(name) + ":"), values, pa.scalar("")
    )
    return member


def _write_json(column: pa.Array[Any]) -> pa.Array[Any]:
    if pa.types.is_string(column.type):
        encoded = column.dictionary_encode()
        texts = [
            None if text is None else json.dumps(text, ensure_ascii=False)
            for text in encoded.dictionary.to_pylist()
        ]
        return pa.array(texts, pa.string()).take(encoded.indices)
    if pa.types.is_timestamp(column.type):
        text = _compute.strftime(column, format="%Y-%m-%dT%H:%M:%SZ")
        column = _compute.binary_join_element_wise(pa.scalar('"'), text, pa.scalar('"'), pa.scalar(""))
    return column.cast(pa.string())
