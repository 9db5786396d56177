"""Wire: bytes and time of batches against pcap + zstd 3 of the same packets.

Packets come from the simulated telescope through the real parser, in windows as
sensors have them: 24 rows are five minutes of one address, 240 of sixteen, 2,000 of
a /25 that closes its window early. Payload is kept to 64 bytes, as by default. The
peer is what `tcpdump -w` would have written of these packets (Ethernet, cut at the
same 176 bytes), a file for each batch, compressed with zstd 3.

`BENCH_SMALL=1` is a short form.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import zstandard

from teiten.protocol import batch
from teiten.protocol.header import SCHEMA_VERSION, BatchHeader, Watched
from teiten.simulators.captures import write_capture
from teiten.simulators.config import TelescopeConfig
from teiten.simulators.telescope import Outlook, Telescope, Traffic
from teiten.traffic.columns import PacketColumns

SMALL = os.environ.get("BENCH_SMALL") == "1"
ROUNDS = 2 if SMALL else 5
BATCHES = {0: 4, 24: 8, 240: 4, 2000: 2} if SMALL else {0: 20, 24: 60, 240: 30, 2000: 12}
PREFIXES = {0: "192.0.2.7/32", 24: "192.0.2.7/32", 240: "198.51.100.0/28", 2000: "198.51.100.0/25"}
START_US = 1_795_219_200_000_000
HOUR_US = 3_600_000_000
WINDOW_US = 300_000_000


@dataclass(frozen=True)
class Case:
    """One batch to be, and its packets."""

    header: BatchHeader
    columns: PacketColumns
    traffic: Traffic


@dataclass(frozen=True)
class Figures:
    """What a number of rows costs, per batch."""

    size_bytes: float
    pcap_zstd_bytes: float
    encode_us: float
    fast_encode_us: float
    decode_us: float


def main() -> None:
    found = {rows: measure(make_cases(rows)) for rows in BATCHES}
    print_table(found)
    per_packet = {str(rows): round(one.size_bytes / rows, 2) for rows, one in found.items() if rows}
    peer = {str(rows): round(one.pcap_zstd_bytes / rows, 2) for rows, one in found.items() if rows}
    print(
        json.dumps(
            {
                "bench": "wire",
                "bytes": {str(rows): round(one.size_bytes, 1) for rows, one in found.items()},
                "bytes_per_packet": per_packet,
                "pcap_zstd_bytes_per_packet": peer["2000"],
                "pcap_zstd_bytes_per_packet_by_rows": peer,
                "ratio": round(per_packet["2000"] / peer["2000"], 3),
                "encode_us_per_packet": round(found[2000].encode_us / 2000, 3),
                "encode_us_per_packet_in_a_flood": round(found[2000].fast_encode_us / 2000, 3),
                "encode_us": {str(rows): round(one.encode_us, 1) for rows, one in found.items()},
                "decode_us": {str(rows): round(one.decode_us, 1) for rows, one in found.items()},
                "rounds": ROUNDS,
                "cores": os.cpu_count(),
                "load": round(os.getloadavg()[0], 2),
            }
        )
    )


def make_cases(rows: int) -> list[Case]:
    """Cut a sensor's traffic into windows of ``rows`` packets."""
    prefix, count = PREFIXES[rows], BATCHES[rows]
    telescope = Telescope(TelescopeConfig())
    traffic = telescope.observe(Outlook("bench", (prefix,)), START_US, START_US + 24 * HOUR_US)
    return [
        make_case(traffic.take(slice(rows * index, rows * (index + 1))), prefix, seq=1000 + index)
        for index in range(count)
    ]


def make_case(traffic: Traffic, prefix: str, *, seq: int) -> Case:
    rows = len(traffic)
    start_us = int(traffic.observed_at_us[0]) if rows else START_US + seq * WINDOW_US
    end_us = int(traffic.observed_at_us[-1]) + 1 if rows else start_us
    header = BatchHeader(
        schema_version=SCHEMA_VERSION,
        dataset="live",
        sensor=4711,
        epoch=1,
        seq=seq,
        window_start_us=start_us,
        window_end_us=max(end_us, start_us + WINDOW_US),
        rows=rows,
        watched=(Watched(prefix, "silent"),),
        captured=rows + 2,
        kernel_drops=0,
        excluded=2,
        gap_us=0,
        clock_offset_us=-1824,
        clock_stepped=False,
        payload_bytes=64,
        boot_id="W2k9x3Qa0Zf",
        software="0.1.0",
    )
    return Case(header, traffic.parse(64), traffic)


def measure(cases: list[Case]) -> Figures:
    bodies = [batch.encode(one.header, one.columns) for one in cases]
    encode, fast, decode = [], [], []
    for _ in range(ROUNDS):
        encode.append(time_each(lambda: [batch.encode(one.header, one.columns) for one in cases], cases))
        fast.append(
            time_each(lambda: [batch.encode(one.header, one.columns, level=1) for one in cases], cases)
        )
        decode.append(time_each(lambda: [batch.decode(body) for body in bodies], cases))
    return Figures(
        size_bytes=statistics.fmean(len(body) for body in bodies),
        pcap_zstd_bytes=statistics.fmean(compress_capture(one.traffic) for one in cases),
        encode_us=statistics.median(encode),
        fast_encode_us=statistics.median(fast),
        decode_us=statistics.median(decode),
    )


def time_each(work: Callable[[], object], cases: list[Case]) -> float:
    """Give µs of processor time per case, which other load on the machine does not lengthen."""
    started = time.process_time()
    work()
    return (time.process_time() - started) * 1e6 / len(cases)


def compress_capture(traffic: Traffic) -> int:
    with tempfile.TemporaryDirectory(prefix="teiten-bench-wire-") as folder:
        path = Path(folder) / "batch.pcap"
        write_capture(path, [traffic], "ethernet")
        return len(zstandard.ZstdCompressor(level=3).compress(path.read_bytes()))


def print_table(found: dict[int, Figures]) -> None:
    print(f"{'rows':>6} {'bytes':>9} {'B/packet':>9} {'pcap+zstd 3':>12} {'ratio':>6} {'encode µs':>10}"
          f" {'in a flood':>10} {'decode µs':>10}")  # fmt: skip
    for rows, one in found.items():
        each = f"{one.size_bytes / rows:9.2f}" if rows else f"{'-':>9}"
        peer = f"{one.pcap_zstd_bytes / rows:12.2f}" if rows else f"{one.pcap_zstd_bytes:12.0f}"
        print(f"{rows:6} {one.size_bytes:9.0f} {each} {peer} {one.size_bytes / one.pcap_zstd_bytes:6.2f}"
              f" {one.encode_us:10.0f} {one.fast_encode_us:10.0f} {one.decode_us:10.0f}")  # fmt: skip


if __name__ == "__main__":
    main()
