"""Packets counted by source and day, as the store counts them, with the truth beside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teiten.traffic.hints import Hint
from teiten.traffic.verdicts import SourceDayCounts

#: SYN without ACK, RST and FIN.
_SYN, _SYN_MASK = 0x02, 0x17
_ECHO_REQUEST = 8
_ICMP, _TCP, _UDP = 1, 6, 17
_BITS = 32


@dataclass(frozen=True)
class SourceDay:
    """One source on one day."""

    counts: SourceDayCounts
    #: Rule that is about the packets' maker → packets; 0 for makers that no rule is about.
    made: Mapping[int, int]


def count_source_days(
    keys: NDArray[np.int64],
    columns: Mapping[str, Any],
    *,
    hints: NDArray[np.uint32],
    truth: NDArray[np.uint32],
    least_packets: int,
) -> Iterator[SourceDay]:
    """Give every source's day of at least so many packets.

    Args:
        keys: the source's day of each packet, any number.
        columns: the packets.
        hints: what the rules found.
        truth: the rule that is about each packet's maker, 0 for none.
        least_packets: days of fewer packets are left out.
    """
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=keys[order][:1] - 1))
    ends = [*starts[1:].tolist(), keys.size]
    protocol = np.asarray(columns["protocol"])[order]
    is_syn = (protocol == _TCP) & ((np.asarray(columns["tcp_flags"])[order] & _SYN_MASK) == _SYN)
    is_echo = (protocol == _ICMP) & (np.asarray(columns["icmp_type"])[order] == _ECHO_REQUEST)
    seq = np.asarray(columns["tcp_seq"])[order].astype(np.uint32)
    folds = (seq >> np.uint32(16)) ^ (seq & np.uint32(0xFFFF))
    hints, truth = hints[order], truth[order]
    for start, end in zip(starts.tolist(), ends, strict=True):
        if end - start < least_packets:
            continue
        part = slice(start, end)
        yield SourceDay(
            SourceDayCounts(
                packets=end - start,
                syn_packets=int(is_syn[part].sum()),
                udp_packets=int((protocol[part] == _UDP).sum()),
                echo_packets=int(is_echo[part].sum()),
                hint_counts=_count_bits(hints[part]),
                nmap_folds=_list_folds(folds[part][(hints[part] & np.uint32(Hint.NMAP_SYN)) != 0]),
            ),
            _count_values(truth[part]),
        )


def _count_bits(hints: NDArray[np.uint32]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for value, packets in _count_values(hints).items():
        for bit in range(_BITS):
            if value >> bit & 1:
                counts[bit] = counts.get(bit, 0) + packets
    return counts


def _count_values(values: NDArray[np.uint32]) -> dict[int, int]:
    found, counts = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def _list_folds(folds: NDArray[np.uint32]) -> tuple[int, ...]:
    """Give at most 16 different values, as the store keeps them."""
    return tuple(np.unique(folds)[:16].tolist())
