"""Masking: what guarded figures add to a question, as member and as analyst over the same whole period.

The peer is the analyst's own question in the same run, over the same store and period. The store
is made: 0.8 million packets of 400 sensors over two days. ``BENCH_SMALL=1`` is a short form.
Warm runs in turn; medians of the CPU time of all threads, which other work on the machine does not lengthen. A ratio of 1.10 is the budget.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pyarrow as pa

from teiten.foundation.clock import FixedClock
from teiten.search.config import SearchConfig
from teiten.search.query import Query
from teiten.search.service import Search
from teiten.search.visibility import Visibility, for_viewer
from teiten.store import writer
from teiten.store.arrow_schemas import PACKETS
from teiten.store.testing import make_coverage, make_packets, temporary_store

SMALL = os.environ.get("BENCH_SMALL") == "1"
ROWS = 60_000 if SMALL else 800_000
SENSORS = 40 if SMALL else 400
ROUNDS = 5 if SMALL else 9
NOW = datetime(2026, 11, 21, 3, 0, tzinfo=timezone.utc)
PERIOD = timedelta(hours=48)


def make_rows(rows: int, rng: np.random.Generator, *, seed_row: pa.Table) -> pa.Table:
    """Make packets with heavy heads and long tails: sources, ports and fingerprints as scanners have them."""
    start_us = int((NOW - PERIOD).timestamp() * 1_000_000)
    sources = np.frombuffer(bytes(10) + b"\xff\xff", np.uint8)
    address = np.tile(np.concatenate([sources, np.zeros(4, np.uint8)]), (rows, 1))
    source = (0xF0000000 + rng.zipf(1.3, rows) % 200_000).astype(">u4")
    address[:, 12:] = source.view(np.uint8).reshape(-1, 4)
    ports = np.where(
        rng.random(rows) < 0.6, rng.choice([22, 23, 80, 443, 8080], rows), rng.integers(1, 65_536, rows)
    )
    chosen: dict[str, Any] = {
        "sensor": (1 + rng.integers(0, SENSORS, rows)).astype(np.uint32),
        "row": np.arange(rows, dtype=np.uint32),
        "observed_at": pa.array(
            np.sort(start_us + rng.integers(0, int(PERIOD.total_seconds()) * 1_000_000, rows))
        ),
        "src_addr": pa.array([each.tobytes() for each in address], pa.binary(16)),
        "dst_port": ports.astype(np.uint16),
        "asn": (64_500 + source.astype(np.int64) % 900).astype(np.uint32),
        "hints": rng.choice([0, 0, 1, 4], rows).astype(np.uint32),
    }
    columns = {}
    for field in PACKETS:
        if field.name in chosen:
            columns[field.name] = pa.array(chosen[field.name]).cast(field.type)
        else:
            value = seed_row.column(field.name)[0]
            columns[field.name] = pa.repeat(value, rows)
    return pa.table(columns, schema=PACKETS)


QUESTIONS: dict[str, Callable[[Search, Visibility, Query], Any]] = {
    "totals": lambda search, viewer, query: search.totals(viewer, query),
    "series by port": lambda search, viewer, query: search.series(viewer, query, dimension="dst_port"),
    "top AS": lambda search, viewer, query: search.top(viewer, query, dimension="asn"),
    "top source": lambda search, viewer, query: search.top(viewer, query, dimension="src_addr", sparks=False),
    "facets": lambda search, viewer, query: search.facets(
        viewer, query, dimensions=["country", "hint", "dst_port"]
    ),
    "raw series": lambda search, viewer, query: search.series(
        viewer, replace(query, filters=None).include("tcp_fp", ""), dimension="dst_port", step_seconds=3_600
    ),
    "rows": lambda search, viewer, query: search.rows(viewer, query, limit=50, count=False),
}


def measure(
    search: Search, ask: Callable[..., Any], viewers: tuple[Visibility, ...], query: Query
) -> list[float]:
    """Give the median CPU seconds of each viewer, asked in turn so that the machine's mood is shared."""
    spent: list[list[float]] = [[] for _ in viewers]
    for round_number in range(ROUNDS + 2):
        for place, viewer in enumerate(viewers):
            search._desk.memory.forget()  # noqa: SLF001 - a remembered answer measures nothing
            started = time.process_time()
            ask(search, viewer, query)
            if round_number >= 2:  # warm
                spent[place].append(time.process_time() - started)
    return [statistics.median(each) for each in spent]


def main() -> None:
    clock, rng = FixedClock(NOW), np.random.default_rng(7)
    viewers = (
        for_viewer("analyst"),
        for_viewer("member", organisation_id=1, secret=b"bench", delay_seconds=0),
    )
    query = Query("live", NOW - PERIOD, NOW)
    with temporary_store(clock) as store:
        seed_row = make_packets({"landed_at": NOW, "country": "US"})
        block = writer.BlockRows(
            block="00000000-0000-0000-0000-0000000000be",
            composed_at_us=clock.now_us(),
            packets=make_rows(ROWS, rng, seed_row=seed_row),
            coverage=make_coverage(),
        )
        writer.insert_block(store, block)
        search = Search(store, clock, SearchConfig(member_delay_seconds=0))
        print(f"{ROWS:,} packets, {SENSORS} sensors, {ROUNDS} rounds; load {os.getloadavg()[0]:.1f}")
        for name, ask in QUESTIONS.items():
            analyst, member = measure(search, ask, viewers, query)
            print(
                f"{name:16} analyst {analyst * 1000:7.1f} ms  member {member * 1000:7.1f} ms  ratio {member / analyst:.2f}"
            )
        search.close()


if __name__ == "__main__":
    sys.exit(main())
