"""Addresses as 16 bytes, IPv4 mapped into IPv6, one or many at a time.

Everything in a column is an IPv6 address; IPv4 addresses are written as
``::ffff:a.b.c.d`` (RFC 4291 §2.5.5.2) and shown as ``a.b.c.d``. Prefix lengths given
as text count bits of the family shown; in bytes they count bits of 128.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teiten.traffic.errors import AddressError
from teiten.traffic.parse_bytes import Bytes, Mask

MAPPED_PREFIX = bytes(10) + b"\xff\xff"
#: Bits of 128 that come before an IPv4 address.
MAPPED_BITS = 96

_MAPPED_START = int.from_bytes(MAPPED_PREFIX + bytes(4), "big")
_MAPPED_END = int.from_bytes(MAPPED_PREFIX + b"\xff" * 4, "big")


def from_text(text: str) -> bytes:
    """Read an IPv4 or IPv6 address.

    Raises:
        AddressError: ``text`` is neither.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise AddressError(f"{text!r} is neither an IPv4 nor an IPv6 address") from error
    return address.packed if address.version == 6 else MAPPED_PREFIX + address.packed


def to_text(address: bytes | Bytes) -> str:
    """Write one address of 16 bytes, IPv4-mapped ones as IPv4."""
    packed = bytes(address)
    if len(packed) != 16:
        raise AddressError(f"an address has 16 bytes, not {len(packed)}")
    if packed.startswith(MAPPED_PREFIX):
        return ".".join(map(str, packed[12:]))
    return str(ipaddress.IPv6Address(packed))


def to_texts(addresses: Bytes) -> list[str]:
    """Write addresses of shape (n, 16)."""
    return [to_text(row) for row in np.ascontiguousarray(addresses)]


def from_texts(texts: Iterable[str]) -> Bytes:
    """Read addresses into shape (n, 16)."""
    packed = b"".join(map(from_text, texts))
    return np.frombuffer(packed, np.uint8).reshape(-1, 16)


def find_ipv4(addresses: Bytes) -> Mask:
    """Tell which of addresses, shape (n, 16), are IPv4."""
    prefix = np.frombuffer(MAPPED_PREFIX, np.uint8)
    mapped: Mask = (addresses[:, :12] == prefix).all(axis=1)
    return mapped


def parse_prefix(text: str) -> tuple[bytes, bytes]:
    """Read a CIDR prefix, or an address as a prefix of itself: first and last address.

    Raises:
        AddressError: ``text`` is no prefix, or has bits set after it.
    """
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise AddressError(f"{text!r} is no IPv4 or IPv6 prefix such as 192.0.2.0/24: {error}") from error
    before = MAPPED_PREFIX if network.version == 4 else b""
    return before + network[0].packed, before + network[-1].packed


def mask_addresses(addresses: Bytes, *, ipv4_bits: int, ipv6_bits: int) -> Bytes:
    """Keep the first bits of each address and clear the others.

    Args:
        addresses: shape (n, 16).
        ipv4_bits: 0..32, for IPv4-mapped addresses.
        ipv6_bits: 0..128, for all others.
    """
    masks = np.array([_make_mask(ipv6_bits), _make_mask(MAPPED_BITS + ipv4_bits)], np.uint8)
    masked: Bytes = addresses & masks[find_ipv4(addresses).astype(np.intp)]
    return masked


def _make_mask(bits: int) -> list[int]:
    if not 0 <= bits <= 128:
        raise AddressError(f"a prefix has 0 to 32 bits in IPv4 and 0 to 128 in IPv6, not {bits}")
    number = (1 << 128) - (1 << (128 - bits))
    return list(number.to_bytes(16, "big"))


class RangeTable:
    """Address ranges without overlap, looked up for many addresses at once."""

    def __init__(self, starts: Bytes, ends: Bytes) -> None:
        """Take the ranges.

        Args:
            starts: first address of each range, shape (m, 16), in any order.
            ends: last address of each range, inclusive, shape (m, 16).

        Raises:
            AddressError: a range ends before it starts, or two overlap.
        """
        firsts, lasts = _to_numbers(starts), _to_numbers(ends)
        order = sorted(range(len(firsts)), key=firsts.__getitem__)
        _check_ranges(firsts, lasts, order)
        self._order = np.array(order, np.int32)
        self._starts = _sort_key(starts)[self._order]
        self._ends = _sort_key(ends)[self._order]
        self._clip_to_ipv4(firsts, lasts, order)

    def _clip_to_ipv4(self, firsts: list[int], lasts: list[int], order: list[int]) -> None:
        """Keep the IPv4 part of each range as 32-bit numbers: nearly all addresses are IPv4."""
        inside = [row for row in order if firsts[row] <= _MAPPED_END and lasts[row] >= _MAPPED_START]
        self._v4_rows = np.array(inside, np.int32)
        self._v4_starts = np.array(
            [max(firsts[row], _MAPPED_START) - _MAPPED_START for row in inside], np.uint32
        )
        self._v4_ends = np.array([min(lasts[row], _MAPPED_END) - _MAPPED_START for row in inside], np.uint32)

    def lookup(self, addresses: Bytes) -> NDArray[np.int32]:
        """Give the number of the range that holds each address, as given at first, or -1.

        Args:
            addresses: shape (n, 16).
        """
        found = np.full(addresses.shape[0], -1, np.int32)
        is_v4 = find_ipv4(addresses)
        if is_v4.any() and self._v4_rows.size:
            numbers = np.ascontiguousarray(addresses[is_v4, 12:]).view(">u4")[:, 0].astype(np.uint32)
            found[is_v4] = _search(numbers, self._v4_starts, self._v4_ends, rows=self._v4_rows)
        is_v6 = ~is_v4
        if is_v6.any() and self._order.size:
            keys = _sort_key(addresses[is_v6])
            found[is_v6] = _search(keys, self._starts, self._ends, rows=self._order)
        return found


def _search(
    keys: NDArray[Any],
    starts: NDArray[Any],
    ends: NDArray[Any],
    *,
    rows: NDArray[np.int32],
) -> NDArray[np.int32]:
    at = np.searchsorted(starts, keys, side="right") - 1
    before = at < 0
    at[before] = 0
    inside = ~before & (keys <= ends[at])
    return np.where(inside, rows[at], np.int32(-1)).astype(np.int32)


def _sort_key(addresses: Bytes) -> NDArray[np.bytes_]:
    """See each address as a byte string of fixed length: numpy orders these by their bytes."""
    return np.ascontiguousarray(addresses).view("S16")[:, 0]


def _to_numbers(addresses: Bytes) -> list[int]:
    return [int.from_bytes(row.tobytes(), "big") for row in addresses]


def _check_ranges(firsts: list[int], lasts: list[int], order: list[int]) -> None:
    for row in order:
        if lasts[row] < firsts[row]:
            raise AddressError(f"range {row} ends at {_write(lasts[row])}, before {_write(firsts[row])}")
    for before, after in pairwise(order):
        if lasts[before] >= firsts[after]:
            raise AddressError(f"ranges {before} and {after} overlap at {_write(firsts[after])}")


def _write(number: int) -> str:
    return to_text(number.to_bytes(16, "big"))
