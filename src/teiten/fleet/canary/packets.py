"""The bytes of a canary: an IPv4 packet with its header, or what stands behind an IPv6 header. Pure."""

from __future__ import annotations

import ipaddress
import struct

from teiten.protocol.canary import TCP, Marks, Probe

_SYN = 0x02
_HOPS = 64
_DONT_FRAGMENT = 0x4000


def write_segment(probe: Probe, marks: Marks, *, source: str) -> bytes:
    """Give a TCP SYN without options (RFC 9293) or a UDP datagram (RFC 768), with its checksum."""
    port = probe.port
    if probe.protocol == TCP:
        head = struct.pack(
            ">HHIIBBHHH", marks.source_port, port, marks.sequence, 0, 5 << 4, _SYN, marks.window, 0, 0
        )
        place = 16
    else:
        head = struct.pack(">HHHH", marks.source_port, port, 8 + len(marks.payload), 0)
        place = 6
    segment = head + marks.payload
    checksum = _sum(_write_pseudo_header(probe, source, len(segment)) + segment)
    if probe.protocol != TCP and checksum == 0:
        checksum = 0xFFFF
    return segment[:place] + struct.pack(">H", checksum) + segment[place + 2 :]


def write_ipv4(probe: Probe, marks: Marks, *, source: str) -> bytes:
    """Give a whole IPv4 packet; the kernel writes length and checksum of its header (raw(7))."""
    segment = write_segment(probe, marks, source=source)
    addresses = ipaddress.IPv4Address(source).packed + ipaddress.IPv4Address(probe.target.address).packed
    head = struct.pack(
        ">BBHHHBBH", 0x45, 0, 20 + len(segment), marks.ip_id, _DONT_FRAGMENT, _HOPS, probe.protocol, 0
    )
    return head + addresses + segment


def _write_pseudo_header(probe: Probe, source: str, length: int) -> bytes:
    addresses = ipaddress.ip_address(source).packed + ipaddress.ip_address(probe.target.address).packed
    if len(addresses) == 8:
        return addresses + struct.pack(">BBH", 0, probe.protocol, length)
    return addresses + struct.pack(">IHBB", length, 0, 0, probe.protocol)


def _sum(data: bytes) -> int:
    """Give the Internet checksum (RFC 1071)."""
    words = struct.unpack(f">{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2))
    total: int = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
