"""The version of all rules together, and the columns that they derive.

Raise :data:`RULE_VERSION` whenever a rule of ``nature``, ``validity``, ``probes``,
``hints``, ``reflection`` or ``fingerprints`` gives another answer for some packet, and
say what changed in :data:`CHANGES`; rows keep the version that judged them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from teiten.traffic import fingerprints, hints, nature
from teiten.traffic.access import get_numbers
from teiten.traffic.columns import PacketColumns
from teiten.traffic.parse_bytes import Bytes, Mask
from teiten.traffic.probes import ProbeTable, load_probes
from teiten.traffic.reflection import find_triggers
from teiten.traffic.validity import BogonTable, judge_sources, load_bogons

RULE_VERSION = 2

#: What each version changed, for those who compare rows of several.
CHANGES: dict[int, str] = {
    1: "The first rules.",
    2: (
        "Mirai's and Masscan's rules take the public destination, so they hold behind 1:1 NAT, and say where they "
        "could not be asked. No rule asks for ToS 0 any more: networks on the way rewrite it. Source validity and probe labels are new; before, all sources counted as ordinary. "
        "More UDP payloads count as triggers of reflectors (mDNS services, SLP, Plex, Dahua, RIPv2, older NTP lists), "
        "Apple Remote Desktop's is recognised by its first three bytes, and chargen and QOTD as before by the port."
    ),
}


@dataclass(frozen=True)
class Context:
    """What the rules must know beside the packets themselves; arrays have one entry per packet."""

    #: Public destination, shape (n, 16); any bytes where it is unknown.
    destinations: Bytes
    is_known: Mask
    #: The sensor is simulated: sources of the demonstration's ranges are no bogons.
    is_exempt: Mask
    #: When each packet was observed, µs since 1970-01-01 UTC.
    times_us: NDArray[np.int64]
    bogons: BogonTable
    probes: ProbeTable


def take_as_recorded(columns: PacketColumns) -> Context:
    """Give the context of packets that show the public destination, with the rules that ship."""
    times_us = get_numbers(columns, "observed_at", np.int64)
    return Context(
        destinations=get_numbers(columns, "dst_addr", np.uint8),
        is_known=np.ones(times_us.size, np.bool_),
        is_exempt=np.zeros(times_us.size, np.bool_),
        times_us=times_us,
        bogons=load_bogons(),
        probes=load_probes(),
    )


def derive_columns(columns: PacketColumns, context: Context) -> dict[str, NDArray[np.generic]]:
    """Give the columns nature, validity, probe, hints, rule_version and tcp_fp of n packets."""
    found = context.probes.find(columns)
    natures = nature.classify(columns, find_triggers(columns, context.probes, found))
    validity = judge_sources(
        get_numbers(columns, "src_addr", np.uint8),
        context.times_us,
        recorded=get_numbers(columns, "dst_addr", np.uint8),
        destinations=context.destinations,
        is_known=context.is_known,
        is_exempt=context.is_exempt,
        bogons=context.bogons,
    )
    return {
        "nature": natures,
        "validity": validity,
        "probe": context.probes.name(found),
        "hints": hints.match(columns, context.destinations, is_known=context.is_known),
        "rule_version": np.full(natures.size, RULE_VERSION, np.uint16),
        "tcp_fp": fingerprints.tcp_fp(columns),
    }
