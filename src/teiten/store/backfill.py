"""After a migration that changes roll-ups: make those of the stored days again.

A migration with ``-- rebuild: days`` gives roll-ups columns, or makes new ones, that
only new packets would fill. So every stored day is rebuilt once all migrations are
applied, before anybody loads or asks. Which days are done is noted: cut short, the work
goes on where it stood, and a day that is done twice is the same as one done once.

Where raw rows are gone, the roll-ups of packets stay as they are (what they did not hold
stays empty); the daily coverage is then made from what is left of the coverage.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from teiten.store import migration, partitions, rebuild
from teiten.store.partitions import DayOfDataset
from teiten.store.statements import StatementRunner

_ALL = "rollups_of"
#: Tables from whose rows roll-ups are made.
_RAW = ("packets", "coverage")
_HOURS_TO_DAYS = """
SELECT
    dataset, toDate(hour, {zone:String}) AS day, sensor, region, ip_version, prefix_length, mode,
    sum(c.address_seconds) AS address_seconds, sum(c.sensor_seconds) AS sensor_seconds,
    sum(c.batches) AS batches, sum(c.rows) AS rows, sum(c.captured) AS captured,
    sum(c.kernel_drops) AS kernel_drops, sum(c.excluded) AS excluded, sum(c.gap_us) AS gap_us,
    sum(c.clock_steps) AS clock_steps, max(c.last_window_end_at) AS last_window_end_at,
    max(c.landed_date) AS landed_date
FROM coverage_1h AS c
WHERE dataset = {dataset:String} AND toDate(hour, {zone:String}) = {day:Date}
GROUP BY dataset, day, sensor, region, ip_version, prefix_length, mode
"""


def fill_days(store: StatementRunner, announce: Callable[[str], None] | None = None) -> int:
    """Rebuild the days that migrations ask for, and give their number; 0 when all is as it should be."""
    wanted = max(
        (one.number for one in migration.list_migrations() if one.needs_rebuild),
        default=0,
    )
    if int(_recall(store).get(_ALL, "0")) >= wanted:
        return 0
    days = partitions.list_days(store.connections, ("packets", "coverage", "coverage_1h"))
    raw = {table: frozenset(partitions.list_days(store.connections, (table,))) for table in _RAW}
    done = 0
    for number, day in enumerate(days, start=1):
        if int(_recall(store).get(_name(day), "0")) < wanted:
            if announce is not None:
                announce(f"roll-ups of {day.dataset} {day.day} ({number} of {len(days)} days)")
            _fill_day(store, day, {table for table in _RAW if day not in raw[table]})
            _note(store, _name(day), wanted)
            done += 1
    _note(store, _ALL, wanted)
    store.command(f"ALTER TABLE store_meta DELETE WHERE startsWith(name, '{_ALL}:')")
    return done


def _fill_day(store: StatementRunner, day: DayOfDataset, missing: set[str]) -> None:
    """Fill one day from its raw rows; where some are missing, for whatever reason, nothing is emptied."""
    removed = rebuild.list_removed_tables(store, day) | missing
    if "packets" not in removed:
        rebuild.rebuild_day(store, day)
    elif "coverage" not in removed and rebuild.rebuild_coverage(store, day):
        return
    has_whole = "coverage" not in removed and rebuild.has_whole_coverage(store, day)
    if not has_whole and "coverage_1h" not in removed:
        rebuild.replace_rollup(store, "coverage_1d", day, statement=_HOURS_TO_DAYS)
    rebuild.sum_up_coverage(store, day)


def _name(day: DayOfDataset) -> str:
    return f"{_ALL}:{day.dataset}:{day.day}"


def _recall(store: StatementRunner) -> dict[str, str]:
    rows = store.select(
        f"SELECT name, value FROM store_meta FINAL WHERE startsWith(name, '{_ALL}')",  # noqa: S608 - our own name
        role="maintenance",
    ).to_pylist()
    return {row["name"]: row["value"] for row in rows}


def _note(store: StatementRunner, name: str, number: int) -> None:
    row = pa.table({"name": [name], "value": [str(number)]})
    store.connections.insert("store_meta", row, token=f"{name}={number}", role="maintenance")
