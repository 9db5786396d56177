"""Open what a stopped installation holds and count it, without the product's own counting.

Prints one JSON object: the ledger's batches by state, every batch's rows and sums in the
store, totals of each roll-up, and what ``store.check`` finds.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import psycopg

from teiten.cli import wiring
from teiten.cli.installation import Installation
from teiten.foundation import settings
from teiten.store import check
from teiten.store.schema import ROLLUPS
from teiten.store.service import Store

_BATCHES = """
    SELECT sensor, epoch, batch_seq, count() AS n, uniqExact(row) AS rows, sum(toUInt64(tcp_seq)) AS tcp_seq,
        sum(toUInt64(dst_port)) AS dst_port, min(toUnixTimestamp64Micro(observed_at)) AS first_us,
        max(toUnixTimestamp64Micro(observed_at)) AS last_us
    FROM packets GROUP BY sensor, epoch, batch_seq ORDER BY sensor, epoch, batch_seq
"""
_COVERAGE = """
    SELECT sensor, epoch, batch_seq, count() AS n, max(rows) AS rows
    FROM coverage GROUP BY sensor, epoch, batch_seq ORDER BY sensor, epoch, batch_seq
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    options = parser.parse_args()
    installation = Installation(settings.load(options.config))
    try:
        told = {"ledger": read_ledger(installation.database_url)}
        store = wiring.open_store(installation)
        try:
            told |= read_store(store)
        finally:
            store.close()
    finally:
        installation.close()
    print(json.dumps(told))
    return 0


def read_ledger(url: str) -> list[list[Any]]:
    with psycopg.connect(url) as connection:
        return [
            list(row)
            for row in connection.execute(
                "SELECT sensor, epoch, seq, encode(digest, 'hex'), state, count(*)"
                " FROM landing.batches GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3"
            )
        ]


def read_store(store: Store) -> dict[str, Any]:
    def rows(sql: str) -> list[list[Any]]:
        return [list(one.values()) for one in store.select(sql, role="maintenance").to_pylist()]

    def number(sql: str) -> int:
        return int(rows(sql)[0][0] or 0)

    return {
        "batches": rows(_BATCHES),
        "coverage": rows(_COVERAGE),
        "packets": number("SELECT count() FROM packets"),
        "rollups": {table: number(f"SELECT sum(packets) FROM {table}") for table in ROLLUPS},
        "coverage_batches": number("SELECT sum(batches) FROM coverage_1h"),
        "coverage_rows": number("SELECT sum(rows) FROM coverage_1h"),
        "address_seconds": float(rows("SELECT sum(address_seconds) FROM coverage_1h")[0][0] or 0),
        "differences": [one.message for one in check.check_all(store)],
    }


if __name__ == "__main__":
    sys.exit(main())
