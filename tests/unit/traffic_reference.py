"""A second parser, one packet at a time with struct, written apart from the vectorised one.

It states in plain Python what every wire column of a packet must be, and knows
only the packet's own bytes.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field

from teiten.traffic.marks import ParseMark as M

PORT_PROTOCOLS = {6, 17, 33, 132}
HEADER_SIZES = {1: 8, 58: 8, 6: 20, 17: 8, 33: 12, 132: 12}


@dataclass
class Expected:
    ip_version: int = 0
    src_addr: bytes = bytes(16)
    dst_addr: bytes = bytes(16)
    protocol: int = 0
    src_port: int = 0
    dst_port: int = 0
    icmp_type: int = 0
    icmp_code: int = 0
    tcp_flags: int = 0
    tcp_seq: int = 0
    tcp_ack: int = 0
    tcp_window: int = 0
    tcp_options: bytes = b""
    ttl: int = 0
    ip_id: int = 0
    ip_df: int = 0
    ip_mf: int = 0
    fragment_offset: int = 0
    tos: int = 0
    total_length: int = 0
    payload_length: int = 0
    payload_hash: int = 0
    payload: bytes = b""
    parse_marks: int = field(default=0)


def parse_reference(captured: bytes, wire_length: int, payload_bytes: int) -> Expected:
    """Parse one packet whose captured bytes are exactly ``captured``."""
    wire = max(wire_length, len(captured))
    version = captured[0] >> 4 if captured else 0
    fixed = {4: 20, 6: 40}.get(version)
    if fixed is None or len(captured) < fixed:
        marks = M.NO_IP
        if fixed is not None and len(captured) < min(fixed, wire):
            marks |= M.CUT
        return Expected(parse_marks=int(marks))
    row = Expected(ip_version=version)
    at = _read_v4(row, captured, wire) if version == 4 else _read_v6(row, captured, wire)
    if row.fragment_offset:
        row.parse_marks |= M.LATER_FRAGMENT
    if len(captured) < min(row.total_length, wire):
        row.parse_marks |= M.CUT
    if at is not None:
        _read_rest(row, captured[: row.total_length], at, payload_bytes)
    row.parse_marks = int(row.parse_marks)
    return row


def _read_v4(row: Expected, captured: bytes, wire: int) -> int | None:
    first, row.tos, row.total_length, row.ip_id, fragment, row.ttl, row.protocol, _, src, dst = struct.unpack(
        ">BBHHHBBH4s4s", captured[:20]
    )
    row.src_addr, row.dst_addr = (bytes(10) + b"\xff\xff" + a for a in (src, dst))
    row.ip_df, row.ip_mf, row.fragment_offset = fragment >> 14 & 1, fragment >> 13 & 1, fragment & 0x1FFF
    header = (first & 15) * 4
    if fragment >> 15:
        row.parse_marks |= M.RESERVED_BIT
    if header > 20:
        row.parse_marks |= M.IP_OPTIONS
    if row.total_length < max(header, 20) or row.total_length > wire:
        row.parse_marks |= M.BAD_TOTAL_LENGTH
    if header < 20 or header > row.total_length or header > wire:
        row.parse_marks |= M.BAD_IP_HEADER
        return None
    return header if header <= min(len(captured), row.total_length) else None


def _read_v6(row: Expected, captured: bytes, wire: int) -> int | None:
    word, length, row.protocol, row.ttl = struct.unpack(">IHBB", captured[:8])
    row.src_addr, row.dst_addr = captured[8:24], captured[24:40]
    row.tos = word >> 20 & 0xFF
    row.total_length = 40 + length
    if row.total_length > wire:
        row.parse_marks |= M.BAD_TOTAL_LENGTH
    own, at = captured[: row.total_length], 40
    if row.protocol in (0, 43, 44, 51, 60):
        row.parse_marks |= M.EXTENSION_HEADERS
    for _ in range(16):
        kind = row.protocol
        if kind not in (0, 43, 44, 51, 60) or row.fragment_offset:
            return at
        if len(own) < at + 8:
            break
        size = 8 if kind == 44 else (own[at + 1] + 2) * 4 if kind == 51 else (own[at + 1] + 1) * 8
        if len(own) < at + size:
            break
        row.protocol = own[at]
        if kind == 44:
            offset, row.ip_id = struct.unpack(">HI", own[at + 2 : at + 8])
            row.fragment_offset, row.ip_mf = offset >> 3, offset & 1
        at += size
    if row.protocol in (0, 43, 44, 51, 60) and not row.fragment_offset:
        row.parse_marks |= M.BAD_EXTENSION_CHAIN
        return None
    return at


def _read_rest(row: Expected, own: bytes, at: int, payload_bytes: int) -> None:
    head = own[at:]
    kind = None if row.fragment_offset else row.protocol
    size = HEADER_SIZES.get(kind, 0)
    if kind in PORT_PROTOCOLS and len(head) >= 4:
        row.src_port, row.dst_port = struct.unpack(">HH", head[:4])
        row.parse_marks |= M.HAS_PORTS
    if kind in (1, 58) and len(head) >= 2:
        row.icmp_type, row.icmp_code = head[0], head[1]
    if kind == 17 and len(head) >= 6:
        stated = int.from_bytes(head[4:6], "big")
        if stated < 8 or (stated > row.total_length - at and not row.ip_mf):
            row.parse_marks |= M.BAD_UDP_LENGTH
    if kind == 6:
        for name, start, end, bits in (
            ("tcp_seq", 4, 8, 0xFFFFFFFF),
            ("tcp_ack", 8, 12, 0xFFFFFFFF),
            ("tcp_flags", 12, 14, 0xFFF),
            ("tcp_window", 14, 16, 0xFFFF),
        ):
            if len(head) >= end:
                setattr(row, name, int.from_bytes(head[start:end], "big") & bits)
    if len(head) < size:
        row.parse_marks |= M.SHORT_TRANSPORT
        return
    if kind == 6:
        size = (head[12] >> 4) * 4
        if size < 20 or at + size > row.total_length:
            row.parse_marks |= M.BAD_DATA_OFFSET
            return
        row.tcp_options = head[20:size]
    if kind == 33 and 12 <= head[4] * 4 <= row.total_length - at:
        size = head[4] * 4
    payload = head[size:]
    row.payload_length = row.total_length - at - size
    row.payload = payload[:payload_bytes]
    if payload:
        row.payload_hash = int.from_bytes(hashlib.blake2b(payload, digest_size=8).digest(), "little")
