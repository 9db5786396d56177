"""Made-up batches for tests and benchmarks: plausible unsolicited packets, no real address.

The mix follows what the field reports: mostly TCP SYNs of a few tools with a
long tail of ports, some UDP probes with payload, some ICMP. Sources lie in
240.0.0.0/4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from teiten.protocol.header import SCHEMA_VERSION, BatchHeader, PayloadExample, Watched
from teiten.traffic.columns import PacketColumns, VarBytes

#: Start of the made-up window: 2026-11-21 03:00 UTC.
START_US = 1_795_230_000_000_000

_PORTS = [
    23,
    22,
    80,
    443,
    8080,
    3389,
    445,
    5555,
    2323,
    6379,
    8728,
    81,
    1433,
    5060,
    53,
    123,
    161,
    1900,
    25,
    3306,
]
_OPTIONS = [
    b"",
    bytes.fromhex("020405b4"),
    bytes.fromhex("020405b40103030801010402"),
]
_STAMPED = 3


@dataclass(frozen=True)
class _Kind:
    """A sort of packet: share, header values, and which fields are random per packet."""

    share: float
    protocol: int
    window: int
    ttl: int
    ip_id: int | None
    df: int
    option: int
    payload_bytes: int = 0


_KINDS = (
    _Kind(0.30, 6, 1024, 241, None, 0, 1),  # masscan-like
    _Kind(0.25, 6, 65535, 242, 54321, 0, 2),  # zmap-like
    _Kind(0.20, 6, 0, 47, None, 0, 0),  # Mirai-like, random window
    _Kind(0.13, 6, 64240, 48, None, 1, 3),  # a host's own stack
    _Kind(0.09, 17, 0, 243, 54321, 0, 0, 40),
    _Kind(0.03, 1, 0, 51, None, 0, 0, 8),
)


def make_header(*, rows: int = 24, seq: int = 1, sensor: int = 7, window_seconds: int = 300) -> BatchHeader:
    """Make the header of a batch with ``rows`` packets."""
    start_us = START_US + (seq - 1) * window_seconds * 1_000_000 + 137_419
    return BatchHeader(
        schema_version=SCHEMA_VERSION,
        dataset="simulated",
        sensor=sensor,
        epoch=1,
        seq=seq,
        window_start_us=start_us,
        window_end_us=start_us + window_seconds * 1_000_000,
        rows=rows,
        watched=(Watched("192.0.2.7/32", "silent"),),
        captured=rows + 3,
        kernel_drops=0,
        excluded=3,
        gap_us=0,
        clock_offset_us=-1824,
        clock_stepped=False,
        payload_bytes=64,
        boot_id="W2k9x3Qa0Zf",
        software="0.1.0",
    )


def make_examples(columns: PacketColumns, *, size_bytes: int = 700) -> tuple[PayloadExample, ...]:
    """Make an example of each row that has payload, and state their lengths in ``columns``.

    Args:
        columns: of a batch; ``payload_length`` of the rows becomes ``size_bytes``.
        size_bytes: length of each example.
    """
    payload, lengths = columns["payload"], columns["payload_length"]
    assert isinstance(payload, VarBytes) and isinstance(lengths, np.ndarray)  # noqa: S101, PT018  # for the type checker
    rows = np.flatnonzero(np.diff(payload.offsets))
    lengths[rows] = size_bytes
    return tuple(
        PayloadExample(
            int(row),
            payload.data[payload.offsets[row] : payload.offsets[row + 1]].tobytes().ljust(size_bytes, b"."),
        )
        for row in rows
    )


def make_columns(
    rows: int, *, seed: int = 1, start_us: int | None = None, seconds: int = 300
) -> PacketColumns:
    """Make ``rows`` packets in time order within ``seconds`` from ``start_us``."""
    random = np.random.default_rng(seed)
    first_us = make_header().window_start_us if start_us is None else start_us
    kind = random.choice(len(_KINDS), rows, p=[k.share for k in _KINDS])
    table = {name: np.array([getattr(k, name) or 0 for k in _KINDS])[kind] for name in _Kind.__annotations__}
    is_tcp = table["protocol"] == 6
    has_ports = table["protocol"] != 1
    source = _draw_sources(random, kind)
    options = [_draw_option(random, int(index)) for index in table["option"]]
    payloads = [b"\x08\0probe" + bytes(int(size) - 7) if size else b"" for size in table["payload_bytes"]]
    sizes = np.array([len(option) for option in options], dtype=np.int64) if rows else np.zeros(0, np.int64)
    random_id = random.integers(0, 1 << 16, rows)
    columns: dict[str, NDArray[np.generic] | VarBytes] = {
        "observed_at": np.sort(random.integers(first_us, first_us + seconds * 1_000_000, rows)),
        "ip_version": np.full(rows, 4),
        "src_addr": _mapped(source),
        "dst_addr": _mapped(np.full(rows, 0xC0000207)),
        "protocol": table["protocol"],
        "src_port": np.where(has_ports, _draw_source_ports(random, kind, source), 0),
        "dst_port": np.where(has_ports, _draw_ports(random, rows), 0),
        "icmp_type": np.where(has_ports, 0, 8),
        "icmp_code": np.zeros(rows),
        "tcp_flags": np.where(is_tcp, 2, 0),
        "tcp_seq": np.where(kind == 2, 0xC0000207, np.where(is_tcp, random.integers(0, 1 << 32, rows), 0)),
        "tcp_ack": np.zeros(rows),
        "tcp_window": np.where(kind == 2, random.integers(1, 1 << 16, rows), table["window"]),
        "tcp_options": join_bytes(options),
        "ttl": table["ttl"] - random.integers(0, 4, rows),
        "ip_id": np.where(table["ip_id"] > 0, table["ip_id"], random_id),
        "ip_df": table["df"],
        "ip_mf": np.zeros(rows),
        "fragment_offset": np.zeros(rows),
        "tos": np.zeros(rows),
        "total_length": np.where(is_tcp, 40 + sizes, 28 + table["payload_bytes"]),
        "vlan": np.zeros(rows),
        "payload_length": table["payload_bytes"],
        "payload_hash": np.where(table["payload_bytes"] > 0, 0x1E3779B97F4A7C15 + table["payload_bytes"], 0),
        "payload": join_bytes(payloads),
        "parse_marks": np.where(has_ports, 1 << 12, 0),
    }
    return {name: _cast(name, value) for name, value in columns.items()}


def join_bytes(parts: list[bytes]) -> VarBytes:
    """Lay byte strings end to end."""
    offsets = np.zeros(len(parts) + 1, dtype=np.int32)
    np.cumsum([len(part) for part in parts], out=offsets[1:])
    return VarBytes(offsets, np.frombuffer(b"".join(parts), dtype=np.uint8))


def _draw_sources(random: np.random.Generator, kind: NDArray[np.int64]) -> NDArray[np.int64]:
    """Draw scanners that return often, out of few networks, and bots that come once."""
    rows = len(kind)
    scanners = 0xF0000000 + random.integers(0, 40, rows) * 0x10100 + random.zipf(1.5, rows) % 250
    bots = random.integers(0xF1000000, 0xFFFFFF00, rows)
    return np.where((kind <= 1) | (kind == 4), scanners, bots)


def _draw_source_ports(
    random: np.random.Generator, kind: NDArray[np.int64], source: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Draw as the tools do: masscan and Mirai keep one port a run, ZMap spreads over 32768 to 60999."""
    kept = 1024 + source * 40_503 % 64_000
    spread = random.integers(32_768, 61_000, len(kind))
    return np.where((kind == 0) | (kind == 2), kept, spread)


def _draw_ports(random: np.random.Generator, rows: int) -> NDArray[np.int64]:
    known = np.array(_PORTS)[(random.zipf(1.3, rows) - 1) % len(_PORTS)]
    return np.where(random.random(rows) < 0.65, known, random.integers(1, 1 << 16, rows))


def _draw_option(random: np.random.Generator, index: int) -> bytes:
    if index != _STAMPED:
        return _OPTIONS[index]
    stamp = int(random.integers(0, 1 << 32))
    return bytes.fromhex(f"020405b40402080a{stamp:08x}0000000001030307")


def _mapped(values: NDArray[np.int64]) -> NDArray[np.uint8]:
    rows = np.zeros((len(values), 16), dtype=np.uint8)
    rows[:, 10:12] = 255
    rows[:, 12:] = values.astype(">u4").view(np.uint8).reshape(-1, 4)
    return rows


def _cast(name: str, value: NDArray[np.generic] | VarBytes) -> NDArray[np.generic] | VarBytes:
    from teiten.traffic.columns import BY_NAME

    if isinstance(value, VarBytes) or BY_NAME[name].kind == "address":
        return value
    return value.astype(BY_NAME[name].numpy_type)
