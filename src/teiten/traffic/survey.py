"""Known survey scanners: who scanned from where, and from when to when.

Rows may overlap: a company's /24 beside its /28, or one network that changed hands.
Where several rows hold at a time, the narrowest network decides, then the latest
start of validity, then the order given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from teiten.traffic.addresses import RangeTable, parse_prefix
from teiten.traffic.errors import AddressError
from teiten.traffic.parse_bytes import Bytes, Mask

#: No end of validity.
FOREVER_US = (1 << 63) - 1


@dataclass(frozen=True)
class SurveyNetwork:
    """One row of a survey list."""

    #: CIDR prefix or single address.
    network: str
    #: Who scans, for example ``Example Research``.
    owner: str
    #: Validity ``[from, to)``, µs since 1970-01-01 UTC.
    valid_from_us: int
    valid_to_us: int
    #: The list that says so.
    source: str


class SurveyTable:
    """Survey lists, looked up for many packets at once."""

    def __init__(self, networks: Sequence[SurveyNetwork]) -> None:
        """Take the rows.

        Raises:
            AddressError: a network is no prefix, or a validity ends before it starts.
        """
        self.networks = tuple(networks)
        #: The owners' names; the index that :meth:`lookup` gives points here.
        self.owners = tuple(sorted({network.owner for network in networks}))
        ranges = [_read_range(network) for network in networks]
        starts, ends, candidates = _split_ranges(ranges, self.networks)
        self._segments = RangeTable(starts, ends)
        self._candidates = candidates
        self._valid_from = np.array([network.valid_from_us for network in networks], np.int64)
        self._valid_to = np.array([network.valid_to_us for network in networks], np.int64)
        self._owner = np.array([self.owners.index(network.owner) for network in networks], np.int32)

    def lookup(self, addresses: Bytes, times_us: NDArray[np.int64]) -> tuple[Mask, NDArray[np.int32]]:
        """Tell which packets come from a survey, and whose.

        Args:
            addresses: source addresses, shape (n, 16).
            times_us: when each packet was observed, µs since 1970-01-01 UTC.

        Returns:
            Whether each is known, and the index into :attr:`owners`, or -1.
        """
        owners = np.full(addresses.shape[0], -1, np.int32)
        segments = self._segments.lookup(addresses)
        inside = np.flatnonzero(segments >= 0)
        for candidate in self._candidates[segments[inside]].T:
            held = (candidate >= 0) & (owners[inside] < 0)
            rows, networks = inside[held], candidate[held]
            valid = (times_us[rows] >= self._valid_from[networks]) & (
                times_us[rows] < self._valid_to[networks]
            )
            owners[rows[valid]] = self._owner[networks[valid]]
        return owners >= 0, owners


def _read_range(network: SurveyNetwork) -> tuple[int, int]:
    if network.valid_to_us <= network.valid_from_us:
        raise AddressError(
            f"survey network {network.network} of {network.owner}: validity ends before it starts"
        )
    first, last = parse_prefix(network.network)
    return int.from_bytes(first, "big"), int.from_bytes(last, "big")


def _split_ranges(
    ranges: list[tuple[int, int]], networks: tuple[SurveyNetwork, ...]
) -> tuple[Bytes, Bytes, NDArray[np.int32]]:
    """Cut the address space where any range begins or ends.

    Returns:
        First and last address of each segment that some range holds, and for each
        segment the ranges that hold it, best first, filled up with -1.
    """
    edges = sorted({edge for first, last in ranges for edge in (first, last + 1)})
    place = {edge: number for number, edge in enumerate(edges)}
    holders: list[list[int]] = [[] for _ in edges]
    order = sorted(
        range(len(ranges)), key=lambda row: (ranges[row][1] - ranges[row][0], -networks[row].valid_from_us)
    )
    for row in order:
        first, last = ranges[row]
        for segment in range(place[first], place[last + 1]):
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
