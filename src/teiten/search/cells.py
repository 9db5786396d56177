"""Cells of a table of packets: from the store's Arrow columns to what people and JSON read.

Addresses become text (IPv4 without its mapping), ``payload_hash`` 16 hexadecimal
digits, bytes hexadecimal text; codes and numbers stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Any

import pyarrow as pa

from teiten.search.answers import Cell
from teiten.traffic.columns import BY_NAME

_MAPPED = bytes(10) + b"\xff\xff"


def combine(table: pa.Table) -> pa.RecordBatch:
    """Give a table as one batch whose columns have the names of packet columns."""
    whole = table.combine_chunks()
    names = [name.removesuffix("_hex") for name in whole.column_names]
    arrays = [_one_chunk(whole.column(index)) for index in range(whole.num_columns)]
    fields = [pa.field(name, array.type) for name, array in zip(names, arrays, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def make_readable(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Write addresses and hashes as text."""
    arrays = [_make_readable(field.name, batch.column(index)) for index, field in enumerate(batch.schema)]
    fields = [pa.field(name, array.type) for name, array in zip(batch.schema.names, arrays, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def to_rows(batch: pa.RecordBatch, columns: Sequence[str]) -> tuple[tuple[Cell, ...], ...]:
    """Give rows in the order of ``columns``; a column that is not there is None throughout."""
    readable = make_readable(batch)
    there = set(readable.schema.names)
    lists = [
        readable.column(name).to_pylist() if name in there else [None] * batch.num_rows for name in columns
    ]
    return tuple(zip(*lists, strict=True))


@lru_cache(maxsize=65_536)
def write_address(packed: bytes) -> str:
    """Write 16 bytes as an address."""
    if packed.startswith(_MAPPED):
        return ".".join(str(byte) for byte in packed[12:])
    return str(IPv6Address(packed))


def _one_chunk(column: pa.ChunkedArray[Any]) -> pa.Array[Any]:
    chunks = column.chunks
    return (
        chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks) if chunks else pa.array([], column.type)
    )


def _make_readable(name: str, column: pa.Array[Any]) -> pa.Array[Any]:
    if name not in BY_NAME or pa.types.is_null(column.type):
        return column
    if BY_NAME[name].kind == "address":
        return write_addresses(column)
    if name == "payload_hash":
        return pa.array(
            [None if value is None else f"{value:016x}" for value in column.to_pylist()], pa.string()
        )
    return column


def write_addresses(column: pa.Array[Any]) -> pa.Array[Any]:
    """Write a column of 16-byte addresses as text; each distinct one is written once."""
    if column.null_count == len(column):
        return pa.nulls(len(column), pa.string())
    encoded = column.dictionary_encode()
    texts = pa.array([write_address(packed) for packed in encoded.dictionary.to_pylist()], pa.string())
    return texts.take(encoded.indices)
