"""What a simulated packet truly is: known beside the columns, never inside them.

Rules are measured against these labels; they never reach a sensor or a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from teiten.simulators.hashes import U8, U32


class Tool(IntEnum):
    """The program that made the packet."""

    #: A kernel's own TCP/IP: connect(), ping, a server answering.
    LINUX = 1
    WINDOWS = 2
    #: Small Linux of routers and cameras, old kernels and MSS below Ethernet's.
    EMBEDDED = 3
    MIRAI = 4
    MASSCAN_OLD = 5
    MASSCAN_NEW = 6
    ZMAP_OLD = 7
    ZMAP_NEW = 8
    NMAP = 9
    #: A raw-socket program of its maker's own.
    CUSTOM = 10


class Purpose(IntEnum):
    """Why the packet was sent."""

    SCAN = 1
    #: Answer of a victim to a packet that somebody sent in our name.
    BACKSCATTER = 2
    #: A UDP datagram that asks for a service.
    UDP_PROBE = 3
    #: A query in a victim's name, so that the answer hits it.
    REFLECTION = 4
    #: Misconfiguration and leftovers.
    RESIDUAL = 5
    MALFORMED = 6


class Origin(IntEnum):
    """Where a packet's source address comes from."""

    #: The sender's own.
    OWN = 0
    #: A network that is nobody's in the Internet: a router let it through.
    BOGON = 1
    #: The address that the packet goes to (CERT CA-1997-28).
    DESTINATION = 2


@dataclass(frozen=True)
class Labels:
    """The truth about ``n`` packets, in their order."""

    #: :class:`Tool`.
    tool: U8
    #: :class:`Purpose`.
    purpose: U8
    #: 1 where the source is a survey scanner.
    survey: U8
    #: Index into :data:`teiten.simulators.streams.ALL_STREAMS`.
    stream: U8
    #: AS number of the source, 0 for a source that is not the sender's own.
    asn: U32

    def take(self, index: slice | np.ndarray) -> Labels:
        return Labels(
            self.tool[index], self.purpose[index], self.survey[index], self.stream[index], self.asn[index]
        )
