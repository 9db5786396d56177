"""What this host itself solicits is no observation: declared, counted, left out.

A declaration names a peer prefix, a protocol, and which port identifies the talk:
``192.0.2.53/32 udp from 53`` (answers of a resolver: the *peer's* port is 53),
``198.51.100.7/32 tcp to 22`` (the keeper's SSH: *our* port is 22),
``203.0.113.0/24 any`` (everything from there). Whoever forges a declared peer's
address is left out too; that is the price, and the count shows it.

Packets that are for no observed address (multicast, another address of this host)
are left out as well, under the reason ``other destination``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from teiten.sensor.errors import DeclarationError
from teiten.sensor.prefixes import Mask, Network, PrefixSet, as_words, parse_network
from teiten.traffic.columns import PacketColumns

PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "icmp6": 58, "any": None}
_FORM = "PREFIX tcp|udp|icmp|icmp6|any [from PORT | to PORT]"
_ICMP6 = 58
#: Router and neighbour solicitation and advertisement, redirect (RFC 4861): never from beyond the link.
_NEIGHBOUR_TYPES = (133, 134, 135, 136, 137)
_ON_LINK_HOPS = 255


@dataclass(frozen=True)
class Peer:
    """Packets from ``network`` that this host solicited."""

    network: Network
    #: IANA protocol number; None: any.
    protocol: int | None = None
    #: Source port of the packet; None: any.
    from_port: int | None = None
    #: Destination port of the packet; None: any.
    to_port: int | None = None

    def as_text(self) -> str:
        """Write the declaration as it is read by :func:`parse_peer`."""
        names = {number: name for name, number in PROTOCOLS.items()}
        text = f"{self.network} {names[self.protocol]}"
        if self.from_port is not None:
            return f"{text} from {self.from_port}"
        return text if self.to_port is None else f"{text} to {self.to_port}"


def parse_peer(text: str) -> Peer:
    """Read one declaration.

    Raises:
        DeclarationError: naming the text and the form it must have.
    """
    words = text.split()
    if len(words) not in (2, 4) or words[1] not in PROTOCOLS:
        raise DeclarationError(f"sensor.exclude: {text!r} is not of the form {_FORM}")
    network = parse_network(words[0], what="sensor.exclude")
    protocol = PROTOCOLS[words[1]]
    if len(words) == 2:
        return Peer(network, protocol)
    port = _parse_port(words[3], text)
    if words[2] not in ("from", "to") or words[1] not in ("tcp", "udp"):
        raise DeclarationError(f"sensor.exclude: {text!r} is not of the form {_FORM}; ports need tcp or udp")
    return Peer(network, protocol, **{f"{words[2]}_port": port})


def _parse_port(word: str, text: str) -> int:
    if not word.isdecimal() or not 0 < int(word) < 65_536:
        raise DeclarationError(f"sensor.exclude: {word!r} in {text!r} is no port (1 to 65535)")
    return int(word)


@dataclass(frozen=True)
class Verdict:
    """What is left out of a set of packets, and why."""

    #: bool (n,): the packets that are observations.
    kept: Mask
    solicited: int
    other_destination: int

    @property
    def excluded(self) -> int:
        return self.solicited + self.other_destination


class Exclusion:
    """The declared peers of this host, ready to be matched.

    Args:
        peers: what the host solicits.
        neighbours: leave out IPv6 neighbour discovery, which keeps the host on its link.
    """

    def __init__(self, peers: Iterable[Peer], *, neighbours: bool = True) -> None:
        self.peers = tuple(sorted(set(peers), key=Peer.as_text))
        self._neighbours = neighbours
        self._groups = _group_by_rule(self.peers)

    @property
    def declaration(self) -> tuple[str, ...]:
        """Every rule as text, in a fixed order."""
        own = ("neighbour discovery",) if self._neighbours else ()
        return tuple(peer.as_text() for peer in self.peers) + own

    @property
    def digest(self) -> str:
        """SHA-256 of the declaration, hexadecimal, by which the record names it."""
        return hashlib.sha256("\n".join(self.declaration).encode()).hexdigest()

    def judge(self, columns: PacketColumns, observed: PrefixSet) -> Verdict:
        """Tell which packets are observations of ``observed``."""
        here = observed.match(as_words(np.asarray(columns["dst_addr"])))
        solicited = self._match_peers(columns)
        if self._neighbours:
            solicited |= _is_neighbour_discovery(columns)
        kept = here & ~solicited
        return Verdict(
            kept=kept,
            solicited=int(np.count_nonzero(solicited)),
            other_destination=int(np.count_nonzero(~here & ~solicited)),
        )

    def _match_peers(self, columns: PacketColumns) -> Mask:
        sources = as_words(np.asarray(columns["src_addr"]))
        found = np.zeros(len(sources.first), np.bool_)
        for (protocol, from_port, to_port), prefixes in self._groups:
            hit = prefixes.match(sources)
            if not hit.any():
                continue
            for name, wanted in (("protocol", protocol), ("src_port", from_port), ("dst_port", to_port)):
                if wanted is not None:
                    hit &= np.asarray(columns[name]) == wanted
            found |= hit
        return found


def _group_by_rule(peers: tuple[Peer, ...]) -> list[tuple[tuple[int | None, ...], PrefixSet]]:
    groups: dict[tuple[int | None, ...], list[Network]] = {}
    for peer in peers:
        groups.setdefault((peer.protocol, peer.from_port, peer.to_port), []).append(peer.network)
    return [(rule, PrefixSet(tuple(networks))) for rule, networks in groups.items()]


def _is_neighbour_discovery(columns: PacketColumns) -> Mask:
    found: Mask = np.asarray(columns["protocol"]) == _ICMP6
    if found.any():
        found = found & np.isin(np.asarray(columns["icmp_type"]), _NEIGHBOUR_TYPES)
        found &= np.asarray(columns["ttl"]) == _ON_LINK_HOPS
    return found
