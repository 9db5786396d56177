"""Freeze the present schema with some data as an old state, to be migrated forward for ever.

Run ``python tests/golden/store_states/make.py`` once after a release, and commit the new
folder. A state is never made again: what matters is that it is old.
"""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc

from teiten.foundation.clock import FixedClock
from teiten.store import migration, schema, writer
from teiten.store.testing import make_coverage, make_packets, temporary_store
from teiten.store.writer import BlockRows

START_AT = datetime(2026, 11, 19, 20, 0, tzinfo=timezone.utc)


def make_block(clock: FixedClock) -> BlockRows:
    """Three batches over two days of Tokyo, in two data sets."""
    packets, windows = [], []
    for seq in range(1, 4):
        start_at = START_AT + timedelta(hours=9 * seq)
        shared = {"batch_seq": seq, "sensor": seq, "dataset": "live" if seq < 3 else "import:old"}
        windows.append(
            shared
            | {"window_start_at": start_at, "window_end_at": start_at + timedelta(minutes=5), "rows": 40}
        )
        packets.extend(
            shared | {"row": row, "src_addr": f"240.0.{seq}.{row % 9 + 1}", "dst_port": (23, 80, 22 + row)[row % 3],
                      "hints": row % 4, "country": ("JP", "KR", "")[row % 3], "asn": 64_512 + row % 5,
                      "tcp_fp": "1024:2:1460:", "nature": 1 + row % 3, "survey": row % 2,
                      "observed_at": start_at + timedelta(seconds=7 * row)}
            for row in range(40)
        )  # fmt: skip
    return BlockRows(str(uuid.UUID(int=1)), clock.now_us(), make_packets(*packets), make_coverage(*windows))


def main() -> None:
    clock = FixedClock(START_AT + timedelta(days=2))
    number = migration.list_migrations()[-1].number
    folder = Path(__file__).parent / f"{number:04}"
    folder.mkdir()
    block = make_block(clock)
    with temporary_store(clock) as store:
        writer.insert_block(store, block)
        (folder / "schema.sql").write_text(schema.describe(store.connections), encoding="utf-8")
        applied = [[one.number, one.name, one.digest] for one in migration.list_migrations()]
        (folder / "migrations.json").write_text(json.dumps(applied, indent=1) + "\n", encoding="utf-8")
    for name, table in (("packets", block.packets), ("coverage", block.coverage)):
        with (
            pa.OSFile(str(folder / f"{name}.arrow"), "wb") as file,
            pa.ipc.new_file(file, table.schema) as out,
        ):
            out.write_table(table)


if __name__ == "__main__":
    main()
