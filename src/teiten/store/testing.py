"""A real embedded store for tests: one folder per process, one database per test.

chDB opens one path per process, so every room's tests share this one. The migrations run
once a process; each test's database is restored from a backup of what they made.
"""

from __future__ import annotations

import atexit
import itertools
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from teiten.foundation.clock import Clock
from teiten.store.arrow_schemas import COVERAGE, EXAMPLES, PACKETS
from teiten.store.config import StoreConfig
from teiten.store.connections import quote_identifier
from teiten.store.service import Store
from teiten.traffic import addresses
from teiten.traffic.columns import COLUMNS

_numbers = itertools.count(1)


@cache
def shared_folder() -> str:
    """Give the folder in which this process's test databases lie; it goes when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="teiten-store-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    # The lock of the store lies beside its folder.
    return str(folder / "store")


@contextmanager
def temporary_store(
    clock: Clock | None = None, *, zone: str = "Asia/Tokyo", is_cloned: bool = True
) -> Iterator[Store]:
    """Open a migrated store in a database of its own, and drop that at the end.

    Args:
        is_cloned: copy what the migrations made before, a third of their work;
            otherwise they run now, at the time of ``clock``.
    """
    config = StoreConfig(path=shared_folder(), database=f"test_{next(_numbers)}", zone=zone)
    if is_cloned:
        _template(zone).copy_to(config.database)
    store = Store.open(config, clock)
    try:
        yield store
    finally:
        _drop(store)


class _Template:
    """A backup of an empty, migrated database, in the memory of the one connection that made it."""

    def __init__(self, zone: str) -> None:
        config = StoreConfig(path=shared_folder(), database=f"template_{next(_numbers)}", zone=zone)
        self._store = Store.open(config)
        self._name = quote_identifier(config.database)
        self._store.command(f"BACKUP DATABASE {self._name} TO Memory('migrated')")

    def copy_to(self, database: str) -> None:
        self._store.command(
            f"RESTORE DATABASE {self._name} AS {quote_identifier(database)} FROM Memory('migrated')"
        )


@cache
def _template(zone: str) -> _Template:
    return _Template(zone)


def _drop(store: Store) -> None:
    store.command(f"DROP DATABASE {quote_identifier(store.config.database)} SYNC")
    store.close()


def make_packets(*rows: Mapping[str, Any], **shared: Any) -> pa.Table:
    """Make packet rows from the columns that matter to a test; the rest is a plain SYN to 23/tcp.

    Instants may be given as datetimes, addresses as text.
    """
    filled = [{**_PACKET, **shared, **row} for row in rows]
    for number, row in enumerate(filled):
        row.setdefault("row", number)
        for name in ("src_addr", "dst_addr"):
            if isinstance(row[name], str):
                row[name] = addresses.from_text(row[name])
    columns = {
        field.name: pa.array([row[field.name] for row in filled], _plain(field.type)) for field in PACKETS
    }
    return pa.table(columns).cast(PACKETS)


def make_coverage(*rows: Mapping[str, Any], **shared: Any) -> pa.Table:
    """Make coverage rows from the columns that matter to a test; the rest is one silent IPv4 address."""
    filled = [{**_COVERAGE, **shared, **row} for row in rows]
    columns = {field.name: pa.array([row[field.name] for row in filled], field.type) for field in COVERAGE}
    return pa.table(columns, schema=COVERAGE)


def make_examples(*rows: Mapping[str, Any], **shared: Any) -> pa.Table:
    """Make payload examples from the columns that matter to a test."""
    filled = [{**_EXAMPLE, **shared, **row} for row in rows]
    for row in filled:
        if isinstance(row["src_addr"], str):
            row["src_addr"] = addresses.from_text(row["src_addr"])
    columns = {field.name: pa.array([row[field.name] for row in filled], field.type) for field in EXAMPLES}
    return pa.table(columns, schema=EXAMPLES)


def _plain(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_dictionary(kind) else kind


_NOON = datetime(2026, 11, 20, 3, 0, tzinfo=timezone.utc)
_PACKET: dict[str, Any] = {
    **{column.name: 0 for column in COLUMNS},
    **{column.name: "" for column in COLUMNS if column.kind in ("code", "text")},
    **{column.name: b"" for column in COLUMNS if column.kind == "bytes"},
    "dataset": "live", "sensor": 1, "epoch": 1, "batch_seq": 1, "region": "kanto",
    "observed_at": _NOON, "landed_at": _NOON + timedelta(minutes=5), "ip_version": 4,
    "src_addr": "240.0.0.1", "dst_addr": "192.0.2.1", "protocol": 6, "src_port": 40_000, "dst_port": 23,
    "tcp_flags": 2, "tcp_window": 1024, "ttl": 50, "total_length": 40, "nature": 1, "rule_version": 1,
}  # fmt: skip
del _PACKET["row"]
_COVERAGE: dict[str, Any] = {
    "dataset": "live", "sensor": 1, "epoch": 1, "batch_seq": 1, "key_no": 1, "region": "kanto",
    "window_start_at": _NOON, "window_end_at": _NOON + timedelta(minutes=5), "rows": 0, "captured": 0,
    "kernel_drops": 0, "excluded": 0, "gap_us": 0, "clock_offset_us": None, "clock_stepped": 0,
    "payload_bytes": 64, "boot_id": "boot-0001", "software": "0.1.0", "watched_prefix": ["192.0.2.1/32"],
    "watched_ip_version": [4], "watched_prefix_length": [32], "watched_mode": ["silent"],
    "watched_addresses": [1.0], "landed_at": _NOON + timedelta(minutes=5), "block": bytes(16),
}  # fmt: skip
_EXAMPLE: dict[str, Any] = {
    "dataset": "live", "payload_hash": 7, "sensor": 1, "epoch": 1, "batch_seq": 1, "row": 0, "observed_at": _NOON,
    "src_addr": "240.0.0.1", "protocol": 17, "dst_port": 53, "payload_length": 5, "payload": b"hello",
    "landed_at": _NOON + timedelta(minutes=5),
}  # fmt: skip
