"""Which addresses the Internet can reach: a packet that carries one came to that very address.

What is not (RFC 1918, shared, link-local, unique local, …; IANA special-purpose
registries, RFC 6890) is a local address behind some translation. Documentation
addresses count as reachable: tests, examples and simulations use them in place of
real ones. 240.0.0.0/4 does so for simulated data only.
"""

from __future__ import annotations

import ipaddress
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from teiten.traffic.addresses import find_ipv4
from teiten.traffic.parse_bytes import Bytes, Mask

Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"

SIMULATED = ipaddress.IPv4Network("240.0.0.0/4")
_UNREACHABLE = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "224.0.0.0/4",
        str(SIMULATED),
    )
)
#: The only space of IPv6 that is assigned as global unicast (RFC 4291 §2.4).
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")


def is_reachable(network: Network, *, is_simulated: bool = False) -> bool:
    """Tell whether every address of a prefix can be reached from the Internet."""
    if isinstance(network, ipaddress.IPv6Network):
        return network.subnet_of(_GLOBAL_V6)
    if is_simulated and network.subnet_of(SIMULATED):
        return True
    return not any(network.overlaps(one) for one in _UNREACHABLE)


def find_reachable(addresses: Bytes, is_simulated: Mask) -> Mask:
    """Tell which addresses, shape (n, 16), can be reached from the Internet.

    Args:
        addresses: IPv4 mapped into IPv6.
        is_simulated: shape (n,), rows of simulated data.
    """
    is_v4 = find_ipv4(addresses)
    numbers = _low_words(addresses)
    reached: Mask = is_v4 | (addresses[:, 0] >> 5 == 1)
    simulated = _inside(numbers, SIMULATED)
    for network in _UNREACHABLE[:-1]:
        reached &= ~(is_v4 & _inside(numbers, network))
    reached &= ~(is_v4 & simulated & ~is_simulated)
    return reached


def _low_words(addresses: Bytes) -> NDArray[np.uint32]:
    return np.ascontiguousarray(addresses[:, 12:16]).view(">u4")[:, 0].astype(np.uint32)


def _inside(numbers: NDArray[np.uint32], network: ipaddress.IPv4Network) -> Mask:
    shift = np.uint32(32 - network.prefixlen)
    found: Mask = numbers >> shift == np.uint32(int(network.network_address) >> int(shift))
    return found
