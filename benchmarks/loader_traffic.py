"""Made-up packets for the loader's benchmark: a realistic hour of a fleet, as columns.

Mix after ``docs/design.md`` and the field's published figures: about half of the
packets from survey scanners over a long tail of ports, Mirai-like and other scans,
backscatter with random destination ports, UDP probes with few distinct payloads,
echo requests. Sources lie in 240.0.0.0/4 and are drawn per kind from heavy-tailed
populations; sensors stand in a /15 of numbers. Same seed, same packets.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from teiten.traffic.columns import VarBytes

#: Column name → values; any numpy array will do here.
Columns: TypeAlias = dict[str, Any]

HOUR_US = 3_600_000_000
#: Ten thousand sensors do not fit into documentation addresses, and rules must be able to use theirs.
SENSOR_ADDRESSES = 45 << 24
_SURVEY, _MIRAI, _OTHER, _BACKSCATTER, _UDP, _ICMP = range(6)
_SHARES = (0.55, 0.15, 0.15, 0.04, 0.08, 0.03)
_POPULATION = (4_000, 150_000, 2_000_000, 20_000, 100_000, 200_000)
_OPTIONS = (b"", b"\x02\x04\x05\xb4", b"\x02\x04\x05\xb4\x01\x03\x03\x08\x01\x01\x04\x02",
            b"\x02\x04\x05\xb4\x04\x02\x08\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x01\x03\x03\x07")  # fmt: skip
_UDP_PORTS = (53, 123, 161, 389, 1900, 3702, 5060, 5353, 5683, 11211, 137, 17185, 27015, 47808, 53413, 1434)
_TOP_PORTS = (23, 22, 80, 443, 8080, 3389, 445, 2323, 8728, 5555, 6379, 8443, 25, 21, 81, 5060, 3306, 1433)


@dataclass(frozen=True)
class Traffic:
    """Packets in the order of their arrival."""

    #: Every wire column, as :mod:`teiten.traffic.columns` describes it.
    columns: Columns
    #: Which sensor saw each packet, from 0.
    sensor: NDArray[np.int64]


def make_traffic(
    *, rows: int, sensors: int, start_us: int, length_us: int = HOUR_US, seed: int = 1
) -> Traffic:
    """Make ``rows`` packets spread evenly over ``[start_us, start_us + length_us)``."""
    random = np.random.default_rng(seed)
    kind = random.choice(6, size=rows, p=_SHARES)
    sensor = random.integers(0, sensors, rows)
    columns = _empty(rows)
    columns["observed_at"] = np.sort(start_us + random.integers(0, length_us, rows))
    source = _fill_addresses(columns, kind, sensor, random)
    for fill in (_fill_scans, _fill_mirai, _fill_backscatter):
        fill(columns, kind, source, random)
    _fill_udp(columns, kind, source)
    _fill_icmp(columns, kind, source)
    _fill_lengths(columns)
    return Traffic(columns, sensor)


def select(traffic: Traffic, rows: NDArray[np.int64]) -> Columns:
    """Give the columns of some rows, as a batch carries them."""
    return {name: _take(values, rows) for name, values in traffic.columns.items()}


def _take(values: NDArray[np.generic] | VarBytes, rows: NDArray[np.int64]) -> NDArray[np.generic] | VarBytes:
    if not isinstance(values, VarBytes):
        return values[rows]
    lengths = np.diff(values.offsets)[rows]
    offsets = np.zeros(len(rows) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    index = np.repeat(values.offsets[rows] - offsets[:-1], lengths) + np.arange(offsets[-1])
    return VarBytes(offsets, values.data[index])


def _empty(rows: int) -> Columns:
    types = {
        "observed_at": "i8", "ip_version": "u1", "protocol": "u1", "src_port": "u2", "dst_port": "u2",
        "icmp_type": "u1", "icmp_code": "u1", "tcp_flags": "u2", "tcp_seq": "u4", "tcp_ack": "u4",
        "tcp_window": "u2", "ttl": "u1", "ip_id": "u4", "ip_df": "u1", "ip_mf": "u1", "fragment_offset": "u2",
        "tos": "u1", "total_length": "u4", "vlan": "u2", "payload_length": "u4", "payload_hash": "u8",
        "parse_marks": "u2",
    }  # fmt: skip
    columns: Columns = {k: np.zeros(rows, t) for k, t in types.items()}
    columns["ip_version"] = np.full(rows, 4, np.uint8)
    columns["protocol"] = np.full(rows, 6, np.uint8)
    return columns


def _mapped(v4: NDArray[np.uint32]) -> NDArray[np.uint8]:
    out = np.zeros((len(v4), 16), np.uint8)
    out[:, 10:12] = 0xFF
    out[:, 12:] = v4.astype(">u4").view(np.uint8).reshape(-1, 4)
    return out


def _fill_addresses(
    columns: Columns, kind: NDArray[np.int64], sensor: NDArray[np.int64], random: np.random.Generator
) -> NDArray[np.uint32]:
    population = np.array(_POPULATION)[kind]
    rank = (population * random.random(len(kind)) ** 3).astype(np.uint64)
    mixed = (rank * 2654435761 + kind.astype(np.uint64) * 40503 + 12345) & 0x0FFFFFFF
    source = (0xF0000000 + mixed).astype(np.uint32)
    columns["src_addr"] = _mapped(source)
    columns["dst_addr"] = _mapped((SENSOR_ADDRESSES + sensor * 13 % 131072).astype(np.uint32))
    columns["ttl"] = (40 + source % 25).astype(np.uint8)
    columns["src_port"] = random.integers(1024, 65536, len(kind)).astype(np.uint16)
    columns["tcp_seq"] = random.integers(0, 2**32, len(kind), dtype=np.uint32)
    columns["ip_id"] = random.integers(0, 65536, len(kind)).astype(np.uint32)
    return source


def _fill_scans(
    columns: Columns, kind: NDArray[np.int64], source: NDArray[np.uint32], random: np.random.Generator
) -> None:
    scans = np.flatnonzero((kind == _SURVEY) | (kind == _OTHER))
    n = len(scans)
    top = np.array(_TOP_PORTS)[(len(_TOP_PORTS) * random.random(n) ** 2).astype(int)]
    tail = random.integers(1, 65536, n)
    wide = random.random(n) < np.where(kind[scans] == _SURVEY, 0.5, 0.15)
    columns["dst_port"][scans] = np.where(wide, tail, top)
    columns["tcp_flags"][scans] = 2
    tool = source[scans] % 4
    columns["tcp_window"][scans] = np.array([65535, 1024, 64240, 29200])[tool]
    columns["ttl"][scans] = np.array([240, 240, 50, 50])[tool] + source[scans] % 9
    zmap = scans[tool == 0]
    columns["ip_id"][zmap] = 54321
    masscan = scans[tool == 1]
    dst = columns["dst_addr"][masscan, 12:].copy().view(">u4")[:, 0].astype(np.uint32)
    columns["ip_id"][masscan] = (dst ^ columns["dst_port"][masscan] ^ columns["tcp_seq"][masscan]) & 0xFFFF
    columns["src_port"][masscan] = 40000 + source[masscan] % 20000
    columns["ip_df"][scans[tool >= 2]] = 1


def _fill_mirai(
    columns: Columns, kind: NDArray[np.int64], source: NDArray[np.uint32], random: np.random.Generator
) -> None:
    rows = np.flatnonzero(kind == _MIRAI)
    columns["tcp_seq"][rows] = columns["dst_addr"][rows, 12:].copy().view(">u4")[:, 0]
    columns["dst_port"][rows] = np.array([23, 23, 23, 2323, 8080, 5555, 37215, 7547])[source[rows] % 8]
    columns["tcp_flags"][rows] = 2
    columns["tcp_window"][rows] = random.integers(1024, 65536, len(rows))


def _fill_backscatter(
    columns: Columns, kind: NDArray[np.int64], source: NDArray[np.uint32], random: np.random.Generator
) -> None:
    rows = np.flatnonzero(kind == _BACKSCATTER)
    columns["src_port"][rows] = np.array([80, 443, 22, 53])[source[rows] % 4]
    columns["dst_port"][rows] = random.integers(1024, 65536, len(rows))
    columns["tcp_flags"][rows] = 0x12
    columns["tcp_ack"][rows] = random.integers(0, 2**32, len(rows), dtype=np.uint32)
    columns["tcp_window"][rows] = 65535


def _fill_udp(columns: Columns, kind: NDArray[np.int64], source: NDArray[np.uint32]) -> None:
    rows = np.flatnonzero(kind == _UDP)
    which = source[rows] % len(_UDP_PORTS)
    columns["protocol"][rows] = 17
    columns["dst_port"][rows] = np.array(_UDP_PORTS)[which]
    columns["tcp_seq"][rows] = 0
    lengths = np.zeros(len(kind), np.int64)
    lengths[rows] = 8 + which % 6 * 8
    columns["payload_length"][rows] = lengths[rows]
    columns["payload_hash"][rows] = (which.astype(np.uint64) + 1) * np.uint64(0x9E3779B97F4A7C15)
    text = np.zeros((len(_UDP_PORTS), 48), np.uint8)
    text[:] = np.random.default_rng(7).integers(0, 256, text.shape)
    columns["payload"] = _lay_out(
        lengths, np.concatenate([text[w, : 8 + w % 6 * 8] for w in which] or [text[0, :0]])
    )


def _fill_icmp(columns: Columns, kind: NDArray[np.int64], source: NDArray[np.uint32]) -> None:
    rows = np.flatnonzero(kind == _ICMP)
    columns["protocol"][rows] = 1
    columns["icmp_type"][rows] = 8
    for name in ("src_port", "dst_port", "tcp_seq"):
        columns[name][rows] = 0
    tcp = columns["protocol"] == 6
    number = np.where(tcp & (columns["tcp_flags"] == 2), source % len(_OPTIONS), 0)
    lengths = np.array([len(o) for o in _OPTIONS])[number]
    columns["tcp_options"] = _lay_out(lengths, np.frombuffer(b"".join(_OPTIONS[i] for i in number), np.uint8))
    marks = np.where(columns["protocol"] == 1, 0, 1 << 12)
    columns["parse_marks"] = marks.astype(np.uint16)


def _lay_out(lengths: NDArray[np.int64], data: NDArray[np.uint8]) -> VarBytes:
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return VarBytes(offsets, data)


def _fill_lengths(columns: Columns) -> None:
    header = np.where(columns["protocol"] == 6, 40 + np.diff(columns["tcp_options"].offsets), 28)
    columns["total_length"] = (header + columns["payload_length"]).astype(np.uint32)


def write_places(path: Path) -> None:
    """Write a country/AS file for 240.0.0.0/4: networks of uneven size, few countries with most of them."""
    from mmdb_writer import MmdbU32, MMDBWriter
    from netaddr import IPSet

    random = np.random.default_rng(3)
    writer = MMDBWriter(6, "Benchmark-Country-ASN", ipv4_compatible=True, int_type="auto")
    for block in range(4096):
        for part in range(2 if block % 3 == 0 else 1):
            bits, second = (17, part * 128) if block % 3 == 0 else (16, 0)
            country, number = int(200 * random.random() ** 4), 64_512 + int(6_000 * random.random() ** 3)
            record = {
                "country": {"iso_code": f"{chr(65 + country // 20)}{chr(65 + country % 20)}"},
                "autonomous_system_number": MmdbU32(number),
            }
            writer.insert_network(IPSet([f"{240 + block // 256}.{block % 256}.{second}.0/{bits}"]), record)
    writer.to_db_file(str(path))
