"""UDP packets that would make a reflector answer with more than it was asked.

A scanner looking for such reflectors and an attacker using one send the same bytes: a
match means "would trigger a reflector". Which payloads do is said by the rules marked
as triggers in ``traffic/data/probes.csv``, DNS questions of type ANY or TXT, and the
services that answer anything.

Sources: US-CERT TA14-017A (UDP-based amplification attacks); the rules' own.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from teiten.traffic.access import get_numbers
from teiten.traffic.columns import PacketColumns
from teiten.traffic.parse_bytes import Mask
from teiten.traffic.probes import DNS_PORT, UDP, ProbeTable, load_probes

#: RFC 864 (chargen) and RFC 865 (quote of the day).
ANSWERS_ANYTHING = (17, 19)
_MULTICAST_DNS_PORT = 5353


@lru_cache(maxsize=1)
def mark_reflector_ports() -> Mask:
    """Mark the ports on which reflectors listen: where their answers come from."""
    ports = {rule.port for rule in load_probes().rules if rule.is_trigger and rule.port is not None}
    marked: Mask = np.zeros(1 << 16, np.bool_)
    marked[list(ports | {DNS_PORT, _MULTICAST_DNS_PORT, *ANSWERS_ANYTHING})] = True
    return marked


def find_triggers(columns: PacketColumns, probes: ProbeTable, found: NDArray[np.int16]) -> Mask:
    """Tell which packets would trigger a reflector.

    Without kept payload only the two services that answer anything are found.

    Args:
        columns: the packets.
        probes: the rules.
        found: what :meth:`ProbeTable.find` found.
    """
    ports = get_numbers(columns, "dst_port", np.uint16)
    is_udp = get_numbers(columns, "protocol", np.uint8) == UDP
    answers: Mask = is_udp & ((ports == ANSWERS_ANYTHING[0]) | (ports == ANSWERS_ANYTHING[1]))
    return answers | probes.is_trigger(found)
