"""The transport layer of many packets: TCP, UDP, SCTP, DCCP, ICMP and ICMPv6.

Sources: RFC 9293 (TCP), RFC 768 (UDP), RFC 9260 (SCTP), RFC 4340 (DCCP), RFC 792
and RFC 4443 (ICMP). A field that is not wholly among the packet's own bytes is 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from teiten.traffic.marks import ParseMark
from teiten.traffic.parse_bytes import Bytes, Ints, Mask, gather_windows, read_u16, read_u32
from teiten.traffic.parse_network import NetworkLayer

ICMP, TCP, UDP, DCCP, ICMPV6, SCTP = 1, 6, 17, 33, 58, 132

#: Bytes of the fixed transport header by protocol; 0 where none is read.
_HEADER_BYTES = np.zeros(256, np.int32)
_HEADER_BYTES[[ICMP, TCP, UDP, DCCP, ICMPV6, SCTP]] = (8, 20, 8, 12, 8, 12)
_HAS_PORTS = np.zeros(256, np.bool_)
_HAS_PORTS[[TCP, UDP, DCCP, SCTP]] = True
_WINDOW_BYTES = 20


@dataclass
class TransportLayer:
    """What the transport headers of a block say; one entry per packet."""

    src_port: NDArray[np.uint16]
    dst_port: NDArray[np.uint16]
    icmp_type: NDArray[np.uint8]
    icmp_code: NDArray[np.uint8]
    tcp_flags: NDArray[np.uint16]
    tcp_seq: NDArray[np.uint32]
    tcp_ack: NDArray[np.uint32]
    tcp_window: NDArray[np.uint16]
    #: Option bytes among the packet's own captured bytes, and where they begin.
    options_at: Ints
    options_length: Ints
    #: Where the payload begins.
    payload_at: Ints
    #: Payload bytes by the IP header's statement.
    payload_length: Ints


def parse_transport(raw: Bytes, network: NetworkLayer) -> TransportLayer:
    """Read what follows the IP headers, and add its marks to ``network.marks``.

    Args:
        raw: C-contiguous, shape (n, width).
        network: the IP headers of the same packets.
    """
    at = network.headers_end
    first = network.whole & (network.fragment_offset == 0)
    kind = np.where(first, network.protocol, 255).astype(np.uint8)
    needed = _HEADER_BYTES[kind]
    room = network.own_end - at
    is_short = room < needed
    head = _align_heads(raw, at)
    present = np.flatnonzero(np.bincount(kind, minlength=256)).tolist()
    layer = _no_transport(at, needed)
    if _HAS_PORTS[present].any():
        _read_ports(head, layer, _HAS_PORTS[kind] & (room >= 4), network.marks)
    if TCP in present:
        _read_tcp(head, layer, network, kind == TCP, room)
    if UDP in present:
        _check_udp(head, network, (kind == UDP) & (room >= 6))
    if ICMP in present or ICMPV6 in present:
        _read_icmp(head, layer, ((kind == ICMP) | (kind == ICMPV6)) & (room >= 2))
    if DCCP in present:
        _measure_dccp(head, layer, network, (kind == DCCP) & ~is_short)
    _measure_payload(layer, network, is_short)
    return layer


def _align_heads(raw: Bytes, at: Ints) -> Bytes:
    """Give the 20 bytes from ``at`` of every row, without a copy where ``at`` is one number."""
    first, width = int(at[0]) if at.size else 0, raw.shape[1]
    if first + _WINDOW_BYTES <= width and (at == first).all():
        return raw[:, first : first + _WINDOW_BYTES]
    starts = np.minimum(at, width)
    return gather_windows(raw, np.arange(at.size), starts, size=_WINDOW_BYTES)


def _no_transport(at: Ints, needed: Ints) -> TransportLayer:
    count = at.size
    return TransportLayer(
        src_port=np.zeros(count, np.uint16),
        dst_port=np.zeros(count, np.uint16),
        icmp_type=np.zeros(count, np.uint8),
        icmp_code=np.zeros(count, np.uint8),
        tcp_flags=np.zeros(count, np.uint16),
        tcp_seq=np.zeros(count, np.uint32),
        tcp_ack=np.zeros(count, np.uint32),
        tcp_window=np.zeros(count, np.uint16),
        options_at=at,
        options_length=np.zeros(count, np.int32),
        payload_at=at + needed,
        payload_length=np.zeros(count, np.int32),
    )


def _read_ports(head: Bytes, layer: TransportLayer, where: Mask, marks: NDArray[np.uint16]) -> None:
    layer.src_port = read_u16(head, 0) * where
    layer.dst_port = read_u16(head, 2) * where
    marks |= where * np.uint16(ParseMark.HAS_PORTS)


def _read_tcp(head: Bytes, layer: TransportLayer, network: NetworkLayer, is_tcp: Mask, room: Ints) -> None:
    whole = is_tcp & (room >= 20)
    has_short = bool((is_tcp & ~whole).any())

    def keep(last: int) -> Mask:
        return is_tcp & (room >= last) if has_short else whole

    layer.tcp_seq = read_u32(head, 4) * keep(8)
    layer.tcp_ack = read_u32(head, 8) * keep(12)
    layer.tcp_flags = (read_u16(head, 12) & np.uint16(0x0FFF)) * keep(14)
    layer.tcp_window = read_u16(head, 14) * keep(16)
    _measure_tcp(layer, network, ((head[:, 12] >> 4) << 2).astype(np.int32), whole)


def _measure_tcp(layer: TransportLayer, network: NetworkLayer, header: Ints, whole: Mask) -> None:
    """Find options and payload from the data offset."""
    at = network.headers_end
    is_good = (header >= 20) & (at + header <= network.total_length) & whole
    bad = whole & ~is_good
    if bad.any():
        network.marks |= bad * np.uint16(ParseMark.BAD_DATA_OFFSET)
    layer.options_at = at + 20
    own = np.minimum(header, network.own_end - at) - 20
    layer.options_length = own * is_good
    # After a bad data offset nobody knows where the payload begins: it counts as absent.
    layer.payload_at = np.where(is_good, at + header, np.where(bad, network.total_length, layer.payload_at))


def _check_udp(head: Bytes, network: NetworkLayer, where: Mask) -> None:
    stated = read_u16(head, 4)
    room = network.total_length - network.headers_end
    # The first fragment carries the length of the whole datagram.
    beyond = (stated > room) & (network.ip_mf == 0)
    bad = where & ((stated < 8) | beyond)
    if bad.any():
        network.marks |= bad * np.uint16(ParseMark.BAD_UDP_LENGTH)


def _read_icmp(head: Bytes, layer: TransportLayer, where: Mask) -> None:
    layer.icmp_type = head[:, 0] * where
    layer.icmp_code = head[:, 1] * where


def _measure_dccp(head: Bytes, layer: TransportLayer, network: NetworkLayer, where: Mask) -> None:
    """Place the payload by DCCP's data offset, in words (RFC 4340 §5.1)."""
    end = network.headers_end + head[:, 4].astype(np.int32) * 4
    where = where & (end >= layer.payload_at) & (end <= network.total_length)
    layer.payload_at = np.where(where, end, layer.payload_at)


def _measure_payload(layer: TransportLayer, network: NetworkLayer, is_short: Mask) -> None:
    if is_short.any():
        network.marks |= (is_short & network.whole) * np.uint16(ParseMark.SHORT_TRANSPORT)
    has_payload = network.whole & ~is_short
    layer.payload_length = np.maximum(network.total_length - layer.payload_at, 0) * has_payload
