"""Hashes of whole arrays: how a simulated world needs no tables and no memory.

What a source is (its address, distance, ports, habits) follows from its number
alone, so any hour of any sensor can be made again, in any order, by anyone.
The function is SplitMix64's finaliser (Steele, Lea, Flood, OOPSLA 2014).
"""

from __future__ import annotations

import zlib
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

U64: TypeAlias = NDArray[np.uint64]
U32: TypeAlias = NDArray[np.uint32]
U16: TypeAlias = NDArray[np.uint16]
U8: TypeAlias = NDArray[np.uint8]
F64: TypeAlias = NDArray[np.float64]
I64: TypeAlias = NDArray[np.int64]

_GOLDEN, _MASK = 0x9E3779B97F4A7C15, (1 << 64) - 1
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_BITS_30, _BITS_27, _BITS_31 = np.uint64(30), np.uint64(27), np.uint64(31)
_UNIT = 1.0 / (1 << 53)


def mix(keys: U64, salt: int = 0) -> U64:
    """Give a well-mixed 64-bit value for each key; another salt gives an independent one."""
    # Arrays wrap round silently; only a product of two numpy scalars would warn.
    value = keys + np.uint64(_GOLDEN * (salt + 1) & _MASK)
    value = (value ^ (value >> _BITS_30)) * _FIRST
    value = (value ^ (value >> _BITS_27)) * _SECOND
    return np.asarray(value ^ (value >> _BITS_31), dtype=np.uint64)


def fraction(values: U64) -> F64:
    """Give the upper 53 bits of each value as a number in [0, 1)."""
    return np.asarray((values >> np.uint64(11)).astype(np.float64) * _UNIT, dtype=np.float64)


def field(values: U64, shift: int, bits: int) -> U64:
    """Cut ``bits`` bits from each value, from bit ``shift`` up."""
    return np.asarray((values >> np.uint64(shift)) & np.uint64((1 << bits) - 1), dtype=np.uint64)


def salt_of(name: str) -> int:
    """Give the same number for a name on every machine and in every run."""
    return zlib.crc32(name.encode())
