"""DuckDB on the same packets: the main statement of some screens, if ``duckdb`` can be imported.

Only the last 24 hours are copied, with the columns that the statements need. A peer answers
the main statement of a screen, not all of its panels, so its figure is a lower bound.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from teiten.store.service import Store

_COLUMNS = "toUnixTimestamp64Micro(observed_at) AS at_us, hex(src_addr) AS src, sensor, region, protocol, dst_port, country, asn, hints, nature, survey, tcp_fp, ttl, src_port"
_TOP = "SELECT {0}, count(*), count(DISTINCT src) FROM packets GROUP BY 1 ORDER BY 2 DESC LIMIT 10"
_TREND = (
    "SELECT at_us // 900000000, dst_port, count(*) FROM packets WHERE dst_port IN"
    " (SELECT dst_port FROM packets GROUP BY 1 ORDER BY count(*) DESC LIMIT 8) GROUP BY ALL"
)
STATEMENTS: Mapping[str, tuple[str, ...]] = {
    "overview": (
        "SELECT count(*), count(DISTINCT src) FROM packets",
        _TOP.format("dst_port"), _TOP.format("country"), _TOP.format("asn"), _TOP.format("nature"),
    ),
    "explore trend": (_TREND,),
    "explore facets": tuple(_TOP.format(name) for name in ("country", "region", "hints", "tcp_fp", "nature", "dst_port", "asn")),
    "source page, busy": ("SELECT dst_port, count(*), count(DISTINCT sensor) FROM packets WHERE src = '{busy}' GROUP BY 1",),
    "explore rows": ("SELECT * FROM packets ORDER BY at_us DESC LIMIT 50",),
    "explore free filter": ("SELECT * FROM packets WHERE ttl = 243 AND src_port = 41414 ORDER BY at_us DESC LIMIT 50",),
}  # fmt: skip


def measure(store: Store, folder: Path, *, end: datetime, busy: str, rounds: int) -> dict[str, float]:
    """Give screen → median milliseconds of DuckDB; empty when it is not installed."""
    if importlib.util.find_spec("duckdb") is None:
        print("peer duckdb: missing (not installed)", file=sys.stderr)
        return {}
    import duckdb

    with duckdb.connect(str(folder / "packets.duckdb")) as peer:
        if not peer.execute("SELECT count(*) FROM information_schema.tables").fetchall()[0][0]:
            _copy(store, peer, end)
        found = {}
        for name, statements in STATEMENTS.items():
            times = []
            for _ in range(rounds + 1):
                began = time.perf_counter()
                for statement in statements:
                    peer.execute(statement.replace("{busy}", busy)).fetchall()
                times.append(1_000 * (time.perf_counter() - began))
            found[name] = round(statistics.median(times[1:]), 1)
    return found


def _copy(store: Store, peer: Any, end: datetime) -> None:
    for hour in range(24):
        first = end - timedelta(hours=24 - hour)
        rows = store.select(
            f"SELECT {_COLUMNS} FROM packets WHERE observed_at >= {{start:DateTime64(6, 'UTC')}}"
            " AND observed_at < {end:DateTime64(6, 'UTC')} ORDER BY observed_at",
            {"start": first, "end": first + timedelta(hours=1)},
            role="maintenance",
        )
        peer.register("rows", rows)
        peer.execute(
            "CREATE TABLE packets AS SELECT * FROM rows"
            if hour == 0
            else "INSERT INTO packets SELECT * FROM rows"
        )
        peer.unregister("rows")
