"""The only addresses that a simulator may use, and the check that it uses no other.

No real address is ever accused: simulated sources stand in 240.0.0.0/4 (RFC 1112,
never assigned) and 3fff::/20 (RFC 9637, documentation); sensors observe addresses
of RFC 5737 and RFC 3849. AS numbers are private (RFC 6996). A few packets come from
where none can come: private and shared networks and loopback (bogons), or the very
address that they go to.
"""

from __future__ import annotations

import ipaddress

import numpy as np
from numpy.typing import NDArray

from teiten.simulators.errors import ForbiddenAddressError
from teiten.simulators.hashes import U8
from teiten.traffic.parse_bytes import Mask

SOURCES_V4 = ipaddress.IPv4Network("240.0.0.0/4")
SOURCES_V6 = ipaddress.IPv6Network("3fff::/20")
OBSERVED_V4 = tuple(
    ipaddress.IPv4Network(text) for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")
)
OBSERVED_V6 = ipaddress.IPv6Network("2001:db8::/32")
#: Private, shared and loopback networks (RFC 1918, 6598, 1122): nobody in the Internet.
BOGONS_V4 = tuple(
    ipaddress.IPv4Network(text)
    for text in ("10.0.0.0/8", "192.168.0.0/16", "172.16.0.0/12", "100.64.0.0/10", "127.0.0.0/8")
)
#: First private AS number of 16 bits, and how many there are.
PRIVATE_AS_FIRST, PRIVATE_AS_COUNT = 64512, 1023
#: First private AS number of 32 bits.
PRIVATE_AS_WIDE_FIRST = 4_200_000_000

_V4_HEADER = 20
_V6_HEADER = 40


def is_private_as(number: int) -> bool:
    return (
        PRIVATE_AS_FIRST <= number < PRIVATE_AS_FIRST + PRIVATE_AS_COUNT
        or PRIVATE_AS_WIDE_FIRST <= number <= 4_294_967_294
    )


def check_observed(prefix: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Give the prefix that a simulated sensor watches.

    Raises:
        ForbiddenAddressError: when it is no prefix, or not of the documentation ranges.
    """
    try:
        network = ipaddress.ip_network(prefix)
    except ValueError as error:
        raise ForbiddenAddressError(f"observed prefix {prefix!r} is no prefix: {error}") from error
    if isinstance(network, ipaddress.IPv6Network):
        allowed = network.subnet_of(OBSERVED_V6)
    else:
        allowed = any(network.subnet_of(parent) for parent in OBSERVED_V4)
    if not allowed:
        raise ForbiddenAddressError(
            f"observed prefix {prefix} is not of a documentation range; a simulated sensor may watch "
            f"{', '.join(map(str, OBSERVED_V4))} and {OBSERVED_V6} only"
        )
    return network


def check_frames(raw: U8) -> None:
    """Look at the source of every IP packet that is about to leave the simulator.

    Args:
        raw: shape (n, width), each row starting at the IP header.

    Raises:
        ForbiddenAddressError: naming the first source outside the reserved ranges.
    """
    version = raw[:, 0] >> 4
    v4 = (version == 4) & ((raw[:, 12] >> 4) == 0xF)
    v6 = (version == 6) & (raw[:, 8] == 0x3F) & (raw[:, 9] == 0xFF) & ((raw[:, 10] >> 4) == 0)
    odd = np.flatnonzero(~(v4 | v6))
    bad = odd[~_is_nobody(raw[odd])]
    if len(bad) == 0:
        return
    row = raw[bad[0]]
    name = _source_text(row)
    raise ForbiddenAddressError(
        f"packet {bad[0]} has the source {name}, which is not of {SOURCES_V4} or {SOURCES_V6}, no bogon and not its "
        "own destination; simulated packets may not come from anywhere else"
    )


def _is_nobody(raw: U8) -> Mask:
    """Tell which IPv4 packets come from a bogon, or from a documentation address that is their destination."""
    sources, targets = (np.ascontiguousarray(raw[:, at : at + 4]).view(">u4")[:, 0] for at in (12, 16))
    nobody: Mask = (sources == targets) & _is_of(targets, OBSERVED_V4)
    nobody |= _is_of(sources, BOGONS_V4)
    nobody &= raw[:, 0] >> 4 == 4
    return nobody


def _is_of(addresses: NDArray[np.uint32], networks: tuple[ipaddress.IPv4Network, ...]) -> Mask:
    found: Mask = np.zeros(len(addresses), np.bool_)
    for network in networks:
        found |= (addresses & int(network.netmask)) == int(network.network_address)
    return found


def _source_text(row: U8) -> str:
    if row[0] >> 4 == 4:
        return str(ipaddress.IPv4Address(row[12:16].tobytes()))
    if row[0] >> 4 == 6 and len(row) >= _V6_HEADER:
        return str(ipaddress.IPv6Address(row[8:24].tobytes()))
    return f"(no IP packet: first bytes {row[:_V4_HEADER].tobytes().hex()})"
