"""The network layer of many packets: IPv4 with options, IPv6 with extension chains.

Sources: RFC 791 (IPv4), RFC 8200 (IPv6), RFC 4302 §2 (AH), RFC 3514 (the bit that
must be zero).

A packet's own bytes end at ``min(stated total length, captured bytes)``. Only the
fixed header, in which that length stands, is read by the captured bytes alone.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teiten.traffic.marks import ParseMark
from teiten.traffic.parse_bytes import Bytes, Ints, Mask, gather_windows, read_u16, read_u32

HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION = 0, 43, 44, 51, 60
#: More extension headers than this in one packet count as an impossible chain.
MAX_EXTENSION_HEADERS = 16

#: Bytes of the fixed header by the version nibble; 0 for what is no IP.
_FIXED_HEADER = np.zeros(16, np.int32)
_FIXED_HEADER[[4, 6]] = (20, 40)
_IS_EXTENSION = np.zeros(256, np.bool_)
_IS_EXTENSION[[HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION]] = True
_MAPPED_WORD = np.frombuffer(b"\x00\x00\xff\xff", np.uint32)[0]


@dataclass
class NetworkLayer:
    """What the IP headers of a block say; every array has one entry per packet."""

    ip_version: NDArray[np.uint8]
    src_addr: Bytes
    dst_addr: Bytes
    #: Upper-layer protocol, or the next-header number at which the chain stopped.
    protocol: NDArray[np.uint8]
    ttl: NDArray[np.uint8]
    tos: NDArray[np.uint8]
    ip_id: NDArray[np.uint32]
    ip_df: NDArray[np.uint8]
    ip_mf: NDArray[np.uint8]
    fragment_offset: NDArray[np.uint16]
    #: As the header states, bytes.
    total_length: Ints
    #: Where the IP headers end, bytes from the packet's start.
    headers_end: Ints
    #: Where the packet's own captured bytes end.
    own_end: Ints
    marks: NDArray[np.uint16]
    #: The IP headers are whole, so something may follow them.
    whole: Mask

    def put(self, rows: NDArray[np.intp], other: NetworkLayer) -> None:
        """Replace ``rows`` by the packets of ``other``."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(other, field.name)


def parse_network(raw: Bytes, captured: Ints, wire: Ints) -> NetworkLayer:
    """Read the IP headers.

    Args:
        raw: C-contiguous, shape (n, width), width at least 64; row begins at the IP header.
        captured: bytes of each row that belong to the capture, at most width.
        wire: bytes each packet had on the wire, at least ``captured``.
    """
    # Of an empty packet not even the version may be read.
    fixed = _FIXED_HEADER[raw[:, 0] >> 4] * (captured > 0)
    readable = captured >= fixed
    is_v4 = (fixed == 20) & readable
    if is_v4.all():
        return _parse_ipv4(raw, captured, wire)
    layer = _parse_ipv4(raw, captured, wire) if is_v4.any() else _no_ip(captured.size)
    six = np.flatnonzero((fixed == 40) & readable)
    if six.size:
        layer.put(six, _parse_ipv6(raw[six], captured[six], wire[six]))
    neither = np.flatnonzero((fixed == 0) | ~readable)
    if neither.size:
        layer.put(neither, _no_ip(neither.size))
        is_cut = np.minimum(fixed, wire)[neither] > captured[neither]
        layer.marks[neither] |= _mark(is_cut, ParseMark.CUT)
    return layer


def _mark(where: Mask, bit: ParseMark) -> NDArray[np.uint16]:
    return where * np.uint16(bit)


def _mark_rare(marks: NDArray[np.uint16], where: Mask, bit: ParseMark) -> None:
    if where.any():
        marks |= _mark(where, bit)


def _no_ip(count: int) -> NetworkLayer:
    def zeros(dtype: Any) -> Any:
        return np.zeros(count, dtype)

    return NetworkLayer(
        ip_version=zeros(np.uint8),
        src_addr=np.zeros((count, 16), np.uint8),
        dst_addr=np.zeros((count, 16), np.uint8),
        protocol=zeros(np.uint8),
        ttl=zeros(np.uint8),
        tos=zeros(np.uint8),
        ip_id=zeros(np.uint32),
        ip_df=zeros(np.uint8),
        ip_mf=zeros(np.uint8),
        fragment_offset=zeros(np.uint16),
        total_length=zeros(np.int32),
        headers_end=zeros(np.int32),
        own_end=zeros(np.int32),
        marks=np.full(count, ParseMark.NO_IP, np.uint16),
        whole=zeros(np.bool_),
    )


def _parse_ipv4(raw: Bytes, captured: Ints, wire: Ints) -> NetworkLayer:
    count = captured.size
    total = read_u16(raw, 2).astype(np.int32)
    header = ((raw[:, 0] & 0x0F) << 2).astype(np.int32)
    fragment = read_u16(raw, 6)
    offset: NDArray[np.uint16] = fragment & np.uint16(0x1FFF)
    own_end = np.minimum(total, captured)
    bad_header = (header < 20) | (header > np.minimum(total, wire))
    marks = np.zeros(count, np.uint16)
    _mark_rare(marks, bad_header, ParseMark.BAD_IP_HEADER)
    _mark_rare(marks, (total < np.maximum(header, 20)) | (total > wire), ParseMark.BAD_TOTAL_LENGTH)
    _mark_rare(marks, fragment >= 0x8000, ParseMark.RESERVED_BIT)
    _mark_rare(marks, header > 20, ParseMark.IP_OPTIONS)
    _mark_rare(marks, offset != 0, ParseMark.LATER_FRAGMENT)
    _mark_rare(marks, captured < np.minimum(total, wire), ParseMark.CUT)
    return NetworkLayer(
        ip_version=np.full(count, 4, np.uint8),
        src_addr=_map_ipv4(raw[:, 12:16]),
        dst_addr=_map_ipv4(raw[:, 16:20]),
        protocol=raw[:, 9].copy(),
        ttl=raw[:, 8].copy(),
        tos=raw[:, 1].copy(),
        ip_id=raw[:, 4:6].view(">u2")[:, 0].astype(np.uint32),
        ip_df=(raw[:, 6] >> np.uint8(6)) & np.uint8(1),
        ip_mf=(raw[:, 6] >> np.uint8(5)) & np.uint8(1),
        fragment_offset=offset,
        total_length=total,
        headers_end=header,
        own_end=own_end,
        marks=marks,
        whole=~bad_header & (header <= own_end),
    )


def _map_ipv4(address: Bytes) -> Bytes:
    """Write IPv4 addresses, shape (n, 4), as IPv4-mapped IPv6 (RFC 4291 §2.5.5.2)."""
    words = np.zeros((address.shape[0], 4), np.uint32)
    words[:, 2] = _MAPPED_WORD
    words[:, 3] = address.view(np.uint32)[:, 0]
    return words.view(np.uint8)


def _parse_ipv6(raw: Bytes, captured: Ints, wire: Ints) -> NetworkLayer:
    count = captured.size
    total = read_u16(raw, 4).astype(np.int32) + 40
    own_end = np.minimum(total, captured)
    marks = np.zeros(count, np.uint16)
    marks |= _mark(total > wire, ParseMark.BAD_TOTAL_LENGTH)
    marks |= _mark(captured < np.minimum(total, wire), ParseMark.CUT)
    layer = NetworkLayer(
        ip_version=np.full(count, 6, np.uint8),
        src_addr=raw[:, 8:24].copy(),
        dst_addr=raw[:, 24:40].copy(),
        protocol=raw[:, 6].copy(),
        ttl=raw[:, 7].copy(),
        tos=(read_u16(raw, 0) >> np.uint16(4)).astype(np.uint8),
        ip_id=np.zeros(count, np.uint32),
        ip_df=np.zeros(count, np.uint8),
        ip_mf=np.zeros(count, np.uint8),
        fragment_offset=np.zeros(count, np.uint16),
        total_length=total,
        headers_end=np.full(count, 40, np.int32),
        own_end=own_end,
        marks=marks,
        whole=np.ones(count, np.bool_),
    )
    _follow_extensions(raw, layer)
    return layer


def _follow_extensions(raw: Bytes, layer: NetworkLayer) -> None:
    """Walk all extension chains one header at a time, until none has a further one."""
    rows = np.flatnonzero(_IS_EXTENSION[layer.protocol])
    layer.marks[rows] |= np.uint16(ParseMark.EXTENSION_HEADERS)
    for _ in range(MAX_EXTENSION_HEADERS):
        if not rows.size:
            return
        rows = _follow_one(raw, layer, rows)
    _break_chain(layer, rows)


def _follow_one(raw: Bytes, layer: NetworkLayer, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Step over one extension header; return the rows that stand at another one."""
    starts = layer.headers_end[rows]
    head = gather_windows(raw, rows, starts, size=8)
    kind = layer.protocol[rows]
    units = head[:, 1].astype(np.int32)
    size = np.where(kind == AUTHENTICATION, (units + 2) * 4, (units + 1) * 8)
    size[kind == FRAGMENT] = 8
    fits = starts + size <= layer.own_end[rows]
    _break_chain(layer, rows[~fits])
    rows, head = rows[fits], head[fits]
    layer.headers_end[rows] += size[fits]
    layer.protocol[rows] = head[:, 0]
    is_fragment = kind[fits] == FRAGMENT
    _read_fragment(layer, rows[is_fragment], head[is_fragment])
    goes_on = _IS_EXTENSION[layer.protocol[rows]] & (layer.fragment_offset[rows] == 0)
    following: NDArray[np.intp] = rows[goes_on]
    return following


def _read_fragment(layer: NetworkLayer, rows: NDArray[np.intp], head: Bytes) -> None:
    if not rows.size:
        return
    word = read_u16(head, 2)
    layer.fragment_offset[rows] = word >> 3
    layer.ip_mf[rows] = word & 1
    layer.ip_id[rows] = read_u32(head, 4)
    layer.marks[rows] |= _mark(word >> 3 != 0, ParseMark.LATER_FRAGMENT)


def _break_chain(layer: NetworkLayer, rows: NDArray[np.intp]) -> None:
    layer.marks[rows] |= np.uint16(ParseMark.BAD_EXTENSION_CHAIN)
    layer.whole[rows] = False
