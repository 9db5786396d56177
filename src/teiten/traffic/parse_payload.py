"""The payloads of many packets: their first bytes, and a hash of all that was captured.

The hash is BLAKE2b (RFC 7693) with a digest of 8 bytes, read as a little-endian
number. Equal payloads in a block are hashed once.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from teiten.traffic.grouping import MAX_ROW_BYTES, group_rows
from teiten.traffic.parse_bytes import Bytes, Ints, gather_windows

#: Above this, finding equal payloads moves more memory than hashing each one costs.
_GROUPING_LIMIT_BYTES = 1 << 23


def hash_payloads(raw: Bytes, starts: Ints, lengths: Ints) -> NDArray[np.uint64]:
    """Hash bytes ``[start, start + length)`` of every row; 0 where there are none."""
    hashes = np.zeros(lengths.size, np.uint64)
    rows = np.flatnonzero(lengths)
    if rows.size:
        hashes[rows] = _hash_rows(raw, rows, starts[rows], lengths[rows])
    return hashes


def _hash_rows(raw: Bytes, rows: NDArray[np.intp], starts: Ints, lengths: Ints) -> NDArray[np.uint64]:
    width = -(-int(lengths.max()) // 8) * 8
    if rows.size * width > _GROUPING_LIMIT_BYTES or width >= MAX_ROW_BYTES:
        return _hash_each(raw, rows, starts, lengths)
    padded = np.empty((rows.size, width + 8), np.uint8)
    padded[:, :width] = gather_windows(raw, rows, starts, size=width)
    padded[:, :width] *= np.arange(width, dtype=np.int32) < lengths[:, None]
    # The length tells a payload from the same one with zeros after it.
    padded.view(np.uint64)[:, -1] = lengths
    distinct, inverse = group_rows(padded)
    hashes = _hash_each(padded, distinct, np.zeros(distinct.size, np.int32), lengths[distinct])
    return hashes[inverse]


def _hash_each(block: Bytes, rows: NDArray[np.intp], starts: Ints, lengths: Ints) -> NDArray[np.uint64]:
    view = block.reshape(-1).data
    begins = rows * block.shape[1] + starts
    digests = b"".join(
        hashlib.blake2b(view[begin:end], digest_size=8).digest()
        for begin, end in zip(begins.tolist(), (begins + lengths).tolist(), strict=True)
    )
    return np.frombuffer(digests, "<u8").astype(np.uint64)
