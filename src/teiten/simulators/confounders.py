"""Senders that a rule may mistake for a tool, and tools in company: what measuring rules needs.

The telescope's tools are written from the formulas that the rules look for, so they alone
would flatter the rules. These senders share some of a tool's fields, or all but one, on
purpose; others are real tools behind a NAT with somebody else's packets. Not made, because
no rule on headers can tell it: a program that writes every field as a tool does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from teiten.simulators import frames, hashes, tools
from teiten.simulators.frames import DF, SYN, Segments
from teiten.simulators.hashes import U8, U16, U32, U64
from teiten.simulators.labels import Tool
from teiten.simulators.tools import MSS_1460, ZMAP_OPTIONS, Draw, Maker, choose_port, random_id

#: Where the sources stand: 240.0.0.0/4, apart from the telescope's.
_FIRST_SOURCE = 0xFE000000
#: 198.51.100.0/24.
_FIRST_TARGET, _TARGETS = 0xC6336400, 256
_PORTS = np.array([22, 23, 80, 443, 445, 2323, 3389, 5900, 6379, 8080, 8443, 9200], np.uint16)
_DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Sender:
    """Sources of one kind; each source sends packets of every maker, with its truth."""

    name: str
    #: Maker and the tool that it is; None for whatever is no tool.
    makers: tuple[tuple[Maker, Tool | None], ...]
    #: A source tries each destination so often.
    tries: int = 1


@dataclass(frozen=True)
class Sample:
    """Packets of one kind of sender."""

    name: str
    #: Shape (n, width), from the IP header on.
    raw: U8
    #: The source's number, and the tool that made the packet (0: none).
    source: U64
    tool: U8


def _lay(
    draw: Draw, *, seq: U32, ip_id: U32, window: U16, ttl: int, options: bytes = b"", df: bool = False
) -> Segments:
    data = frames.lay_tcp(
        src_port=choose_port(draw.packet, 1024),
        dst_port=draw.service_port,
        seq=seq,
        ack=0,
        flags=SYN,
        window=window,
        options=options,
    )
    return tools.tcp_segments(draw, data, ttl=ttl, ip_id=ip_id, fragment=DF if df else 0)


def _random_seq(draw: Draw) -> U32:
    return hashes.field(draw.packet, 16, 32).astype(np.uint32)


def _masscan_id(draw: Draw, seq: U32) -> U32:
    return (draw.dst_v4 ^ draw.service_port ^ seq) & np.uint32(0xFFFF)


def _fill(draw: Draw, value: int) -> U16:
    return np.full(len(draw.key), value, np.uint16)


def make_hping(draw: Draw) -> Segments:
    """``hping3 -S``: window 512, no options, TTL 64, random sequence and id."""
    return _lay(draw, seq=_random_seq(draw), ip_id=random_id(draw), window=_fill(draw, 512), ttl=64)


def make_masscan_shape(draw: Draw) -> Segments:
    """``hping3 -S -w 1024 -t 255``: everything of Masscan but its id."""
    return _lay(draw, seq=_random_seq(draw), ip_id=random_id(draw), window=_fill(draw, 1024), ttl=255)


def make_masscan_shape_mss(draw: Draw) -> Segments:
    return replace(
        _lay(
            draw,
            seq=_random_seq(draw),
            ip_id=random_id(draw),
            window=_fill(draw, 1024),
            ttl=255,
            options=MSS_1460,
        )
    )


def make_masscan_id(draw: Draw) -> Segments:
    """Masscan's id from a kernel-like header: TTL 64, window 29200."""
    seq = _random_seq(draw)
    return _lay(
        draw, seq=seq, ip_id=_masscan_id(draw, seq), window=_fill(draw, 29200), ttl=64, options=MSS_1460
    )


def make_zmap_id(draw: Draw) -> Segments:
    """ZMap's id alone: TTL 64, window 8192."""
    ip_id = np.full(len(draw.key), 54321, np.uint32)
    return _lay(draw, seq=_random_seq(draw), ip_id=ip_id, window=_fill(draw, 8192), ttl=64)


def make_zmap_shape(draw: Draw) -> Segments:
    """An older ZMap's header with a random id and no options: ZMap's own, or somebody's copy; no rule's."""
    return _lay(draw, seq=_random_seq(draw), ip_id=random_id(draw), window=_fill(draw, 65535), ttl=255)


def make_windows_copy(draw: Draw) -> Segments:
    """The option bytes of ZMap 4.1 with a real Windows' TTL and DF."""
    return _lay(
        draw, seq=_random_seq(draw), ip_id=random_id(draw), window=_fill(draw, 65535), ttl=128, options=ZMAP_OPTIONS,
        df=True,
    )  # fmt: skip


def make_constant(draw: Draw) -> Segments:
    """The same packet again and again: sequence and id fixed per source, in Masscan's shape."""
    seq = hashes.field(draw.run, 3, 32).astype(np.uint32)
    ip_id = hashes.field(draw.run, 40, 16).astype(np.uint32)
    return _lay(draw, seq=seq, ip_id=ip_id, window=_fill(draw, 1024), ttl=255)


def make_nmap_shape(draw: Draw) -> Segments:
    """Everything of Nmap in one packet, with sequence numbers that are of no run."""
    return _lay(
        draw, seq=_random_seq(draw), ip_id=random_id(draw), window=_fill(draw, 1024), ttl=60, options=MSS_1460
    )


def make_random(draw: Draw) -> Segments:
    """All that a raw sender can draw at random: window, id, sequence; TTL 255."""
    window = hashes.field(hashes.mix(draw.packet, 5), 0, 16).astype(np.uint16)
    return _lay(draw, seq=_random_seq(draw), ip_id=random_id(draw), window=window, ttl=255)


def make_near_mirai(draw: Draw) -> Segments:
    """Sequence numbers that share the upper 24 bits of the destination: a /24's worth of near misses."""
    seq = (draw.dst_v4 & np.uint32(0xFFFFFF00)) | (~draw.dst_v4 & np.uint32(0xFF))
    return _lay(draw, seq=seq, ip_id=random_id(draw), window=_fill(draw, 5840), ttl=64)


def make_nmap_runs(draw: Draw) -> Segments:
    """A real Nmap that began four runs this day: another mask in each (one per host group)."""
    return tools.make_nmap(replace(draw, run=hashes.mix(draw.run ^ hashes.field(draw.flow, 7, 2), 91)))


SENDERS: tuple[Sender, ...] = (
    Sender("linux", ((tools.make_linux, None),), tries=3),
    Sender("windows", ((tools.make_windows, None),), tries=2),
    Sender("embedded", ((tools.make_embedded, None),), tries=3),
    Sender("own program", ((tools.make_custom, None),)),
    Sender("hping3", ((make_hping, None),)),
    Sender("Masscan's shape, random id", ((make_masscan_shape, None),)),
    Sender("Masscan's shape with MSS, random id", ((make_masscan_shape_mss, None),)),
    Sender("Masscan's id, other shape", ((make_masscan_id, None),)),
    Sender("ZMap's id, other shape", ((make_zmap_id, None),)),
    Sender("ZMap's shape, random id, no options", ((make_zmap_shape, None),)),
    Sender("ZMap's options, Windows' TTL and DF", ((make_windows_copy, None),)),
    Sender("one packet repeated", ((make_constant, None),)),
    Sender("Nmap's shape, random sequence", ((make_nmap_shape, None),)),
    Sender("all random", ((make_random, None),)),
    Sender("nearly the destination as sequence", ((make_near_mirai, None),)),
    Sender("Nmap in four runs", ((make_nmap_runs, Tool.NMAP),), tries=2),
    Sender("NAT: Mirai and Windows", ((tools.make_mirai, Tool.MIRAI), (tools.make_windows, None))),
    Sender("NAT: Mirai and Linux", ((tools.make_mirai, Tool.MIRAI), (tools.make_linux, None))),
    Sender("NAT: Masscan and Windows", ((tools.make_masscan_new, Tool.MASSCAN_NEW), (tools.make_windows, None))),
    Sender(
        "ZMap and Masscan on one host",
        ((tools.make_zmap_new, Tool.ZMAP_NEW), (tools.make_masscan_old, Tool.MASSCAN_OLD)),
    ),
    Sender("ZMap of both ages", ((tools.make_zmap_old, Tool.ZMAP_OLD), (tools.make_zmap_new, Tool.ZMAP_NEW))),
)  # fmt: skip


def make_samples(*, sources: int, packets: int, seed: int) -> Iterator[Sample]:
    """Give the packets of every kind of sender.

    Args:
        sources: sources of each kind.
        packets: connections of each source and maker.
        seed: another seed gives other sources and packets.
    """
    for kind, sender in enumerate(SENDERS):
        generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, kind])))
        numbers = np.repeat(np.arange(sources, dtype=np.uint64), packets) + np.uint64(kind * sources)
        parts = [_make(sender, maker, numbers, generator) for maker, _ in sender.makers]
        tool = [
            np.full(len(part), made or 0, np.uint8)
            for part, (_, made) in zip(parts, sender.makers, strict=True)
        ]
        width = max(part.shape[1] for part in parts)
        raw = np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts])
        origin = np.concatenate([np.tile(numbers, sender.tries) for _ in parts])
        yield Sample(sender.name, raw, origin, np.concatenate(tool))


def _make(sender: Sender, maker: Maker, numbers: U64, generator: np.random.Generator) -> U8:
    count = len(numbers)
    bits = generator.integers(0, 1 << 64, size=(3, count), dtype=np.uint64)
    key = hashes.mix(numbers, 7)
    draw = Draw(
        src_v4=(np.uint64(_FIRST_SOURCE) + numbers).astype(np.uint32),
        dst_v4=(np.uint64(_FIRST_TARGET) + bits[0] % np.uint64(_TARGETS)).astype(np.uint32),
        service_port=_PORTS[(bits[0] >> np.uint64(32)) % np.uint64(len(_PORTS))],
        payload=np.full(count, -1),
        key=key,
        run=hashes.mix(key, 21),
        flow=bits[1],
        packet=bits[2],
        attempt=np.zeros(count, np.uint8),
        at_us=(hashes.fraction(bits[1]) * _DAY_US).astype(np.int64),
    )
    tries = [
        replace(draw, attempt=np.full(count, attempt, np.uint8), packet=hashes.mix(draw.packet, 72 + attempt))
        for attempt in range(sender.tries)
    ]
    return np.concatenate([frames.join_ipv4(maker(one), one.src_v4, one.dst_v4) for one in tries])
