"""Packet makers: one function per tool, from the tool's own formula.

Each takes a :class:`Draw` and gives the upper-layer packets. Where a field is
random in the tool, it comes from the draw's bits; where the tool fixes it per run,
from the source's key and the day. Sources of the formulas are in ``docs/simulators.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from teiten.simulators import frames, hashes
from teiten.simulators.frames import DF, SYN, Segments
from teiten.simulators.hashes import I64, U8, U16, U32, U64

_NO_TOS = np.uint8(0)
#: Default options of ZMap from 4.1 on (src/probe_modules/packet.c): MSS 1460, window scale 8, SACK.
ZMAP_OPTIONS = bytes.fromhex("020405b40103030801010402")
MSS_1460 = bytes.fromhex("020405b4")
_WINDOWS_OPTIONS = bytes.fromhex("020405b40103030801010402")
_MIRAI_TTL, _RAW_TTL = 64, 255


@dataclass(frozen=True)
class Draw:
    """What is known of ``n`` packets before their bytes are made."""

    #: Source and destination, IPv4; 0 in IPv6 streams.
    src_v4: U32
    dst_v4: U32
    #: The service that the packet is about: where a scan goes, where backscatter comes from.
    service_port: U16
    #: Index into :data:`teiten.simulators.payloads.PAYLOADS`; -1 for none.
    payload: I64
    #: The source's identity.
    key: U64
    #: The source's identity during this day: what a program fixes when it starts.
    run: U64
    #: Random bits of the connection, the same for its repeats.
    flow: U64
    #: Random bits of the packet.
    packet: U64
    #: 0 for the first try of a connection, then 1, 2, …
    attempt: U8
    at_us: I64

    def take(self, index: I64) -> Draw:
        return Draw(**{name: values[index] for name, values in vars(self).items()})


Maker: TypeAlias = Callable[[Draw], Segments]


def make_mirai(draw: Draw) -> Segments:
    """Sequence number = destination, bare header, window and source port fixed per run (scanner.c)."""
    port = choose_port(draw.run, 1024)
    window = hashes.field(draw.run, 20, 16).astype(np.uint16)
    return _syn(draw, port, seq=draw.dst_v4, window=window, ttl=_MIRAI_TTL, ip_id=random_id(draw), df=False)


def make_masscan_old(draw: Draw) -> Segments:
    """Before 2023-11-07: no options; IP id = destination ^ port ^ sequence (templ-pkt.c)."""
    return _masscan(draw, b"")


def make_masscan_new(draw: Draw) -> Segments:
    """From 2023-11-07 (4f89257): the same with MSS 1460."""
    return _masscan(draw, MSS_1460)


def make_zmap_old(draw: Draw) -> Segments:
    """Up to 4.0: IP id 54321, window 65535, MSS 1460 only (packet.c)."""
    ip_id = np.full(len(draw.key), 54321, np.uint32)
    return _zmap(draw, MSS_1460, ip_id)


def make_zmap_new(draw: Draw) -> Segments:
    """From 4.1: random IP id (b0190cc), options as Windows orders them (c88db29)."""
    return _zmap(draw, ZMAP_OPTIONS, random_id(draw))


def make_nmap(draw: Draw) -> Segments:
    """SYN scan: sequence = mask ^ (twice the try, mirrored); window from the TTL; MSS 1460 (scan_engine_raw.cc)."""
    info = draw.attempt.astype(np.uint32) << np.uint32(1)
    seq = (draw.run >> np.uint64(32)).astype(np.uint32) ^ ((info << np.uint32(16)) | info)
    ttl = (np.uint64(37) + draw.packet % np.uint64(23)).astype(np.uint8)
    window = (np.uint16(1024) * (ttl % 4 + 1)).astype(np.uint16)
    port = (np.uint64(33000) + hashes.field(draw.run, 0, 14) + draw.attempt).astype(np.uint16)
    return _syn(
        draw, port, seq=seq, window=window, ttl=ttl, ip_id=random_id(draw), df=False, options=MSS_1460
    )


def make_linux(draw: Draw) -> Segments:
    """A kernel's connect(): MSS, SACK, timestamps, window scale 7; a new source port each time."""
    window = np.where(hashes.field(draw.key, 9, 2) == 0, 29200, 64240).astype(np.uint16)
    return _syn(
        draw,
        choose_port(draw.flow, 32768),
        seq=hashes.field(draw.flow, 16, 32).astype(np.uint32),
        window=window,
        ttl=64,
        ip_id=(hashes.field(draw.flow, 48, 16) + draw.attempt).astype(np.uint32),
        df=True,
        options=_timestamp_options(draw, mss=np.full(len(draw.key), 1460), scale=7),
    )


def make_embedded(draw: Draw) -> Segments:
    """Old small Linux behind PPPoE or a mobile network: smaller MSS and windows, narrow scale."""
    choice = hashes.field(draw.key, 3, 3).astype(np.int64)
    mss = np.array([1460, 1452, 1440, 1412, 1400, 1452, 1360, 1460])[choice]
    windows = np.array([5840, 14520, 14400, 5648, 14000, 5808, 5440, 14600], np.uint16)
    return _syn(
        draw,
        choose_port(draw.flow, 32768),
        seq=hashes.field(draw.flow, 16, 32).astype(np.uint32),
        window=windows[choice],
        ttl=64,
        ip_id=(hashes.field(draw.flow, 48, 16) + draw.attempt).astype(np.uint32),
        df=True,
        options=_timestamp_options(draw, mss=mss, scale=2),
    )


def make_windows(draw: Draw) -> Segments:
    """A Windows connect(): MSS, NOP, scale 8, NOP, NOP, SACK; TTL from 128."""
    window = np.where(hashes.field(draw.key, 9, 1) == 0, 8192, 64240).astype(np.uint16)
    return _syn(
        draw,
        choose_port(draw.flow, 49152),
        seq=hashes.field(draw.flow, 16, 32).astype(np.uint32),
        window=window,
        ttl=128,
        ip_id=(hashes.field(draw.flow, 48, 16) + draw.attempt).astype(np.uint32),
        df=True,
        options=_WINDOWS_OPTIONS,
    )


def make_custom(draw: Draw) -> Segments:
    """A raw-socket scanner of one's own: MSS only, a window fixed per program, random id."""
    windows = np.array([16384, 42340, 21900, 65535, 14600, 5840, 32120, 8192], np.uint16)
    ttl = np.where(hashes.field(draw.key, 21, 2) == 0, 128, 64).astype(np.uint8)
    return _syn(
        draw,
        choose_port(draw.packet, 10240),
        seq=hashes.field(draw.packet, 16, 32).astype(np.uint32),
        window=windows[hashes.field(draw.key, 5, 3).astype(np.int64)],
        ttl=ttl,
        ip_id=random_id(draw),
        df=False,
        options=MSS_1460,
    )


def _masscan(draw: Draw, options: bytes) -> Segments:
    """TTL 255, window 1024, one source port per run, sequence = a SipHash cookie (random to us)."""
    seq = hashes.field(draw.packet, 16, 32).astype(np.uint32)
    ip_id = (draw.dst_v4 ^ draw.service_port ^ seq) & np.uint32(0xFFFF)
    port = (np.uint64(40000) + hashes.field(draw.run, 3, 14)).astype(np.uint16)
    window = np.full(len(seq), 1024, np.uint16)
    return _syn(draw, port, seq=seq, window=window, ttl=_RAW_TTL, ip_id=ip_id, df=False, options=options)


def _zmap(draw: Draw, options: bytes, ip_id: U32) -> Segments:
    """TTL 255, window 65535; port and sequence from the keyed hash of the target (random to us)."""
    window = np.full(len(ip_id), 65535, np.uint16)
    seq = hashes.field(draw.packet, 16, 32).astype(np.uint32)
    port = choose_port(draw.packet, 32768)
    return _syn(draw, port, seq=seq, window=window, ttl=_RAW_TTL, ip_id=ip_id, df=False, options=options)


def _syn(
    draw: Draw,
    src_port: U16,
    *,
    seq: U32,
    window: U16,
    ttl: U8 | int,
    ip_id: U32,
    df: bool,
    options: U8 | bytes = b"",
) -> Segments:
    data = frames.lay_tcp(
        src_port=src_port,
        dst_port=draw.service_port,
        seq=seq,
        ack=0,
        flags=SYN,
        window=window,
        options=options,
    )
    return tcp_segments(draw, data, ttl=ttl, ip_id=ip_id, fragment=DF if df else 0)


def tcp_segments(draw: Draw, data: U8, *, ttl: U8 | int, ip_id: U32, fragment: int) -> Segments:
    count = len(draw.key)
    return Segments(
        protocol=frames.TCP,
        data=data,
        length=np.full(count, data.shape[1], np.uint16),
        checksum_at=16,
        ttl=frames.ttl_after_hops(ttl, draw.key),
        ip_id=ip_id,
        fragment=np.full(count, fragment, np.uint16),
        tos=np.full(count, _NO_TOS),
    )


def _timestamp_options(draw: Draw, *, mss: I64, scale: int) -> U8:
    """MSS, SACK permitted, timestamps, NOP, window scale: 20 bytes, as Linux writes them."""
    template = bytes.fromhex("020400000402080a000000000000000001030300")
    options = np.tile(np.frombuffer(template, np.uint8), (len(draw.key), 1))
    options[:, 2:4] = mss.astype(">u2")[:, None].view(np.uint8).reshape(-1, 2)
    uptime = hashes.field(draw.run, 7, 31) + (draw.at_us // 1000).astype(np.uint64)
    clock = (uptime & np.uint64(0xFFFFFFFF)).astype(">u4")
    options[:, 8:12] = clock[:, None].view(np.uint8).reshape(-1, 4)
    options[:, 19] = scale
    return options


def choose_port(bits: U64, lowest: int) -> U16:
    """Choose a port from ``lowest`` to 65535."""
    span = np.uint64(65536 - lowest)
    return (np.uint64(lowest) + (bits & np.uint64(0xFFFF)) % span).astype(np.uint16)


def random_id(draw: Draw) -> U32:
    return hashes.field(draw.packet, 48, 16).astype(np.uint32)
