"""Addresses as 16 bytes, IPv4 mapped into IPv6, one or many at a time.

Everything in a column is an IPv6 address; IPv4 addresses are written as
``::ffff:a.b.c.d`` (RFC 4291 §2.5.5.2) and shown as ``a.b.c.d``. Prefix lengths given
as text count bits of the family shown; in bytes they count bits of 128.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teiten.traffic.errors import AddressError
from teiten.traffic.parse_bytes import Bytes, Mask

MAPPED_PREFIX = bytes(10) + b"\xff\xff"
#: Bits of 128 that come before an IPv4 address.
MAPPED_BITS = 96

#: The lower 8 bytes of an IPv4-mapped address are this half and the IPv4 address.
_MAPPED_HALF = np.uint64(0xFFFF)
_MAPPED_START = np.uint64(0xFFFF_0000_0000)
_MAPPED_END = np.uint64(0xFFFF_FFFF_FFFF)


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
    packed = address if isinstance(address, bytes) else address.tobytes()
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
    high, low = _to_words(addresses)
    mapped: Mask = np.logical_and(high == 0, low >> np.uint64(32) == _MAPPED_HALF)
    return mapped


def _to_words(addresses: Bytes) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """See addresses as two numbers each, in host order."""
    words = np.ascontiguousarray(addresses).view(">u8").astype(np.uint64)
    return words[:, 0], words[:, 1]


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
        high, low = _to_words(starts)
        order = np.lexsort((low, high))
        self._order = order.astype(np.int32)
        self._starts = _sort_key(starts)[order]
        self._ends = _sort_key(ends)[order]
        _check_ranges(starts, ends, order)
        self._clip_to_ipv4(starts[order], ends[order])

    def _clip_to_ipv4(self, starts: Bytes, ends: Bytes) -> None:
        """Keep the IPv4 part of each range as 32-bit numbers: nearly all addresses are IPv4."""
        start_high, start_low = _to_words(starts)
        end_high, end_low = _to_words(ends)
        begins_before_end = (start_high == 0) & (start_low <= _MAPPED_END)
        ends_after_start = (end_high > 0) | (end_low >= _MAPPED_START)
        rows = np.flatnonzero(begins_before_end & ends_after_start)
        first = np.maximum(start_low[rows], _MAPPED_START) - _MAPPED_START
        ends_inside = (end_high[rows] == 0) & (end_low[rows] <= _MAPPED_END)
        last = np.where(ends_inside, end_low[rows], _MAPPED_END) - _MAPPED_START
        self._v4_rows = self._order[rows]
        self._v4_starts = first.astype(np.uint32)
        self._v4_ends = last.astype(np.uint32)

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


def _check_ranges(starts: Bytes, ends: Bytes, order: NDArray[np.intp]) -> None:
    backward = np.flatnonzero(_sort_key(ends) < _sort_key(starts))
    if backward.size:
        row = int(backward[0])
        raise AddressError(f"range {row} ends at {to_text(ends[row])}, before {to_text(starts[row])}")
    overlaps = np.flatnonzero(_sort_key(ends)[order[:-1]] >= _sort_key(starts)[order[1:]])
    if overlaps.size:
        before, after = order[overlaps[0]], order[overlaps[0] + 1]
        raise AddressError(f"ranges {before} and {after} overlap at {to_text(starts[after])}")
