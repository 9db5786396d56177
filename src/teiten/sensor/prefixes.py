"""Sets of address prefixes, matched against whole columns at once.

Addresses are 16 bytes, IPv4 mapped (RFC 4291 §2.5.5.2), seen as two 64-bit
words: a prefix matches where ``(address & mask) == network`` in both words.
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from teiten.sensor.errors import DeclarationError

Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"
Mask: TypeAlias = "NDArray[np.bool_]"


def parse_network(text: str, *, what: str) -> Network:
    """Read ``192.0.2.0/24`` or a single address.

    Raises:
        DeclarationError: naming ``what`` and the text.
    """
    try:
        return ipaddress.ip_network(text.strip(), strict=True)
    except ValueError as error:
        raise DeclarationError(f"{what}: {text!r} is no address or prefix ({error})") from error


class Words(NamedTuple):
    """Addresses as two 64-bit words each, in memory order."""

    first: NDArray[np.uint64]
    second: NDArray[np.uint64]


def as_words(addresses: NDArray[np.uint8]) -> Words:
    """See addresses of shape (n, 16) as words."""
    words = np.ascontiguousarray(addresses).view(np.uint64)
    # Two contiguous arrays: every test of a prefix reads them again.
    return Words(words[:, 0].copy(), words[:, 1].copy())


class PrefixSet:
    """A few prefixes, for a membership test of many addresses."""

    def __init__(self, networks: tuple[Network, ...]) -> None:
        self.networks = networks
        self._rules = [_as_rule(network) for network in networks]

    def match(self, words: Words) -> Mask:
        """Tell which of the addresses (:func:`as_words`) lie in any of the prefixes."""
        found = np.zeros(len(words.first), np.bool_)
        for network, mask in self._rules:
            found |= _match_word(words.second, network[1], mask[1]) & _match_word(
                words.first, network[0], mask[0]
            )
        return found


_ALL_ONES = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


def _match_word(words: NDArray[np.uint64], network: np.uint64, mask: np.uint64) -> Mask:
    result: Mask = words == network if mask == _ALL_ONES else (words & mask) == network
    return result


def _as_rule(network: Network) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    mapped = b"\x00" * 10 + b"\xff\xff" if network.version == 4 else b""
    length = network.prefixlen + (96 if network.version == 4 else 0)
    mask = ((1 << 128) - (1 << (128 - length))).to_bytes(16, "big")
    packed = mapped + network.network_address.packed
    return np.frombuffer(packed, np.uint64), np.frombuffer(mask, np.uint64)
