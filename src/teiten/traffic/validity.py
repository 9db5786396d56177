"""The axis *source validity*: whether a source address can be what it says.

A mark of its own, never a nature: a bogon may scan or answer like anyone else.

**Bogon**: no packet in the Internet can have this source, because the address is of
a special-purpose or unassigned network at that time. The networks are data with
dates (``traffic/data/bogons.csv``). Packets of simulated sensors may come from the
ranges of the demonstration, and from these only.

**Spoof-suspect**: an address that could exist, in a packet that contradicts it:
the source is the destination itself, as recorded or as the public address behind
NAT (CERT CA-1997-28, "Land"), or it is a multicast or the limited broadcast address,
which no host may send from (RFC 1122 §3.2.1.3, RFC 4291 §2.7), in a list of bogons
that does not hold these.

Not taken over from Corsaro's "spoofed" (libcorsaro_filtering.c), because ordinary
hosts do this: last byte 0 or 255 (RFC 4632 makes them hosts), TTL of 200 and above
(ZMap, Masscan), unusual flags, port 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from teiten.traffic.addresses import RangeTable, find_ipv4, parse_prefix
from teiten.traffic.errors import AddressError, RuleFileError
from teiten.traffic.parse_bytes import Bytes, Mask
from teiten.traffic.rule_files import RuleFile, read_rows, read_shipped, read_validity
from teiten.traffic.timed_ranges import TimedRangeTable, read_range

#: The list as a file: one network a line, days UTC, ``valid_to`` exclusive or empty.
HEADER = ("network", "valid_from", "valid_to", "source", "reason")
#: Sources of the demonstration: never assigned (RFC 1112), and documentation (RFC 5737, 3849, 9637).
DEMONSTRATION = (
    "240.0.0.0/4",
    "192.0.2.0/24",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "2001:db8::/32",
    "3fff::/20",
)
#: First byte of the first of :data:`DEMONSTRATION`.
_RESERVED_BYTE = 240
#: A shorter prefix than IANA reserves as one, by version of IP.
_SHORTEST_PREFIX = {4: 4, 6: 3}


class SourceValidity(IntEnum):
    """Values of the column ``validity``; 0 is also what rows of before this axis have."""

    ORDINARY = 0
    #: No such source can exist in the Internet at that time: special-purpose or not allocated.
    BOGON = 1
    #: The packet contradicts its own source address.
    SPOOF_SUSPECT = 2


@dataclass(frozen=True)
class BogonNetwork:
    """One row of the list of bogons."""

    #: CIDR prefix or single address.
    network: str
    #: Validity ``[from, to)``, µs since 1970-01-01 UTC.
    valid_from_us: int
    valid_to_us: int
    #: The document that reserves it.
    source: str
    reason: str


class BogonTable:
    """The networks that no packet can come from, looked up for many packets at once."""

    def __init__(self, rows: Sequence[BogonNetwork]) -> None:
        """Take the rows.

        Raises:
            AddressError: a network is no prefix or too broad, or a validity ends before it starts.
        """
        self.rows = tuple(rows)
        for row in rows:
            _check_network(row)
        self._ranges = TimedRangeTable(
            [read_range(row.network, row.valid_from_us, valid_to_us=row.valid_to_us) for row in rows]
        )

    def lookup(self, addresses: Bytes, times_us: NDArray[np.int64]) -> Mask:
        """Tell which addresses, shape (n, 16), are bogons at their times, µs UTC."""
        held: Mask = self._ranges.lookup(addresses, times_us) >= 0
        return held


def _check_network(row: BogonNetwork) -> None:
    if row.valid_to_us <= row.valid_from_us:
        raise AddressError(f"bogon {row.network}: validity ends before it starts")
    parse_prefix(row.network)
    version = 6 if ":" in row.network else 4
    _, slash, length = row.network.partition("/")
    if slash and int(length) < _SHORTEST_PREFIX[version]:
        shortest = _SHORTEST_PREFIX[version]
        raise AddressError(
            f"bogon {row.network} is too broad: an IPv{version} entry is /{shortest} or longer"
        )


def read_bogons(file: RuleFile) -> BogonTable:
    """Read and check a list of bogons.

    Raises:
        RuleFileError: naming the line and the rule.
    """
    rows: dict[tuple[str, int], BogonNetwork] = {}
    for where, (network, first_day, last_day, source, reason) in read_rows(file, HEADER, kind="bogon list"):
        start, end = read_validity(where, first_day, last_day)
        row = BogonNetwork(network, start, end, source, reason)
        if not source or not reason:
            raise RuleFileError(f"{where}: {network} has no source or no reason")
        if (network, start) in rows:
            raise RuleFileError(f"{where}: {network} from {first_day} is there twice")
        try:
            _check_network(row)
        except AddressError as error:
            raise RuleFileError(f"{where}: {error}") from error
        rows[network, start] = row
    return BogonTable(tuple(rows.values()))


@lru_cache(maxsize=1)
def load_bogons() -> BogonTable:
    """Give the list that ships with Teiten."""
    return read_bogons(read_shipped("bogons.csv"))


def judge_sources(
    sources: Bytes,
    times_us: NDArray[np.int64],
    *,
    recorded: Bytes,
    destinations: Bytes,
    is_known: Mask,
    is_exempt: Mask,
    bogons: BogonTable,
) -> NDArray[np.uint8]:
    """Give every packet's :class:`SourceValidity`.

    Args:
        sources: source addresses, shape (n, 16).
        times_us: µs since 1970-01-01 UTC.
        recorded: destination addresses as the packets state them, shape (n, 16).
        destinations: public destination addresses, shape (n, 16).
        is_known: where ``destinations`` is known.
        is_exempt: where the sensor is simulated.
        bogons: the list.
    """
    validity = np.full(times_us.size, SourceValidity.ORDINARY, np.uint8)
    suspect = _is_equal(sources, recorded) | (is_known & _is_equal(sources, destinations))
    validity[suspect | _find_impossible_senders(sources)] = SourceValidity.SPOOF_SUSPECT
    validity[_find_bogons(sources, times_us, is_exempt=is_exempt, bogons=bogons)] = SourceValidity.BOGON
    return validity


def _find_bogons(sources: Bytes, times_us: NDArray[np.int64], *, is_exempt: Mask, bogons: BogonTable) -> Mask:
    if not is_exempt.any():
        return bogons.lookup(sources, times_us)
    found: Mask = np.zeros(times_us.size, np.bool_)
    # Nearly all simulated sources are of 240.0.0.0/4: one byte tells, and no list is asked.
    asked = np.flatnonzero(~(is_exempt & (sources[:, 12] >= _RESERVED_BYTE) & find_ipv4(sources)))
    found[asked] = bogons.lookup(sources[asked], times_us[asked])
    exempt = np.flatnonzero(found & is_exempt)
    found[exempt] = _demonstration_ranges().lookup(sources[exempt]) < 0
    return found


def _is_equal(one: Bytes, other: Bytes) -> Mask:
    words, other_words = (np.ascontiguousarray(block).view(np.uint64) for block in (one, other))
    equal: Mask = (words[:, 1] == other_words[:, 1]) & (words[:, 0] == other_words[:, 0])
    return equal


def _find_impossible_senders(sources: Bytes) -> Mask:
    """Find multicast and limited broadcast."""
    is_v4 = find_ipv4(sources)
    lower = np.ascontiguousarray(sources).view(np.uint32)[:, 3]
    impossible: Mask = is_v4 & (((sources[:, 12] & 0xF0) == 0xE0) | (lower == 0xFFFFFFFF))
    impossible |= ~is_v4 & (sources[:, 0] == 0xFF)
    return impossible


@lru_cache(maxsize=1)
def _demonstration_ranges() -> RangeTable:
    edges = [parse_prefix(network) for network in DEMONSTRATION]
    firsts, lasts = (
        np.frombuffer(b"".join(edge[at] for edge in edges), np.uint8).reshape(-1, 16) for at in (0, 1)
    )
    return RangeTable(firsts, lasts)
