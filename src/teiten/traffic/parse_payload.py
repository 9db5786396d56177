"""The payloads of many packets: their first bytes, and a hash of all that was captured.

The hash is BLAKE2b (RFC 7693) with a digest of 8 bytes, read as a little-endian
number. Equal payloads in a block are hashed once.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from teiten.traffic.parse_bytes import Bytes, Ints, gather_windows

#: Above this, finding equal payloads moves more memory than hashing each one costs.
_GROUPING_LIMIT_BYTES = 1 << 23
#: Odd multipliers that spread 8-byte words; equality is checked, so any will do.
_SPREAD = np.random.Generator(np.random.PCG64(7693)).integers(1, 1 << 63, 1 << 13, np.uint64) | np.uint64(1)


def hash_payloads(raw: Bytes, starts: Ints, lengths: Ints) -> NDArray[np.uint64]:
    """Hash bytes ``[start, start + length)`` of every row; 0 where there are none."""
    hashes = np.zeros(lengths.size, np.uint64)
    rows = np.flatnonzero(lengths)
    if rows.size:
        hashes[rows] = _hash_rows(raw, rows, starts[rows], lengths[rows])
    return hashes


def _hash_rows(raw: Bytes, rows: NDArray[np.intp], starts: Ints, lengths: Ints) -> NDArray[np.uint64]:
    width = -(-int(lengths.max()) // 8) * 8
    if rows.size * width > _GROUPING_LIMIT_BYTES or width > 8 * _SPREAD.size:
        return _hash_each(raw, rows, starts, lengths)
    padded = gather_windows(raw, rows, starts, size=width)
    padded *= np.arange(width, dtype=np.int32) < lengths[:, None]
    distinct, inverse = _group_equal(padded, lengths)
    hashes = _hash_each(padded, distinct, np.zeros(distinct.size, np.int32), lengths[distinct])
    return hashes[inverse]


def _group_equal(padded: Bytes, lengths: Ints) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Give one row of each distinct payload, and for each row which of these it equals."""
    words = padded.view(np.uint64)
    keys = (words * _SPREAD[: words.shape[1]]).sum(axis=1, dtype=np.uint64)
    keys = keys * np.uint64(0x9E3779B97F4A7C15) + lengths.astype(np.uint64)
    _, distinct, inverse = np.unique(keys, return_index=True, return_inverse=True)
    twins = distinct[inverse]
    if (lengths[twins] == lengths).all() and (padded[twins] == padded).all():
        return distinct, inverse
    # Two payloads share a key, by chance or by design: treat all as distinct.
    every = np.arange(lengths.size)
    return every, every


def _hash_each(block: Bytes, rows: NDArray[np.intp], starts: Ints, lengths: Ints) -> NDArray[np.uint64]:
    view = block.reshape(-1).data
    begins = rows * block.shape[1] + starts
    digests = b"".join(
        hashlib.blake2b(view[begin:end], digest_size=8).digest()
        for begin, end in zip(begins.tolist(), (begins + lengths).tolist(), strict=True)
    )
    return np.frombuffer(digests, "<u8").astype(np.uint64)
