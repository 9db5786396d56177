"""Cut and join sets of packet columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from teiten.traffic.columns import WIRE_COLUMNS, PacketColumns, VarBytes

WireColumns = dict[str, "NDArray[np.generic] | VarBytes"]


def count_rows(columns: PacketColumns) -> int:
    return len(np.asarray(columns["observed_at"]))


def make_empty() -> WireColumns:
    """Give every wire column with no rows."""
    columns: WireColumns = {}
    for column in WIRE_COLUMNS:
        if column.kind == "bytes":
            columns[column.name] = VarBytes(np.zeros(1, np.int32), np.zeros(0, np.uint8))
        elif column.kind == "address":
            columns[column.name] = np.zeros((0, 16), np.uint8)
        else:
            columns[column.name] = np.zeros(0, column.numpy_type)
    return columns


def select_rows(columns: PacketColumns, kept: NDArray[np.bool_]) -> WireColumns:
    """Give the rows where ``kept`` is true, as copies."""
    return {
        name: _select_bytes(value, kept) if isinstance(value, VarBytes) else value[kept]
        for name, value in columns.items()
    }


def slice_rows(columns: PacketColumns, start: int, stop: int) -> WireColumns:
    """Give the rows ``[start, stop)``, as views where that is possible."""
    return {
        name: _slice_bytes(value, start, stop) if isinstance(value, VarBytes) else value[start:stop]
        for name, value in columns.items()
    }


def join(chunks: Sequence[WireColumns]) -> WireColumns:
    """Lay sets end to end; takes the columns out of ``chunks`` one by one, to spare memory."""
    if not chunks:
        return make_empty()
    if len(chunks) == 1:
        return chunks[0]
    return {name: _join_column([chunk.pop(name) for chunk in chunks]) for name in tuple(chunks[0])}


def _join_column(parts: list[NDArray[np.generic] | VarBytes]) -> NDArray[np.generic] | VarBytes:
    ragged = [part for part in parts if isinstance(part, VarBytes)]
    if ragged:
        return _join_bytes(ragged)
    return np.concatenate([part for part in parts if not isinstance(part, VarBytes)])


def _join_bytes(parts: list[VarBytes]) -> VarBytes:
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    return VarBytes(_as_offsets(lengths), np.concatenate([part.data for part in parts]))


def _select_bytes(value: VarBytes, kept: NDArray[np.bool_]) -> VarBytes:
    lengths = np.diff(value.offsets)
    data = value.data[: value.offsets[-1]]
    return VarBytes(_as_offsets(lengths[kept]), data[np.repeat(kept, lengths)])


def _slice_bytes(value: VarBytes, start: int, stop: int) -> VarBytes:
    offsets = value.offsets[start : stop + 1]
    return VarBytes((offsets - offsets[0]).astype(np.int32), value.data[offsets[0] : offsets[-1]])


def _as_offsets(lengths: NDArray[np.int32]) -> NDArray[np.int32]:
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
