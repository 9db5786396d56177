"""Loader: landed batches → verified, judged, placed, stored with roll-ups.

The peer is ``insert_arrow`` of the same blocks into the same tables, in the same run.
``BENCH_SMALL=1`` is a short form; ``BENCH_DAY=1`` measures bytes per packet on a whole
day of 68.5 million packets instead of one hour of it (the daily roll-ups of one hour
are an upper bound).
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loader_traffic import HOUR_US, Traffic, make_traffic, select, write_places
from teiten.cli.embedded import EmbeddedPostgres, create_database
from teiten.foundation.clock import FixedClock, SystemClock, from_us
from teiten.landing import migrations
from teiten.landing.blocks import BlockLedger, Member
from teiten.landing.config import LandingConfig
from teiten.landing.log import LandingLog
from teiten.landing.segments import Arrival
from teiten.loader import tables
from teiten.loader.config import LoaderConfig
from teiten.loader.reference import ReferenceBook, ReferenceData
from teiten.loader.service import Loader
from teiten.loader.testing import StandingPlacement, StandingRegister
from teiten.loader.verifying import Verified
from teiten.protocol import batch, keys, seal
from teiten.protocol.batch import Batch
from teiten.protocol.header import SCHEMA_VERSION, BatchHeader, Watched
from teiten.store import writer
from teiten.store.config import StoreConfig
from teiten.store.schema import PACKET_ROLLUPS
from teiten.store.service import Store
from teiten.store.writer import BlockRows

SMALL = os.environ.get("BENCH_SMALL") == "1"
DAY = os.environ.get("BENCH_DAY") == "1"
ROUNDS = 1 if SMALL else 3
SENSORS = 10_000
START_US = 1_795_446_000_000_000
SLOT_US = 300_000_000
KEY = keys.generate_key()
REGIONS = tuple(f"region-{number:02}" for number in range(47))


class Fleet(StandingRegister):
    """Ten thousand sensors with one key; the loader cannot tell."""

    def __init__(self) -> None:
        public = keys.public_bytes(KEY)
        self._placed = {
            n: StandingPlacement(n, REGIONS[n % 47], "live", may_import=False, keys={1: public})
            for n in range(1, SENSORS + 1)
        }

    def find_placement(self, sensor: int, _key_no: int) -> StandingPlacement | None:
        return self._placed.get(sensor)


def make_header(sensor: int, seq: int, rows: int, start_us: int) -> BatchHeader:
    return BatchHeader(
        schema_version=SCHEMA_VERSION, dataset="live", sensor=sensor, epoch=1, seq=seq,
        window_start_us=start_us, window_end_us=start_us + SLOT_US, rows=rows,
        watched=(Watched("192.0.2.1/32", "silent"),), captured=rows, kernel_drops=0, excluded=0, gap_us=0,
        clock_offset_us=0, clock_stepped=False, payload_bytes=64, boot_id="0123456789abcdef", software="0.1.0",
    )  # fmt: skip


def split(traffic: Traffic, rows_per_batch: int) -> Iterator[tuple[int, np.ndarray]]:
    """Give sensor and rows of batches with exactly so many rows, each within one slot."""
    count = len(traffic.sensor) // rows_per_batch
    for number in range(count):
        yield number % SENSORS + 1, np.arange(number * rows_per_batch, (number + 1) * rows_per_batch)


async def land(log: LandingLog, traffic: Traffic, rows_per_batch: int, first_seq: int) -> int:
    """Land the traffic as sealed batches and give their number."""
    await log.start()
    waiting = []
    for number, (sensor, rows) in enumerate(split(traffic, rows_per_batch)):
        columns = select(traffic, rows)
        seq = first_seq + number // SENSORS
        header = make_header(sensor, seq, len(rows), int(columns["observed_at"][0]))
        body = batch.encode(header, columns, level=3)
        digest = seal.digest_of(body)
        sealed = seal.seal(KEY, sensor=sensor, key_no=1, epoch=1, seq=seq, digest=digest)
        waiting.append(log.append(Arrival(sensor, 1, 1, seq, digest, sealed, body)))
        if len(waiting) == 512:
            await asyncio.gather(*waiting)
            waiting = []
    await asyncio.gather(*waiting)
    await log.stop()
    return number + 1


@dataclass(frozen=True)
class Round:
    rows: int
    batches: int
    loader_seconds: float
    loader_cpu_seconds: float
    peer_seconds: float
    peer_cpu_seconds: float


class Bench:
    """One landing, one ledger, one store with a second database for the peer."""

    def __init__(self, folder: Path, dsn: str) -> None:
        self._folder = folder
        self._dsn = dsn
        self._clock = SystemClock()
        self._landing = LandingConfig(folder=folder / "landing", min_free_bytes=0)
        path = str(folder / "store")
        self.store = Store.open(StoreConfig(path=path))
        self._peer = Store.open(StoreConfig(path=path, database="peer"))
        self._signing = keys.generate_key()
        self.reference = ReferenceBook(folder / "reference")
        write_places(folder / "places.mmdb")
        self.reference.use([folder / "places.mmdb"])
        self._seq = 1

    def run_round(self, rows: int, rows_per_batch: int, seed: int) -> Round:
        now_us = self._clock.now_us() - 600_000_000
        length_us = 200_000_000 * max(1, rows // 500_000)
        traffic = make_traffic(
            rows=rows, sensors=SENSORS, start_us=now_us - length_us, length_us=length_us, seed=seed
        )
        log = LandingLog(self._landing, self._dsn, self._clock, signing_key=self._signing)
        batches = asyncio.run(land(log, traffic, rows_per_batch, self._seq))
        self._seq += batches // SENSORS + 1
        blocks, wall, cpu = self._load()
        rows_loaded = sum(block.packets.num_rows for block in blocks)
        return Round(rows_loaded, batches, wall, cpu, *self._insert_plainly(blocks))

    def _load(self) -> tuple[list[BlockRows], float, float]:
        """Run the loader until nothing waits, and keep the blocks that it wrote."""
        blocks: list[BlockRows] = []
        original = writer.insert_block

        def keep(store: Store, rows: BlockRows, **options: object) -> writer.Outcome:
            blocks.append(rows)
            return original(store, rows, **options)

        writer.insert_block = keep
        loaders = [self._make_loader() for _ in range(LoaderConfig().parallel)]
        self.reference.open(self.reference.current_version())
        started, cpu = time.perf_counter(), time.process_time()
        try:
            # Side by side, as `teiten up` runs them while more than a block waits.
            with ThreadPoolExecutor(len(loaders)) as pool:
                list(pool.map(lambda loader: loader.run_until_empty(), loaders))
        finally:
            wall, cpu = time.perf_counter() - started, time.process_time() - cpu
            writer.insert_block = original
            for loader in loaders:
                loader.close()
        return blocks, wall, cpu

    def _make_loader(self) -> Loader:
        return Loader(
            LoaderConfig(),
            ledger=BlockLedger(self._landing, self._dsn, self._clock),
            store=self.store,
            register=Fleet(),
            reference=self.reference,
            clock=self._clock,
        )

    def _insert_plainly(self, blocks: Sequence[BlockRows]) -> tuple[float, float]:
        started, cpu = time.perf_counter(), time.process_time()
        for number, block in enumerate(blocks):
            for table, rows in (("packets", block.packets), ("coverage", block.coverage)):
                self._peer.connections.insert(table, rows, token=f"{block.block}:{number}:{table}")
        return time.perf_counter() - started, time.process_time() - cpu

    def close(self) -> None:
        self.store.close()
        self._peer.close()


def measure_storage(folder: Path, reference: ReferenceData) -> dict[str, object]:
    """Store an hour (or a day) of a whole fleet's batches, merge, and count bytes."""
    hours, per_hour = (24 if DAY else 1), (40_000 if SMALL else 2_854_000)
    store = Store.open(
        StoreConfig(path=str(folder / "store"), database="size"), FixedClock(from_us(START_US))
    )
    for hour in range(hours):
        start_us = START_US + hour * HOUR_US
        traffic = make_traffic(rows=per_hour, sensors=SENSORS, start_us=start_us, seed=hour)
        for number, (packets, coverage) in enumerate(build_slots(traffic, start_us, reference)):
            store.connections.insert("packets", packets, token=f"{hour}-{number}")
            store.connections.insert("coverage", coverage, token=f"{hour}-{number}")
    for table in ("packets", *PACKET_ROLLUPS):
        store.command(f"OPTIMIZE TABLE {table} FINAL")
    sizes = dict(
        zip(*store.select(
            "SELECT table, sum(data_compressed_bytes) AS b FROM system.parts"
            " WHERE active AND database = currentDatabase() GROUP BY table", role="maintenance",
        ).to_pydict().values(), strict=True)
    )  # fmt: skip
    columns = store.select(
        "SELECT column, sum(column_data_compressed_bytes) AS b FROM system.parts_columns"
        " WHERE active AND database = currentDatabase() AND table = 'packets' GROUP BY column ORDER BY b DESC",
        role="maintenance",
    ).to_pylist()
    store.close()
    rows = hours * per_hour
    return {
        "rows": rows,
        "raw": sizes["packets"] / rows,
        "rollups": {table: sizes.get(table, 0) / rows for table in PACKET_ROLLUPS},
        "columns": {one["column"]: round(one["b"] / rows, 3) for one in columns},
    }


def build_slots(traffic: Traffic, start_us: int, reference: ReferenceData) -> Iterator[tuple[object, object]]:
    """Cut an hour into the batches that ten thousand sensors send every five minutes."""
    slots = (traffic.columns["observed_at"] - start_us) // SLOT_US
    for slot in range(12):
        rows = np.flatnonzero(slots == slot)
        rows = rows[np.argsort(traffic.sensor[rows], kind="stable")]
        edges = np.flatnonzero(np.diff(traffic.sensor[rows])) + 1
        window_us = start_us + slot * SLOT_US
        verified = []
        for part in np.split(rows, edges):
            sensor = int(traffic.sensor[part[0]]) + 1
            seq = 1 + sensor * 7919 % 50_000 + (window_us // SLOT_US) % 100_000
            landed_us = window_us + SLOT_US + sensor * 29_989 % SLOT_US
            header = make_header(sensor, seq, len(part), window_us)
            member = Member(sensor, 1, 1, seq, b"", b"", landed_us, 800, "", 0)
            verified.append(Verified(member, Batch(header, select(traffic, part)), REGIONS[sensor % 47]))
        yield tables.build_packets(verified, reference), tables.build_coverage(verified, block=str(BLOCK))


BLOCK = "00000000-0000-4000-8000-000000000000"


def report(large: list[Round], small: list[Round], storage: dict[str, object]) -> dict[str, object]:
    rollups: dict[str, float] = storage["rollups"]
    rows_per_s = statistics.median(one.rows / one.loader_seconds for one in large)
    peer = statistics.median(one.rows / one.peer_seconds for one in large)
    answer = {
        "bench": "loader",
        "rows_per_s": round(rows_per_s),
        "small_batches_per_s": round(statistics.median(one.batches / one.loader_seconds for one in small)),
        "small_rows_per_s": round(statistics.median(one.rows / one.loader_seconds for one in small)),
        "insert_arrow_rows_per_s": round(peer),
        "ratio": round(rows_per_s / peer, 3),
        "small_ratio": round(statistics.median(one.peer_seconds / one.loader_seconds for one in small), 3),
        "cpu_us_per_row": round(
            statistics.median(1e6 * one.loader_cpu_seconds / one.rows for one in large), 2
        ),
        "insert_arrow_cpu_us_per_row": round(
            statistics.median(1e6 * one.peer_cpu_seconds / one.rows for one in large), 2
        ),
        "cpu_us_per_small_batch": round(
            statistics.median(1e6 * one.loader_cpu_seconds / one.batches for one in small), 1
        ),
        "bytes_per_row_raw": round(storage["raw"], 2),
        "bytes_per_row_rollups": round(sum(rollups.values()), 2),
        "bytes_by_rollup": {table: round(size, 3) for table, size in rollups.items()},
        "bytes_by_column": storage["columns"],
        "storage_rows": storage["rows"],
        "rounds": ROUNDS,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
    }
    for name in ("rows_per_s", "insert_arrow_rows_per_s", "ratio", "small_batches_per_s", "small_ratio", "cpu_us_per_row",
        "insert_arrow_cpu_us_per_row",
                 "cpu_us_per_small_batch", "bytes_per_row_raw", "bytes_per_row_rollups"):  # fmt: skip
        print(f"{name:26} {answer[name]:>12}")
    for kind in ("bytes_by_rollup", "bytes_by_column"):
        print(f"\n{kind} (of {storage['rows']:,} packets)")
        for name, size in answer[kind].items():
            print(f"  {name:24} {size:>8.3f}")
    return answer


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="teiten-bench-loader-"))
    server = EmbeddedPostgres(folder / "pg")
    try:
        dsn = create_database(server.start(), "bench")
        migrations.migrate(dsn)
        bench = Bench(folder, dsn)
        large_rows, small_rows = (40_000, 7_200) if SMALL else (1_000_000, 240_000)
        bench.run_round(20_000, 2_000, seed=99)
        large, small = [], []
        for number in range(ROUNDS):
            large.append(bench.run_round(large_rows, 2_000, seed=number))
            small.append(bench.run_round(small_rows, 24, seed=50 + number))
            print(f"round {number + 1}: {large[-1]}  {small[-1]}", file=sys.stderr)
        reference = bench.reference.open(bench.reference.current_version())
        storage = measure_storage(folder, reference)
        answer = report(large, small, storage)
        bench.close()
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
