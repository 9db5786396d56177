"""Packet makers for what is not a SYN: UDP probes, ICMP, backscatter, leftovers, oddities."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np

from teiten.simulators import frames, hashes
from teiten.simulators.frames import ACK, DF, FIN, MF, PSH, RESERVED, RST, SYN, Segments
from teiten.simulators.hashes import I64, U8, U16, U32, U64
from teiten.simulators.payloads import PAYLOADS
from teiten.simulators.tools import MSS_1460, Draw, choose_port, random_id, tcp_segments

_ECHO_REQUEST, _UNREACHABLE, _TIME_EXCEEDED = 8, 3, 11
_ECHO_REQUEST_V6 = 128
_PORT_UNREACHABLE, _FILTERED = 3, 13
_LINUX_PING = bytes(range(16, 56))
_FRAGMENT_BODY = 64
#: IP headers that cannot be: header length 16, 60, total length 30, far too long.
_URG = 0x20


def make_udp_probe(draw: Draw) -> Segments:
    """A service's query from a scanner: raw sockets, TTL 255 or a kernel's 64, random source port."""
    ttl = np.where(hashes.field(draw.key, 11, 1) == 0, 255, 64).astype(np.uint8)
    return _udp(draw, choose_port(draw.packet, 1024), draw.service_port, ttl=ttl)


def make_udp_zmap(draw: Draw) -> Segments:
    """The same from ZMap's UDP module: TTL 255, IP id 54321 (packet.c), ports from 32768."""
    segments = _udp(draw, choose_port(draw.packet, 32768), draw.service_port, ttl=255)
    return replace(segments, ip_id=np.full(len(draw.key), 54321, np.uint32))


def make_reflection_trigger(draw: Draw) -> Segments:
    """A query in a victim's name: the victim's service as source port, always the same bytes."""
    ports = np.array([80, 443, 53, 22, 25565, 3074, 30120, 8080], np.uint16)
    source = ports[hashes.field(draw.run, 13, 3).astype(np.int64)]
    fixed = replace(draw, packet=draw.run)
    segments = _udp(fixed, source, draw.service_port, ttl=245)
    return replace(segments, ip_id=random_id(draw))


def make_leftover(draw: Draw) -> Segments:
    """Misconfiguration: datagrams for a service that moved away, with some stranger's bytes."""
    size = 8 + (hashes.field(draw.key, 30, 5)).astype(np.int64)
    words: U64 = hashes.mix(
        np.add(draw.run[:, None], np.arange(5, dtype=np.uint64)[None, :], dtype=np.uint64), 7
    )
    body = words.view(np.uint8).reshape(len(size), 40).copy()
    body[np.arange(40)[None, :] >= size[:, None]] = 0
    data = frames.lay_udp(
        src_port=choose_port(draw.run, 1024),
        dst_port=draw.service_port,
        payload=body,
        payload_length=size.astype(np.uint16),
    )
    return _udp_segments(draw, data, (size + 8).astype(np.uint16), ttl=64, fragment=DF)


def make_ping(draw: Draw) -> Segments:
    """An echo request of iputils: 8 bytes of time, then 0x10, 0x11 and so on."""
    return _icmp(draw, _ECHO_REQUEST, 0, rest=_echo_rest(draw), body=_ping_body(draw))


def make_ping_v6(draw: Draw) -> Segments:
    segments = _icmp(draw, _ECHO_REQUEST_V6, 0, rest=_echo_rest(draw), body=_ping_body(draw))
    return replace(segments, protocol=frames.ICMPV6)


def make_syn_ack(draw: Draw) -> Segments:
    """A victim's answer to a SYN that bore our address."""
    return _answer(draw, SYN | ACK, window=65535, options=MSS_1460)


def make_rst(draw: Draw) -> Segments:
    """A victim's refusal of the same."""
    return _answer(draw, RST | ACK, window=0, options=b"")


def make_unreachable(draw: Draw) -> Segments:
    """An ICMP error that quotes the packet sent in our name: its IP header and 8 bytes (RFC 792)."""
    expired = hashes.field(draw.run, 5, 2) == 0
    filtered = hashes.field(draw.run, 9, 1) == 0
    kind = np.where(expired, _TIME_EXCEEDED, _UNREACHABLE).astype(np.uint8)
    code = np.where(expired, 0, np.where(filtered, _FILTERED, _PORT_UNREACHABLE)).astype(np.uint8)
    quoted = frames.join_ipv4(_quoted_datagram(draw), draw.dst_v4, draw.src_v4)
    return _icmp(draw, kind, code, rest=np.zeros(len(code), np.uint32), body=quoted)


def make_stealth(draw: Draw) -> Segments:
    """Scans with odd flags: none, FIN, Xmas, FIN and SYN."""
    flags = np.array([0, FIN, FIN | PSH | _URG, FIN | SYN], np.uint8)
    chosen = flags[(draw.run % np.uint64(len(flags))).astype(np.int64)]
    data = frames.lay_tcp(
        src_port=choose_port(draw.packet, 1024),
        dst_port=draw.service_port,
        seq=hashes.field(draw.packet, 16, 32).astype(np.uint32),
        ack=0,
        flags=chosen,
        window=np.full(len(chosen), 1024, np.uint16),
    )
    return tcp_segments(draw, data, ttl=64, ip_id=random_id(draw), fragment=0)


def make_syn_payload(draw: Draw) -> Segments:
    """A SYN that already carries its request: no handshake, no state."""
    body, length = _fill_payloads(draw)
    header = frames.lay_tcp(
        src_port=choose_port(draw.packet, 1024),
        dst_port=draw.service_port,
        seq=hashes.field(draw.packet, 16, 32).astype(np.uint32),
        ack=0,
        flags=SYN,
        window=np.full(len(draw.key), 8192, np.uint16),
    )
    data = np.concatenate([header, body], axis=1)
    segments = tcp_segments(draw, data, ttl=64, ip_id=random_id(draw), fragment=0)
    return replace(segments, length=length + np.uint16(header.shape[1]))


def make_fragment(draw: Draw) -> Segments:
    """A datagram in pieces: the first with ports, later ones without."""
    later = hashes.field(draw.flow, 4, 1).astype(bool)
    count = len(later)
    body = np.full((count, _FRAGMENT_BODY), 0x41, np.uint8)
    length = np.full(count, _FRAGMENT_BODY, np.uint16)
    data = frames.lay_udp(
        src_port=choose_port(draw.flow, 1024), dst_port=draw.service_port, payload=body, payload_length=length
    )
    data[later, :8] = 0x41
    fragment = np.where(later, 9, MF).astype(np.uint16)
    segments = _udp_segments(draw, data, length + np.uint16(8), ttl=64, fragment=0)
    # The checksum covers the whole datagram, of which this is a piece: it cannot be right here.
    return replace(segments, fragment=fragment, checksum_at=-1)


def make_malformed(draw: Draw) -> Segments:
    """SYNs whose headers cannot be; :func:`spoil_headers` does the IP part."""
    data = frames.lay_tcp(
        src_port=choose_port(draw.packet, 1024),
        dst_port=draw.service_port,
        seq=hashes.field(draw.packet, 16, 32).astype(np.uint32),
        ack=0,
        flags=SYN,
        window=np.full(len(draw.key), 512, np.uint16),
    )
    spoilt = hashes.field(draw.packet, 3, 3) < 2
    data[spoilt, 12] = 3 << 4
    fragment = np.where(hashes.field(draw.packet, 3, 3) == 7, RESERVED, 0).astype(np.uint16)
    segments = tcp_segments(draw, data, ttl=64, ip_id=random_id(draw), fragment=0)
    return replace(segments, fragment=fragment)


def spoil_headers(packets: U8, packet_bits: U64) -> None:
    """Make IPv4 headers impossible, in place: header length, total length; the checksum stays right."""
    kind = hashes.field(packet_bits, 3, 3)
    packets[kind == 3, 0] = 0x44
    packets[kind == 4, 0] = 0x4F
    short, long = kind == 5, kind == 6
    packets[short, 2:4] = (0, 30)
    packets[long, 2:4] = (4, 0)
    packets[:, 10:12] = 0
    checksum = frames.fold_sum(frames.sum_words(packets[:, :20]))
    packets[:, 10:12] = checksum[:, None].view(np.uint8).reshape(-1, 2)


@functools.lru_cache(maxsize=1)
def _payload_table() -> tuple[U8, I64, I64, I64]:
    """Give all bodies as one zero-padded block, their lengths, and where each varies."""
    bodies = [payload.body for payload in PAYLOADS]
    block = np.zeros((len(bodies) + 1, max(map(len, bodies))), np.uint8)
    for row, body in enumerate(bodies):
        block[row, : len(body)] = np.frombuffer(body, np.uint8)
    lengths = np.array([*map(len, bodies), 0])
    return (
        block,
        lengths,
        np.array([*(p.vary_at for p in PAYLOADS), 0]),
        np.array([*(p.vary_bytes for p in PAYLOADS), 0]),
    )


def _fill_payloads(draw: Draw) -> tuple[U8, U16]:
    """Give each packet's body, cut to the longest that occurs, with its varying bytes filled in."""
    block, lengths, vary_at, vary_bytes = _payload_table()
    length = lengths[draw.payload]
    body = block[draw.payload, : max(1, int(length.max(initial=0)))]
    random = hashes.mix(draw.packet, 11).view(np.uint8).reshape(-1, 8)
    for offset in range(8):
        rows = np.flatnonzero(vary_bytes[draw.payload] > offset)
        body[rows, vary_at[draw.payload[rows]] + offset] = random[rows, offset]
    return body, length.astype(np.uint16)


def _udp(draw: Draw, src_port: U16, dst_port: U16, *, ttl: U8 | int) -> Segments:
    body, length = _fill_payloads(draw)
    data = frames.lay_udp(src_port=src_port, dst_port=dst_port, payload=body, payload_length=length)
    return _udp_segments(draw, data, length + np.uint16(8), ttl=ttl, fragment=0)


def _udp_segments(draw: Draw, data: U8, length: U16, *, ttl: U8 | int, fragment: int) -> Segments:
    count = len(draw.key)
    return Segments(
        protocol=frames.UDP,
        data=data,
        length=length,
        checksum_at=6,
        ttl=frames.ttl_after_hops(ttl, draw.key),
        ip_id=random_id(draw),
        fragment=np.full(count, fragment, np.uint16),
        tos=np.zeros(count, np.uint8),
    )


def _icmp(draw: Draw, kind: U8 | int, code: U8 | int, *, rest: U32, body: U8) -> Segments:
    data = frames.lay_icmp(kind=kind, code=code, rest=rest, body=body)
    count = len(draw.key)
    return Segments(
        protocol=frames.ICMP,
        data=data,
        length=np.full(count, data.shape[1], np.uint16),
        checksum_at=2,
        ttl=frames.ttl_after_hops(64, draw.key),
        ip_id=random_id(draw),
        fragment=np.zeros(count, np.uint16),
        tos=np.zeros(count, np.uint8),
    )


def _echo_rest(draw: Draw) -> U32:
    identifier = hashes.field(draw.run, 0, 16) << np.uint64(16)
    return (identifier | (draw.attempt.astype(np.uint64) + np.uint64(1))).astype(np.uint32)


def _ping_body(draw: Draw) -> U8:
    body = np.empty((len(draw.key), 8 + len(_LINUX_PING)), np.uint8)
    body[:, :8] = draw.at_us.astype("<i8")[:, None].view(np.uint8).reshape(-1, 8)
    body[:, 8:] = np.frombuffer(_LINUX_PING, np.uint8)
    return body


def _answer(draw: Draw, flags: int, *, window: int, options: bytes) -> Segments:
    count = len(draw.key)
    data = frames.lay_tcp(
        src_port=draw.service_port,
        dst_port=choose_port(draw.flow, 1024),
        seq=np.zeros(count, np.uint32) if flags & RST else hashes.field(draw.flow, 16, 32).astype(np.uint32),
        ack=hashes.field(draw.packet, 16, 32).astype(np.uint32),
        flags=flags,
        window=np.full(count, window, np.uint16),
        options=options,
    )
    return tcp_segments(draw, data, ttl=64, ip_id=np.zeros(count, np.uint32), fragment=DF)


def _quoted_datagram(draw: Draw) -> Segments:
    """The 8 bytes of the spoofed datagram that an ICMP error carries."""
    head = frames.lay_udp(
        src_port=choose_port(draw.flow, 1024),
        dst_port=draw.service_port,
        payload=np.zeros((len(draw.key), 0), np.uint8),
        payload_length=np.full(len(draw.key), 18, np.uint16),
    )
    segments = _udp_segments(draw, head, np.full(len(draw.key), 26, np.uint16), ttl=50, fragment=0)
    # The quoted checksum covered bytes that the router did not return; any value is right.
    return replace(segments, checksum_at=-1)
