"""The two Arrow messages of a batch, each in exactly one form.

A batch is an Arrow IPC stream: a schema message whose metadata hold the batch
header, one record batch, and the end mark. The schema comes from
``traffic.columns`` and the record batch's message follows from three numbers
(rows, and the total length of each variable column), so a reader of ours needs
no FlatBuffers parser: it writes down what must be there and compares. Any other
Arrow reader opens the stream as well.

Format: https://arrow.apache.org/docs/format/Columnar.html, Message.fbs, Schema.fbs.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from teiten.protocol.flatbuffer import Buffer, Field, Link, Scalar
from teiten.traffic.columns import WIRE_COLUMNS, Column, Kind

#: Key of the batch header in the schema's metadata.
HEADER_KEY = b"teiten"
END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"

_MAX_OFFSET = (1 << 31) - 1
_CONTINUATION = b"\xff\xff\xff\xff"
_VERSION_5 = Scalar(2, 4)
_SCHEMA, _RECORD_BATCH = Scalar(1, 1), Scalar(1, 3)

#: Bytes per row of a column's data; 0 for variable length.
WIDTHS: dict[Kind, int] = {"instant": 8, "address": 16, "u8": 1, "u16": 2, "u32": 4, "u64": 8, "bytes": 0}


@dataclass(frozen=True)
class SchemaTemplate:
    """The schema message up to the header text, which is its last object."""

    #: FlatBuffer bytes before the text, its length field included.
    head: bytes

    def render(self, header: bytes) -> bytes:
        """Write the whole message, framing included, around ``header``."""
        tail = header + b"\0"
        size = len(self.head) + len(tail)
        padding = -size % 8
        return b"".join(
            (
                _CONTINUATION,
                struct.pack("<i", size + padding),
                self.head[:-4],
                struct.pack("<I", len(header)),
                tail,
                bytes(padding),
            )
        )


@dataclass(frozen=True)
class BodyLayout:
    """Where each buffer of a record batch lies."""

    #: The message with its framing; the body follows it.
    message: bytes
    #: Start of each column's data (offsets, for a variable column) in the body.
    starts: tuple[int, ...]
    #: Start and size of each variable column's data in the body, in column order.
    variable_starts: tuple[int, ...]
    variable_bytes: tuple[int, ...]
    body_bytes: int


@lru_cache(maxsize=1)
def schema_template() -> SchemaTemplate:
    """Build the schema message of the wire columns, in their order."""
    buffer = Buffer()
    _, _, header, _ = buffer.add_root([_VERSION_5, _SCHEMA, Link(), Scalar(8, 0)])
    _, fields, metadata = buffer.add_table(header, [None, Link(), Link()])
    for slot, column in zip(buffer.add_links(fields, len(WIRE_COLUMNS)), WIRE_COLUMNS, strict=True):
        _add_field(buffer, slot, column)
    (pair,) = buffer.add_links(metadata, 1)
    key, value = buffer.add_table(pair, [Link(), Link()])
    buffer.add_string(key, HEADER_KEY)
    buffer.add_string(value, b"")
    return SchemaTemplate(head=bytes(buffer.data[:-1]))


def _add_field(buffer: Buffer, slot: int, column: Column) -> None:
    code, type_fields = _arrow_type(column)
    # Name, nullable, type code, type, dictionary, children: readers want an empty list of these.
    name, _, _, type_slot, _, children = buffer.add_table(
        slot, [Link(), Scalar(1, 0), Scalar(1, code), Link(), None, Link()]
    )
    buffer.add_string(name, column.name.encode())
    inner = buffer.add_table(type_slot, type_fields)
    if column.kind == "instant":
        buffer.add_string(inner[1], b"UTC")
    buffer.add_links(children, 0)


def _arrow_type(column: Column) -> tuple[int, list[Field]]:
    """Give the Type union's code and the type table's fields."""
    if column.kind == "instant":
        return 10, [Scalar(2, 2), Link()]
    if column.kind == "address":
        return 15, [Scalar(4, 16)]
    if column.kind == "bytes":
        return 4, []
    return 2, [Scalar(4, 8 * WIDTHS[column.kind]), Scalar(1, 0)]


@dataclass(frozen=True)
class _BatchTemplate:
    message: bytes
    #: Index, in int64 words of the message, of body length, rows, first node, first buffer.
    body_word: int
    rows_word: int
    nodes_word: int
    buffers_word: int


@lru_cache(maxsize=1)
def _batch_template() -> _BatchTemplate:
    buffer = Buffer()
    _, _, header, body = buffer.add_root([_VERSION_5, _RECORD_BATCH, Link(), Scalar(8, 0)])
    rows, nodes, buffers = buffer.add_table(header, [Scalar(8, 0), Link(), Link()])
    first_node = buffer.add_words(nodes, len(WIRE_COLUMNS), 2)
    first_buffer = buffer.add_words(buffers, len(_BUFFER_COLUMNS), 2)
    buffer.data += bytes(-len(buffer.data) % 8)
    framing = _CONTINUATION + struct.pack("<i", len(buffer.data))
    words = [(place + 8) // 8 for place in (body, rows, first_node, first_buffer)]
    return _BatchTemplate(framing + bytes(buffer.data), *words)


def _list_buffers() -> list[tuple[int, int, int]]:
    """List (column, bytes per row, extra rows) of every Arrow buffer; a validity buffer is empty.

    The total of a variable column is not known here: its data buffer counts as -1 bytes per row.
    """
    buffers: list[tuple[int, int, int]] = []
    for index, column in enumerate(WIRE_COLUMNS):
        buffers.append((index, 0, 0))
        if column.kind == "bytes":
            buffers += [(index, 4, 1), (index, -1, 0)]
        else:
            buffers.append((index, WIDTHS[column.kind], 0))
    return buffers


_BUFFER_COLUMNS = _list_buffers()
_PER_ROW = np.array([max(width, 0) for _, width, _ in _BUFFER_COLUMNS], dtype=np.int64)
_EXTRA = np.array([width * extra for _, width, extra in _BUFFER_COLUMNS], dtype=np.int64)
_VARIABLE = [place for place, (_, width, _) in enumerate(_BUFFER_COLUMNS) if width < 0]
# Variable data lie last, so that every other offset follows from the row count alone and a
# small batch finds its message, all but a few bytes, in the dictionary.
_BODY_ORDER = sorted(range(len(_BUFFER_COLUMNS)), key=_VARIABLE.__contains__)
_FIRST_BUFFERS = [
    place + 1 for place, (_, width, extra) in enumerate(_BUFFER_COLUMNS) if width == 0 and extra == 0
]


def lay_out(rows: int, variable_bytes: tuple[int, ...]) -> BodyLayout:
    """Lay out a record batch.

    Args:
        rows: packets in the batch.
        variable_bytes: total length of each variable column, in column order.
    """
    template = _batch_template()
    lengths: NDArray[np.int64] = _PER_ROW * rows + _EXTRA
    lengths[_VARIABLE] = variable_bytes
    padded = (lengths + (-lengths % 8))[_BODY_ORDER]
    ends = np.cumsum(padded)
    starts = np.empty_like(lengths)
    starts[_BODY_ORDER] = ends - padded
    words = np.frombuffer(bytearray(template.message), dtype="<i8")
    body_bytes = int(ends[-1])
    words[template.body_word] = body_bytes
    words[template.rows_word] = rows
    words[template.nodes_word : template.nodes_word + 2 * len(WIRE_COLUMNS) : 2] = rows
    table = words[template.buffers_word : template.buffers_word + 2 * len(_BUFFER_COLUMNS)]
    table[0::2] = np.where(lengths > 0, starts, 0)
    table[1::2] = lengths
    return BodyLayout(
        message=words.tobytes(),
        starts=tuple(starts[_FIRST_BUFFERS].tolist()),
        variable_starts=tuple(starts[_VARIABLE].tolist()),
        variable_bytes=variable_bytes,
        body_bytes=body_bytes,
    )


def read_variable_bytes(stream: bytes, start: int) -> tuple[int, ...] | None:
    """Read what the record batch message at ``start`` states as variable totals.

    Nothing else of the message is believed: the caller lays out a batch with
    these totals and compares. None when the message is not wholly there or a
    total is beyond what an int32 offset reaches.
    """
    template = _batch_template()
    if start + len(template.message) > len(stream):
        return None
    totals = []
    for place in _VARIABLE:
        at = start + 8 * (template.buffers_word + 2 * place + 1)
        totals.append(int.from_bytes(stream[at : at + 8], "little"))
    return tuple(totals) if max(totals) <= _MAX_OFFSET else None
