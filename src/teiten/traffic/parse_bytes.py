"""Reading many packets at once: fields, aligned windows and ragged byte strings.

A block of packets is one ``(n, width)`` uint8 matrix. Nothing here knows what the
bytes mean; nothing here decides whether a byte belongs to its packet.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from teiten.traffic.columns import VarBytes

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int32]
Mask = NDArray[np.bool_]

#: Up to so many different lengths, copying length by length beats an index of every byte.
_FEW_LENGTHS = 6


def read_u16(block: Bytes, at: int) -> NDArray[np.uint16]:
    """Read the big-endian 16-bit field at column ``at`` of every row."""
    return block[:, at : at + 2].view(">u2")[:, 0].astype(np.uint16)


def read_u32(block: Bytes, at: int) -> NDArray[np.uint32]:
    """Read the big-endian 32-bit field at column ``at`` of every row."""
    return block[:, at : at + 4].view(">u4")[:, 0].astype(np.uint32)


def gather_windows(
    block: Bytes, rows: NDArray[np.intp], starts: NDArray[np.signedinteger[Any]], *, size: int
) -> Bytes:
    """Copy ``size`` bytes of each of ``rows`` from its own ``starts`` on.

    A window that passes its row's end holds bytes of the next row, or zeros after
    the last one: the caller masks them.

    Args:
        block: C-contiguous, shape (n, width).
        rows: row numbers.
        starts: column at which each window begins, 0..width.
        size: columns of the result.
    """
    flat = block.reshape(-1)
    begins = rows * block.shape[1] + starts
    last = flat.size - size
    if last < 0:
        return _gather_near_end(flat, begins, size)
    windows = as_strided(flat, (last + 1, size), (1, 1), writeable=False)
    late = begins > last
    gathered: Bytes = windows[np.minimum(begins, last)]
    if late.any():
        gathered[late] = _gather_near_end(flat, begins[late], size)
    return gathered


def _gather_near_end(flat: Bytes, begins: NDArray[np.intp], size: int) -> Bytes:
    first = int(begins.min()) if begins.size else flat.size
    tail = np.zeros(flat.size - first + size, np.uint8)
    tail[: flat.size - first] = flat[first:]
    windows = as_strided(tail, (flat.size - first + 1, size), (1, 1), writeable=False)
    gathered: Bytes = windows[begins - first]
    return gathered


def cut_ragged(block: Bytes, starts: Ints, lengths: Ints) -> VarBytes:
    """Lay the bytes ``[start, start + length)`` of every row end to end.

    Args:
        block: C-contiguous, shape (n, width).
        starts: first column, per row.
        lengths: bytes, per row; ``start + length`` never passes the row's end.
    """
    offsets = np.zeros(lengths.size + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    if not offsets[-1]:
        return VarBytes(offsets, np.empty(0, np.uint8))
    rows = np.flatnonzero(lengths)
    data = _copy_ragged(block, rows, starts[rows], lengths[rows], offsets[rows])
    return VarBytes(offsets, data)


def _copy_ragged(block: Bytes, rows: NDArray[np.intp], starts: Ints, lengths: Ints, offsets: Ints) -> Bytes:
    sizes = np.flatnonzero(np.bincount(lengths))
    if sizes.size == 1:
        return gather_windows(block, rows, starts, size=int(sizes[0])).reshape(-1)
    if sizes.size > _FEW_LENGTHS:
        return _copy_by_index(block, rows, starts, lengths, offsets)
    data = np.empty(int(lengths.sum()), np.uint8)
    for size in sizes.tolist():
        chosen = np.flatnonzero(lengths == size)
        places = as_strided(data, (data.size - size + 1, size), (1, 1))
        places[offsets[chosen]] = gather_windows(block, rows[chosen], starts[chosen], size=size)
    return data


def _copy_by_index(block: Bytes, rows: NDArray[np.intp], starts: Ints, lengths: Ints, offsets: Ints) -> Bytes:
    begins = rows * block.shape[1] + starts - offsets
    index = np.repeat(begins, lengths)
    index += np.arange(index.size)
    return block.reshape(-1).take(index)
