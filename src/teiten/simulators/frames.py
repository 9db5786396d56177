"""Packet bytes: headers laid as numpy records, checksums summed over whole blocks.

One's-complement sums do not care about byte order (RFC 1071 §2 (B)), so words are
added as the machine reads them and stored the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from teiten.simulators.hashes import I64, U8, U16, U32, U64

Records: TypeAlias = np.ndarray[Any, Any]

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10

_IPV4 = np.dtype(
    [
        ("version_ihl", "u1"), ("tos", "u1"), ("total_length", ">u2"), ("ip_id", ">u2"), ("fragment", ">u2"),
        ("ttl", "u1"), ("protocol", "u1"), ("checksum", "u2"), ("src", ">u4"), ("dst", ">u4"),
    ]
)  # fmt: skip
_IPV6 = np.dtype(
    [
        ("version_flow", ">u4"), ("payload_length", ">u2"), ("next_header", "u1"), ("hop_limit", "u1"),
        ("src", "u1", 16), ("dst", "u1", 16),
    ]
)  # fmt: skip
_TCP_FIELDS = [
    ("src_port", ">u2"), ("dst_port", ">u2"), ("seq", ">u4"), ("ack", ">u4"), ("offset", "u1"), ("flags", "u1"),
    ("window", ">u2"), ("checksum", "u2"), ("urgent", ">u2"),
]  # fmt: skip
_UDP_FIELDS = [("src_port", ">u2"), ("dst_port", ">u2"), ("length", ">u2"), ("checksum", "u2")]
_ICMP_FIELDS = [("type", "u1"), ("code", "u1"), ("checksum", "u2"), ("rest", ">u4")]

DF, MF, RESERVED = 0x4000, 0x2000, 0x8000


@dataclass
class Segments:
    """``n`` upper-layer packets of one protocol, checksum still to come.

    ``data`` is (n, width) and zero beyond each row's ``length``: the sum relies on it.
    """

    protocol: int
    data: U8
    #: Bytes of each row that belong to the packet.
    length: U16
    #: Where the checksum stands in ``data``.
    checksum_at: int
    #: TTL or hop limit as sent.
    ttl: U8
    ip_id: U32
    #: DF, MF and reserved bits, and the offset in 8 bytes.
    fragment: U16
    tos: U8


def lay_tcp(
    *,
    src_port: U16,
    dst_port: U16,
    seq: U32,
    ack: U32 | int,
    flags: U8 | int,
    window: U16 | int,
    options: U8 | bytes = b"",
) -> U8:
    """Give TCP headers as (n, 20 + options) bytes; options are a multiple of four, alike for all or per row."""
    width = len(options) if isinstance(options, bytes) else options.shape[1]
    kind = np.dtype([*_TCP_FIELDS, ("options", "u1", width)])
    records = np.zeros(len(seq), kind)
    records["src_port"], records["dst_port"] = src_port, dst_port
    records["seq"], records["ack"] = seq, ack
    records["offset"] = (5 + width // 4) << 4
    records["flags"], records["window"] = flags, window
    records["options"] = np.frombuffer(options, np.uint8) if isinstance(options, bytes) else options
    return _as_bytes(records)


def lay_udp(*, src_port: U16, dst_port: U16, payload: U8, payload_length: U16) -> U8:
    """Give UDP datagrams; ``payload`` is (n, width), zero beyond ``payload_length``."""
    kind = np.dtype([*_UDP_FIELDS, ("payload", "u1", payload.shape[1])])
    records = np.zeros(len(src_port), kind)
    records["src_port"], records["dst_port"] = src_port, dst_port
    records["length"], records["payload"] = payload_length + np.uint16(8), payload
    return _as_bytes(records)


def lay_icmp(*, kind: U8 | int, code: U8 | int, rest: U32 | int, body: U8) -> U8:
    """Give ICMP or ICMPv6 messages: type, code, four bytes, body (n, width)."""
    records = np.zeros(len(body), np.dtype([*_ICMP_FIELDS, ("body", "u1", body.shape[1])]))
    records["type"], records["code"], records["rest"], records["body"] = kind, code, rest, body
    return _as_bytes(records)


def join_ipv4(segments: Segments, src: U32, dst: U32) -> U8:
    """Put IPv4 headers before the segments and fill in both checksums; rows are (n, 20 + width)."""
    count = len(src)
    header = np.zeros(count, _IPV4)
    header["version_ihl"], header["tos"] = 0x45, segments.tos
    header["total_length"] = segments.length + np.uint16(20)
    header["ip_id"], header["fragment"] = segments.ip_id & np.uint32(0xFFFF), segments.fragment
    header["ttl"], header["protocol"] = segments.ttl, segments.protocol
    header["src"], header["dst"] = src, dst
    header["checksum"] = fold_sum(sum_words(_as_bytes(header)))
    packets = np.empty((count, 20 + segments.data.shape[1]), np.uint8)
    packets[:, :20] = _as_bytes(header)
    packets[:, 20:] = segments.data
    base = None if segments.protocol == ICMP else packets[:, 12:20]
    _store_checksum(packets[:, 20:], segments, pseudo=base)
    return packets


def join_ipv6(segments: Segments, src: U8, dst: U8, flow_label: U32) -> U8:
    """Put IPv6 headers before the segments; ``src`` and ``dst`` are (n, 16)."""
    count = len(src)
    header = np.zeros(count, _IPV6)
    header["version_flow"] = np.uint32(0x60000000) | (flow_label & np.uint32(0xFFFFF))
    header["payload_length"], header["next_header"] = segments.length, segments.protocol
    header["hop_limit"], header["src"], header["dst"] = segments.ttl, src, dst
    packets = np.empty((count, 40 + segments.data.shape[1]), np.uint8)
    packets[:, :40] = _as_bytes(header)
    packets[:, 40:] = segments.data
    _store_checksum(packets[:, 40:], segments, pseudo=packets[:, 8:40])
    return packets


def sum_words(data: U8) -> U32:
    """Add the 16-bit words of each row, without the final carry; odd widths are padded with a zero."""
    if data.shape[1] % 2:
        data = np.pad(data, ((0, 0), (0, 1)))
    words: NDArray[np.uint16] = np.ascontiguousarray(data).view(np.uint16)
    return np.asarray(words.sum(axis=1, dtype=np.uint32), dtype=np.uint32)


def fold_sum(sums: U32) -> U16:
    """Fold the carries in and take the complement (RFC 1071)."""
    folded = (sums & np.uint32(0xFFFF)) + (sums >> np.uint32(16))
    folded = (folded & np.uint32(0xFFFF)) + (folded >> np.uint32(16))
    return np.asarray(~folded, dtype=np.uint32).astype(np.uint16)


def network_order(value: U16 | int) -> Any:
    """Give 16-bit numbers as the machine reads them from network bytes."""
    return np.asarray(value, dtype=">u2").view(np.uint16)


def ttl_after_hops(initial: U8 | int, key: U64) -> U8:
    """Take 5 to 27 hops off, always the same for a source."""
    hops = ((key >> np.uint64(17)) % np.uint64(23) + np.uint64(5)).astype(np.int64)
    initials: I64 = np.asarray(initial, dtype=np.int64)
    return np.asarray(np.maximum(initials - hops, 1), dtype=np.uint8)


def _store_checksum(upper: U8, segments: Segments, pseudo: U8 | None) -> None:
    place = segments.checksum_at
    if place < 0:
        return
    sums = sum_words(upper)
    if pseudo is not None:
        sums = sums + sum_words(pseudo) + network_order(segments.length).astype(np.uint32)
        sums = sums + np.uint32(network_order(segments.protocol))
    checksum = fold_sum(sums)
    if segments.protocol == UDP:
        checksum = np.where(checksum == 0, np.uint16(0xFFFF), checksum)
    upper[:, place : place + 2] = checksum[:, None].view(np.uint8).reshape(-1, 2)


def _as_bytes(records: Records) -> U8:
    return cast("U8", records.view(np.uint8).reshape(len(records), records.dtype.itemsize))
