"""Write FlatBuffers front to back, for the two Arrow messages that Teiten sends.

A table is laid down before what it refers to, so that the last object written
(the batch header's text) may vary in length without moving anything before it.
Format: https://flatbuffers.dev/internals/
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

_FORMATS = {1: "<B", 2: "<h", 4: "<i", 8: "<q"}


class Scalar(NamedTuple):
    """A number stored in the table itself."""

    size_bytes: int
    value: int


class Link(NamedTuple):
    """A reference, filled in by :meth:`Buffer.link` once its target is written."""


Field = Scalar | Link | None


class Buffer:
    """A FlatBuffer that grows at its end."""

    def __init__(self) -> None:
        self.data = bytearray(4)

    def add_root(self, fields: Sequence[Field]) -> list[int]:
        """Write the root table and give the position of each field's slot."""
        table, slots = self._add_table(fields)
        struct.pack_into("<I", self.data, 0, table)
        return slots

    def add_table(self, slot: int, fields: Sequence[Field]) -> list[int]:
        """Write a table, let ``slot`` refer to it, and give its fields' slots."""
        table, slots = self._add_table(fields)
        self.link(slot, table)
        return slots

    def add_string(self, slot: int, text: bytes) -> int:
        """Write a string, let ``slot`` refer to it, and give the position of its length."""
        self._align(4)
        position = len(self.data)
        self.link(slot, position)
        self.data += struct.pack("<I", len(text)) + text + b"\0"
        return position

    def add_links(self, slot: int, count: int) -> list[int]:
        """Write a vector of ``count`` references and give their slots."""
        self._align(4)
        position = len(self.data)
        self.link(slot, position)
        self.data += struct.pack("<I", count) + bytes(4 * count)
        return [position + 4 + 4 * index for index in range(count)]

    def add_words(self, slot: int, count: int, per_item: int) -> int:
        """Write a vector of ``count`` structs of int64 zeros; give the first word's position."""
        self._align(8)
        self.data += bytes(4)
        self.link(slot, len(self.data))
        self.data += struct.pack("<I", count)
        position = len(self.data)
        self.data += bytes(8 * per_item * count)
        return position

    def link(self, slot: int, target: int) -> None:
        struct.pack_into("<I", self.data, slot, target - slot)

    def _add_table(self, fields: Sequence[Field]) -> tuple[int, list[int]]:
        vtable_bytes = 4 + 2 * len(fields)
        # The soffset is 4 bytes, so 8-byte fields start at the next multiple of 8.
        self._align(8, ahead=vtable_bytes)
        vtable = len(self.data)
        table = vtable + vtable_bytes
        places, table_bytes = _place_fields(fields)
        self.data += struct.pack(f"<HH{len(fields)}H", vtable_bytes, table_bytes, *places)
        self.data += struct.pack("<i", table - vtable) + bytes(table_bytes - 4)
        for field, place in zip(fields, places, strict=True):
            if isinstance(field, Scalar):
                struct.pack_into(_FORMATS[field.size_bytes], self.data, table + place, field.value)
        return table, [table + place for place in places]

    def _align(self, size: int, ahead: int = 0) -> None:
        self.data += bytes(-(len(self.data) + ahead) % size)


def _place_fields(fields: Sequence[Field]) -> tuple[list[int], int]:
    """Give each field's offset in its table (0 when absent) and the table's size."""
    places = [0] * len(fields)
    end = 4
    for size in (4, 8, 2, 1):
        for index, field in enumerate(fields):
            if _size_of(field) == size:
                end += -end % size
                places[index] = end
                end += size
    return places, end


def _size_of(field: Field) -> int:
    if field is None:
        return 0
    return field.size_bytes if isinstance(field, Scalar) else 4
