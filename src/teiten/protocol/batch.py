"""A batch: header and packets as an Arrow IPC stream, compressed whole with zstd.

Writing and reading know exactly one form (see ``arrow``): a reader computes from
the header and two lengths what the stream must look like and compares, so
nothing a stranger sends is ever followed as an offset. The frame must state its
content size; both that and what comes out are bounded.

Any Arrow reader opens a batch: ``zstd -d -D dictionary``, then an IPC stream.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import zstandard
from numpy.typing import NDArray

from teiten.protocol import arrow, dictionary, header_text
from teiten.protocol.arrangement import arrange_batch
from teiten.protocol.contents import VARIABLE_COLUMNS, check_contents, check_shapes
from teiten.protocol.errors import BatchContentError, BatchFormError, BatchHeaderError
from teiten.protocol.header import BatchHeader
from teiten.traffic.columns import WIRE_COLUMNS, PacketColumns, VarBytes

_FIXED_TYPES = {
    column.name: np.dtype("uint8" if column.kind == "address" else column.numpy_type).newbyteorder("<")
    for column in WIRE_COLUMNS
    if column.kind != "bytes"
}
_PREFIX_BYTES = 8
_MAX_SCHEMA_BYTES = header_text.MAX_HEADER_BYTES + 16_384
#: Encoding effort: level, and the µs per packet it may take on one slow core.
_SMALL_LEVEL = 15
_EFFORTS = ((15, 10), (9, 2))
_FASTEST_LEVEL = 1
#: Largest share of a window that its own compression may take.
_EFFORT_SHARE = 0.005


@dataclass(frozen=True)
class DecodeLimits:
    """How much a stranger may make us unpack."""

    #: Decompressed bytes.
    max_bytes: int = 32 * 1024 * 1024
    max_rows: int = 65_536


@dataclass(frozen=True)
class Batch:
    """A batch that kept every rule. Arrays are read-only views of one buffer."""

    header: BatchHeader
    columns: Mapping[str, NDArray[np.generic] | VarBytes]


_DEFAULT_LIMITS = DecodeLimits()


def encode(header: BatchHeader, columns: PacketColumns, *, level: int | None = None) -> bytes:
    """Write a batch; the same input gives the same bytes with the same zstd library.

    Unless there is no time for it, the packets are put in another order than that
    of their arrival (see ``arrangement``), and the rows of examples with them.

    Args:
        header: checked as a reader would.
        columns: every wire column, ``header.rows`` long, in its declared type.
        level: zstd level; None spends at most half a percent of the window on it.

    Raises:
        BatchError: when a reader would refuse the result.
    """
    check_shapes(columns, header.rows)
    header_text.check_header(header)
    chosen = choose_level(header) if level is None else level
    if chosen > _FASTEST_LEVEL:
        header, columns = arrange_batch(header, columns)
    stream = write_stream(header, columns)
    return _codecs.compressor(dictionary.number_for(header.rows), chosen).compress(stream)


def write_stream(header: BatchHeader, columns: PacketColumns) -> bytearray:
    """Write the Arrow IPC stream of a batch, not compressed; its body is laid out only once.

    Raises:
        BatchError: when a reader would refuse the result.
    """
    check_shapes(columns, header.rows)
    text = header_text.write_header(header)
    if header_text.read_header(text) != header:
        raise BatchHeaderError("header.form", "header: a field has a type that JSON does not keep")
    check_contents(header, columns)
    variables = [_variable(columns, name) for name in VARIABLE_COLUMNS]
    layout = arrow.lay_out(header.rows, tuple(len(value.data) for value in variables))
    head = arrow.schema_template().render(text) + layout.message
    stream = bytearray(len(head) + layout.body_bytes + len(arrow.END_OF_STREAM))
    stream[: len(head)] = head
    body = np.frombuffer(stream, np.uint8, layout.body_bytes, len(head))
    for column, start in zip(WIRE_COLUMNS, layout.starts, strict=True):
        value = columns[column.name]
        _put(body, start, value.offsets if isinstance(value, VarBytes) else value)
    for value, start in zip(variables, layout.variable_starts, strict=True):
        _put(body, start, value.data)
    stream[len(head) + layout.body_bytes :] = arrow.END_OF_STREAM
    return stream


def choose_level(header: BatchHeader) -> int:
    """Choose the zstd level by what the window can afford: strong when quiet, fast in a flood."""
    if header.rows < dictionary.SMALL_ROWS:
        return _SMALL_LEVEL
    window_us = header.window_end_us - header.window_start_us
    for level, cost_us in _EFFORTS:
        if header.rows * cost_us <= window_us * _EFFORT_SHARE:
            return level
    return _FASTEST_LEVEL


def decode(data: bytes, limits: DecodeLimits = _DEFAULT_LIMITS) -> Batch:
    """Read a batch that may come from anyone.

    Raises:
        BatchError: with a ``code`` that names the field and the rule.
    """
    stream = _decompress(data, limits)
    schema_end, header = _read_schema(stream)
    if header.rows > limits.max_rows:
        raise BatchHeaderError("header.rows", f"header: rows must be at most {limits.max_rows}")
    columns = _read_columns(stream, schema_end, header)
    check_contents(header, columns)
    return Batch(header, columns)


def decode_header(data: bytes, limits: DecodeLimits = _DEFAULT_LIMITS) -> BatchHeader:
    """Read only what a batch says about itself; the packets stay unchecked.

    Raises:
        BatchError: with a ``code`` that names the field and the rule.
    """
    return _read_schema(_decompress(data, limits))[1]


def _decompress(data: bytes, limits: DecodeLimits) -> bytes:
    try:
        frame = zstandard.get_frame_parameters(data)
    except zstandard.ZstdError as error:
        raise BatchFormError("frame.form", "the batch is no zstd frame") from error
    if frame.content_size in (zstandard.CONTENTSIZE_UNKNOWN, zstandard.CONTENTSIZE_ERROR):
        raise BatchFormError("frame.content_size", "the zstd frame must state its content size")
    if max(frame.content_size, frame.window_size) > limits.max_bytes:
        raise BatchFormError("frame.content_size", f"the batch unpacks to more than {limits.max_bytes} bytes")
    if frame.dict_id not in (dictionary.SMALL_ID, dictionary.LARGE_ID):
        raise BatchFormError("frame.dictionary", f"zstd dictionary {frame.dict_id} is not known")
    try:
        stream = _codecs.decompressor(frame.dict_id).decompress(
            data, max_output_size=frame.content_size, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise BatchFormError("frame.content", f"the zstd frame does not unpack: {error}") from error
    if len(stream) != frame.content_size:
        raise BatchFormError("frame.content_size", "the zstd frame unpacks to another size than it states")
    return stream


def _read_schema(stream: bytes) -> tuple[int, BatchHeader]:
    """Give where the schema message ends, and the header in it."""
    template = arrow.schema_template()
    text_start = _PREFIX_BYTES + len(template.head)
    end = _PREFIX_BYTES + int.from_bytes(stream[4:8], "little")
    size = int.from_bytes(stream[text_start - 4 : text_start], "little")
    if max(end, text_start + size) > min(len(stream), _MAX_SCHEMA_BYTES):
        raise BatchFormError("schema.size", "the schema message is longer than the batch or its bound")
    text = stream[text_start : text_start + size]
    if stream[:end] != template.render(text):
        raise BatchFormError("schema.equality", "the schema message is not that of schema versions 1 and 2")
    return end, header_text.read_header(text)


def _read_columns(
    stream: bytes, start: int, header: BatchHeader
) -> dict[str, NDArray[np.generic] | VarBytes]:
    layout, body = _find_body(stream, start, header.rows)
    columns: dict[str, NDArray[np.generic] | VarBytes] = {}
    variables = iter(zip(layout.variable_starts, layout.variable_bytes, strict=True))
    rows = header.rows
    for column, place in zip(WIRE_COLUMNS, layout.starts, strict=True):
        at = body + place
        if column.kind == "bytes":
            offsets = np.frombuffer(stream, "<i4", rows + 1, at)
            data_start, size = next(variables)
            columns[column.name] = VarBytes(offsets, np.frombuffer(stream, np.uint8, size, body + data_start))
        elif column.kind == "address":
            columns[column.name] = np.frombuffer(stream, np.uint8, rows * 16, at).reshape(rows, 16)
        else:
            columns[column.name] = np.frombuffer(stream, _FIXED_TYPES[column.name], rows, at)
    return columns


def _find_body(stream: bytes, start: int, rows: int) -> tuple[arrow.BodyLayout, int]:
    """Compute the layout from the rows and the two lengths the message states, and compare."""
    sizes = arrow.read_variable_bytes(stream, start)
    if sizes is None or sum(sizes) > len(stream):
        raise BatchFormError(
            "record_batch.size", "the record batch is cut short or states impossible lengths"
        )
    layout = arrow.lay_out(rows, sizes)
    body = start + len(layout.message)
    if stream[start:body] != layout.message:
        raise BatchContentError(
            "record_batch.rows", f"the record batch is not one of {rows} rows as the header says"
        )
    if stream[body + layout.body_bytes :] != arrow.END_OF_STREAM:
        raise BatchFormError("record_batch.end", "the stream does not end after its one record batch")
    return layout, body


def _variable(columns: PacketColumns, name: str) -> VarBytes:
    value = columns[name]
    if not isinstance(value, VarBytes):
        raise BatchContentError(f"{name}.type", f"column {name} must be VarBytes")
    return value


def _put(body: NDArray[np.uint8], start: int, value: NDArray[np.generic]) -> None:
    if value.size:
        body[start : start + value.nbytes] = np.ascontiguousarray(value).reshape(-1).view(np.uint8)


class _Codecs(threading.local):
    """zstd contexts of one thread; they are costly to make and not for sharing."""

    def __init__(self) -> None:
        self._compressors: dict[tuple[int, int], zstandard.ZstdCompressor] = {}
        self._decompressors: dict[int, zstandard.ZstdDecompressor] = {}

    def compressor(self, number: int, level: int) -> zstandard.ZstdCompressor:
        if (number, level) not in self._compressors:
            # A dictionary of its own: preparing one for a level changes it.
            prepared = zstandard.ZstdCompressionDict(
                dictionary.dictionary_bytes(number), dict_type=zstandard.DICT_TYPE_FULLDICT
            )
            if number == dictionary.SMALL_ID:
                prepared.precompute_compress(level=level)
            self._compressors[number, level] = zstandard.ZstdCompressor(
                level=level, dict_data=prepared, write_content_size=True, write_checksum=False
            )
        return self._compressors[number, level]

    def decompressor(self, number: int) -> zstandard.ZstdDecompressor:
        if number not in self._decompressors:
            self._decompressors[number] = zstandard.ZstdDecompressor(dict_data=dictionary.build(number))
        return self._decompressors[number]


_codecs = _Codecs()
