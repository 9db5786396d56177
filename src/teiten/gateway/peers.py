"""Whose connection it is: the address that counts, also behind a load balancer.

A load balancer that passes TCP on (sensors pin our key, so it cannot end TLS) tells the
sensor's address in a header of the PROXY protocol, version 2, in front of the TLS handshake
(haproxy.org, proxy-protocol.txt, section 2.2). It is believed only from the networks that
``gateway.trusted_proxies`` names, and asked for from them.
"""

from __future__ import annotations

import ipaddress
import struct
from collections import Counter
from collections.abc import Callable, Sequence

from teiten.gateway.errors import GatewayError, GatewayStartError

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
HEAD_BYTES = 16
#: Addresses of IPv6 and room for what else a proxy may tell (TLVs).
MAX_REST_BYTES = 2048

_HEAD = struct.Struct(">12sBBH")
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_IPV6_KEY_BITS = 64
#: Share of all places from which on they are short.
_CROWDED = 0.75


class ProxyHeaderError(GatewayError):
    """A trusted proxy sent no header of the PROXY protocol, version 2."""


def read_head(head: bytes) -> int:
    """Read the first 16 bytes of a header; gives how many follow.

    Raises:
        ProxyHeaderError: when they are of something else.
    """
    signature, command, _family, size = _HEAD.unpack(head)
    if signature != SIGNATURE or command not in (_LOCAL, _PROXY) or size > MAX_REST_BYTES:
        raise ProxyHeaderError("the proxy does not send PROXY protocol version 2 (send-proxy-v2)")
    return int(size)


def read_peer(head: bytes, rest: bytes, *, proxy: str) -> str:
    """Give the address that a header names; that of the proxy for its own checks.

    Raises:
        ProxyHeaderError: when it names no TCP connection.
    """
    _signature, command, family, _size = _HEAD.unpack(head)
    if command == _LOCAL:
        return proxy
    if family == _TCP4 and len(rest) >= 12:
        return str(ipaddress.IPv4Address(rest[:4]))
    if family == _TCP6 and len(rest) >= 36:
        return plain_address(str(ipaddress.IPv6Address(rest[:16])))
    raise ProxyHeaderError("the proxy's header names no TCP connection")


def plain_address(text: str) -> str:
    """Write an address without zone, an IPv4-mapped one as IPv4."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


class TrustedProxies:
    """Networks from which a PROXY header is asked for.

    Raises:
        GatewayStartError: naming the entry that is no network.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        try:
            self._networks = [ipaddress.ip_network(text) for text in texts]
        except ValueError as error:
            raise GatewayStartError(
                f"gateway.trusted_proxies: {error}; give networks such as 192.0.2.0/28"
            ) from error

    def __contains__(self, peer: str) -> bool:
        address = ipaddress.ip_address(peer)
        return any(address in network for network in self._networks if network.version == address.version)


class Places:
    """Connections that are open, in all and for each address (IPv6: each /64).

    Connections from this machine count in all only: a local proxy or test is many sensors.
    """

    def __init__(self, *, most: int, most_per_address: int) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._by_address: Counter[str] = Counter()
        self.taken = 0

    @property
    def is_crowded(self) -> bool:
        """Whether so many are taken that nobody may take his time."""
        return self.taken > self._most * _CROWDED

    def take(self) -> Callable[[], None] | None:
        """Take a place for a connection; gives how to give it back, or None when all are taken."""
        if self.taken >= self._most:
            return None
        self.taken += 1
        return _once(self._give)

    def take_for(self, peer: str) -> Callable[[], None] | None:
        """Take one of the places of an address; gives how to give it back, or None."""
        key = find_site(peer)
        if key is None:
            return _once(lambda: None)
        if self._by_address[key] >= self._most_per_address:
            return None
        self._by_address[key] += 1
        return _once(lambda: self._give_for(key))

    def _give(self) -> None:
        self.taken -= 1

    def _give_for(self, key: str) -> None:
        self._by_address[key] -= 1
        if not self._by_address[key]:
            del self._by_address[key]


def _once(give: Callable[[], None]) -> Callable[[], None]:
    left = [give]

    def call() -> None:
        if left:
            left.pop()()

    return call


def find_site(peer: str) -> str | None:
    """Give what counts as one address: IPv4 itself, IPv6 its /64; None for this machine, or no address."""
    if not peer:
        return None
    address = ipaddress.ip_address(peer)
    if address.is_loopback:
        return None
    if address.version == 4:
        return peer
    return str(ipaddress.ip_network((int(address) >> 64 << 64, _IPV6_KEY_BITS)))
