"""Networks that hold for a time, looked up for many packets at once.

Rows may overlap. Where several hold at a time, the narrowest network decides, then
the latest start of validity, then the order given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from teiten.traffic.addresses import RangeTable, find_ipv4, parse_prefix
from teiten.traffic.parse_bytes import Bytes, Ints, Mask

#: No end of validity.
FOREVER_US = (1 << 63) - 1


@dataclass(frozen=True)
class TimedRange:
    """First and last address as numbers of 128 bits, and validity ``[from, to)`` in µs UTC."""

    first: int
    last: int
    valid_from_us: int
    valid_to_us: int


def read_range(network: str, valid_from_us: int, *, valid_to_us: int) -> TimedRange:
    """Read a CIDR prefix or an address.

    Raises:
        AddressError: ``network`` is no prefix.
    """
    first, last = parse_prefix(network)
    return TimedRange(int.from_bytes(first, "big"), int.from_bytes(last, "big"), valid_from_us, valid_to_us)


class TimedRangeTable:
    """Answers which row holds an address at a time."""

    def __init__(self, ranges: Sequence[TimedRange]) -> None:
        starts, ends, self._candidates = _split_ranges(ranges)
        self._segments = RangeTable(starts, ends)
        self._valid_from = np.array([row.valid_from_us for row in ranges], np.int64)
        self._valid_to = np.array([row.valid_to_us for row in ranges], np.int64)
        self._is_worth = _mark_beginnings(starts, ends)

    def lookup(self, addresses: Bytes, times_us: NDArray[np.int64]) -> Ints:
        """Give the number of the row that holds each address at its time, or -1.

        Args:
            addresses: shape (n, 16).
            times_us: µs since 1970-01-01 UTC, shape (n,).
        """
        found = np.full(addresses.shape[0], -1, np.int32)
        suspects = np.flatnonzero(self._may_hold(addresses))
        if suspects.size:
            found[suspects] = self._lookup_segments(addresses[suspects], times_us[suspects])
        return found

    def _may_hold(self, addresses: Bytes) -> Mask:
        """Ask the first 16 bits alone, which rule out nearly all addresses of most tables."""
        if not self._candidates.size:
            return np.zeros(addresses.shape[0], np.bool_)
        halves = np.ascontiguousarray(addresses).view(np.uint16)
        is_v4 = find_ipv4(addresses)
        keys = np.where(is_v4, halves[:, 6], halves[:, 0])
        may: Mask = self._is_worth[is_v4.astype(np.intp), keys]
        return may

    def _lookup_segments(self, addresses: Bytes, times_us: NDArray[np.int64]) -> Ints:
        found = np.full(addresses.shape[0], -1, np.int32)
        segments = self._segments.lookup(addresses)
        inside = np.flatnonzero(segments >= 0)
        for candidate in self._candidates[segments[inside]].T:
            held = (candidate >= 0) & (found[inside] < 0)
            rows, numbers = inside[held], candidate[held]
            valid = (times_us[rows] >= self._valid_from[numbers]) & (times_us[rows] < self._valid_to[numbers])
            found[rows[valid]] = numbers[valid]
        return found


def _mark_beginnings(starts: Bytes, ends: Bytes) -> Mask:
    """Mark the first 16 bits that some segment has: row 0 for IPv6, row 1 for IPv4.

    The bits are read in the machine's order, as a view of the address reads them.
    """
    worth = np.zeros((2, 1 << 16), np.bool_)
    mapped = 0xFFFF << 32
    for row in range(starts.shape[0]):
        first, last = (int.from_bytes(edge[row].tobytes(), "big") for edge in (starts, ends))
        worth[0, first >> 112 : (last >> 112) + 1] = True
        low, high = max(first, mapped), min(last, mapped | 0xFFFFFFFF)
        if low <= high:
            worth[1, (low & 0xFFFFFFFF) >> 16 : ((high & 0xFFFFFFFF) >> 16) + 1] = True
    order = np.arange(1 << 16, dtype=np.uint16).astype(">u2").view(np.uint16)
    swapped = np.zeros_like(worth)
    swapped[:, order] = worth
    return swapped


def _split_ranges(ranges: Sequence[TimedRange]) -> tuple[Bytes, Bytes, Ints]:
    """Cut the address space where any range begins or ends.

    Returns:
        First and last address of each segment that some range holds, and for each
        segment the ranges that hold it, best first, filled up with -1.
    """
    edges = sorted({edge for row in ranges for edge in (row.first, row.last + 1)})
    place = {edge: number for number, edge in enumerate(edges)}
    holders: list[list[int]] = [[] for _ in edges]
    order = sorted(
        range(len(ranges)), key=lambda row: (ranges[row].last - ranges[row].first, -ranges[row].valid_from_us)
    )
    for row in order:
        for segment in range(place[ranges[row].first], place[ranges[row].last + 1]):
            holders[segment].append(row)
    kept = [number for number, rows in enumerate(holders) if rows]
    depth = max((len(holders[number]) for number in kept), default=1)
    candidates = np.full((len(kept), depth), -1, np.int32)
    for place_kept, number in enumerate(kept):
        candidates[place_kept, : len(holders[number])] = holders[number]
    starts = _to_rows([edges[number] for number in kept])
    ends = _to_rows([edges[number + 1] - 1 for number in kept])
    return starts, ends, candidates


def _to_rows(numbers: list[int]) -> Bytes:
    packed = b"".join(number.to_bytes(16, "big") for number in numbers)
    return np.frombuffer(packed, np.uint8).reshape(-1, 16)
