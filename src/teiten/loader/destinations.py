"""The public destination of each packet: the address that the sender aimed at.

Behind 1:1 NAT a packet carries the local address; the sender's tool computed with the
public one. In this order: a mapping that holds at the packet's time; the carried
address itself where the Internet can reach it; else nobody knows, and rules that need
the destination are *not computable*, never "no".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teiten.loader.doors import AddressPeriod
from teiten.loader.verifying import Verified
from teiten.traffic.parse_bytes import Bytes, Mask
from teiten.traffic.reachable import find_reachable

_SIMULATED = "simulated"


def find_simulated(batches: Sequence[Verified], counts: NDArray[np.int64]) -> Mask:
    """Tell which packets are of simulated sensors."""
    return np.repeat(np.array([one.batch.header.dataset == _SIMULATED for one in batches], np.bool_), counts)


def find_destinations(
    wire: Mapping[str, Any],
    batches: Sequence[Verified],
    *,
    counts: NDArray[np.int64],
    is_simulated: Mask,
) -> tuple[Bytes, Mask]:
    """Give the public destination of every packet of a block, shape (n, 16), and where it is known.

    Args:
        wire: wire columns of all batches end to end.
        batches: the batches, in that order.
        counts: packets of each batch.
        is_simulated: per packet.
    """
    carried: Bytes = np.asarray(wire["dst_addr"], np.uint8)
    is_known = find_reachable(carried, is_simulated)
    layers = _lay_periods(batches)
    if not layers:
        return carried, is_known
    times: NDArray[np.int64] = np.asarray(wire["observed_at"], np.int64)
    destinations = carried.copy()
    starts = np.cumsum(counts) - counts
    is_open = np.ones(times.size, np.bool_)
    for places, periods in layers:
        rows = _rows_of(starts[places], counts[places])
        rows = rows[is_open[rows]]
        batch_of = np.searchsorted(starts[places], rows, side="right") - 1
        found, mapped = _map(carried[rows], times[rows], periods, batch_of)
        held = rows[found]
        destinations[held] = mapped
        is_known[held] = True
        is_open[held] = False
    return destinations, is_known


def _lay_periods(
    batches: Sequence[Verified],
) -> list[tuple[NDArray[np.int64], list[AddressPeriod]]]:
    """Give, best known first, batches and one period of each that may hold in its window."""
    layers: list[tuple[list[int], list[AddressPeriod]]] = []
    for place, one in enumerate(batches):
        if not one.periods:
            continue
        header = one.batch.header
        depth = 0
        for period in one.periods:
            if period.to_us <= header.window_start_us or period.from_us >= header.window_end_us:
                continue
            if depth == len(layers):
                layers.append(([], []))
            layers[depth][0].append(place)
            layers[depth][1].append(period)
            depth += 1
    return [(np.array(places, np.int64), periods) for places, periods in layers]


def _rows_of(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the rows of some batches, in order."""
    ends = np.cumsum(counts)
    rows: NDArray[np.int64] = np.arange(int(ends[-1])) + np.repeat(starts - (ends - counts), counts)
    return rows


def _map(
    carried: Bytes, times: NDArray[np.int64], periods: Sequence[AddressPeriod], which: NDArray[np.int64]
) -> tuple[Mask, Bytes]:
    """Tell which rows their period holds, and give the public addresses of these."""
    firsts, lasts, publics = (
        _words(np.frombuffer(b"".join(getattr(one, name) for one in periods), np.uint8).reshape(-1, 16))
        for name in ("local_first", "local_last", "public")
    )
    begins = np.array([one.from_us for one in periods], np.int64)[which]
    ends = np.array([one.to_us for one in periods], np.int64)[which]
    high, low = _words(carried)
    first_high, first_low = firsts[0][which], firsts[1][which]
    last_high, last_low = lasts[0][which], lasts[1][which]
    inside = (times >= begins) & (times < ends)
    inside &= (high > first_high) | ((high == first_high) & (low >= first_low))
    inside &= (high < last_high) | ((high == last_high) & (low <= last_low))
    # Prefixes of one length: the host's bits are those in which the range's ends differ.
    host_high, host_low = first_high ^ last_high, first_low ^ last_low
    mapped = np.empty((times.size, 2), ">u8")
    mapped[:, 0] = publics[0][which] | (high & host_high)
    mapped[:, 1] = publics[1][which] | (low & host_low)
    return inside, mapped.view(np.uint8).reshape(-1, 16)[inside]


def _words(addresses: Bytes) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    words = np.ascontiguousarray(addresses).view(">u8").astype(np.uint64)
    return words[:, 0], words[:, 1]
