"""Known survey scanners: who scanned from where, and from when to when.

Rows may overlap: a company's /24 beside its /28, or one network that changed hands.
Where several rows hold at a time, the narrowest network decides, then the latest
start of validity, then the order given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from teiten.traffic.addresses import parse_prefix
from teiten.traffic.errors import AddressError
from teiten.traffic.parse_bytes import Bytes, Mask
from teiten.traffic.timed_ranges import FOREVER_US, TimedRangeTable, read_range

__all__ = ["FOREVER_US", "SHORTEST_PREFIX", "SurveyKind", "SurveyNetwork", "SurveyTable", "check_network"]

#: A shorter prefix would call much of the Internet a survey; by version of IP.
SHORTEST_PREFIX = {4: 8, 6: 16}


class SurveyKind(IntEnum):
    """Values of the column ``survey``: on what grounds a source counts as a survey scanner."""

    NONE = 0
    #: A list names it.
    LISTED = 1
    #: It behaves as one (``traffic.behaviour``).
    BEHAVIOUR = 2


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
    kind: SurveyKind = SurveyKind.LISTED


class SurveyTable:
    """Survey lists, looked up for many packets at once."""

    def __init__(self, networks: Sequence[SurveyNetwork]) -> None:
        """Take the rows.

        Raises:
            AddressError: a network is no prefix or too broad, or a validity ends before it starts.
        """
        self.networks = tuple(networks)
        for network in networks:
            check_network(network)
        actors = sorted({(network.owner, network.kind) for network in networks})
        #: The owners' names; the index that :meth:`lookup` gives points here.
        self.owners = tuple(owner for owner, _ in actors)
        #: On what grounds, in the order of :attr:`owners`; an owner may be there twice.
        self.kinds = tuple(kind for _, kind in actors)
        self._ranges = TimedRangeTable(
            [read_range(one.network, one.valid_from_us, valid_to_us=one.valid_to_us) for one in networks]
        )
        numbers = {actor: number for number, actor in enumerate(actors)}
        # The last entry answers for row -1, which no network holds.
        self._owner = np.array([*(numbers[one.owner, one.kind] for one in networks), -1], np.int32)

    def lookup(self, addresses: Bytes, times_us: NDArray[np.int64]) -> tuple[Mask, NDArray[np.int32]]:
        """Tell which packets come from a survey, and whose.

        Args:
            addresses: source addresses, shape (n, 16).
            times_us: when each packet was observed, µs since 1970-01-01 UTC.

        Returns:
            Whether each is known, and the index into :attr:`owners` and :attr:`kinds`, or -1.
        """
        owners = self._owner[self._ranges.lookup(addresses, times_us)]
        return owners >= 0, owners


def check_network(network: SurveyNetwork) -> None:
    """Check one row.

    Raises:
        AddressError: its network is no prefix or too broad, or its validity ends before it starts.
    """
    where = f"survey network {network.network} of {network.owner}"
    if network.valid_to_us <= network.valid_from_us:
        raise AddressError(f"{where}: validity ends before it starts")
    parse_prefix(network.network)
    version = 6 if ":" in network.network else 4
    _, slash, length = network.network.partition("/")
    shortest = SHORTEST_PREFIX[version]
    if slash and int(length) < shortest:
        raise AddressError(f"{where} is too broad: an IPv{version} entry is /{shortest} or longer")
