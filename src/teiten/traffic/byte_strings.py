"""Questions about a column of byte strings, answered for all rows at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from teiten.traffic.columns import VarBytes
from teiten.traffic.parse_bytes import Bytes, Mask, gather_windows


def read_lengths(strings: VarBytes) -> NDArray[np.int32]:
    return np.diff(strings.offsets)


def read_heads(strings: VarBytes, rows: NDArray[np.intp], *, size: int) -> Bytes:
    """Give the first ``size`` bytes of each of ``rows``, with zeros after a shorter string."""
    starts = strings.offsets[rows]
    lengths = strings.offsets[rows + 1] - starts
    heads = gather_windows(strings.data.reshape(1, -1), np.zeros(rows.size, np.intp), starts, size=size)
    heads *= np.arange(size, dtype=np.int32) < lengths[:, None]
    return heads


def find_equal(strings: VarBytes, rows: NDArray[np.intp], *, value: bytes) -> Mask:
    """Tell which of ``rows`` hold exactly ``value``."""
    equal: Mask = strings.offsets[rows + 1] - strings.offsets[rows] == len(value)
    if value and equal.any():
        heads = read_heads(strings, rows[equal], size=len(value))
        equal[equal] = (heads == np.frombuffer(value, np.uint8)).all(axis=1)
    return equal


def take_one(strings: VarBytes, row: int) -> bytes:
    return strings.data[strings.offsets[row] : strings.offsets[row + 1]].tobytes()
