"""Forget what is old, per data set, counted from the day it **arrived**.

An old capture imported today is new; a term runs from its receipt. Whole partitions
are dropped where everything in them is old enough; raw rows of a day that late data
joined are deleted one by one. Roll-ups go by whole days only, once the last of their
packets is old enough. Captured payloads have a term of their own: their bytes are emptied, and
the examples go. A day under a legal hold stays as it is. What goes is recorded first, so that the check does not take it
for a loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa

from teiten.foundation.clock import from_us
from teiten.store import holding, metrics, partitions
from teiten.store.config import StoreConfig
from teiten.store.holding import Hold
from teiten.store.partitions import DayOfDataset, Partition
from teiten.store.schema import (
    COVERAGE_ROLLUPS,
    COVERAGE_SUMS,
    DAILY_ROLLUPS,
    HOURLY_PARTIAL_ROLLUPS,
    HOURLY_ROLLUPS,
    PARTIAL_ROLLUPS,
    PARTITIONED,
)
from teiten.store.service import Store

_EXACT = ("packets", "packets_excluded")
_EXAMPLES = ("payload_examples", "payload_examples_excluded")
#: A day of these that late data joined is thinned row by row.
_BY_ROW = (*_EXACT, *_EXAMPLES)
#: Tables of rows with the instant of their arrival; the roll-ups have the last day only.
_WITH_INSTANT = (*_EXACT, *_EXAMPLES, "coverage", "coverage_excluded", "lost_batches")
#: Kept as long as the daily roll-ups: every rate is divided by them.
_WITH_DAILY = (*COVERAGE_ROLLUPS, *COVERAGE_SUMS, "lost_batches", *DAILY_ROLLUPS, *PARTIAL_ROLLUPS)


@dataclass(frozen=True)
class Terms:
    """How many days after arrival each kind of row is kept."""

    #: Raw packets, by data set; :attr:`StoreConfig.raw_days` for those not named.
    raw_days: Mapping[str, int]
    default_raw_days: int
    hourly_days: int
    daily_days: int
    #: Captured bytes of payloads, wherever they are; never longer than the raw rows.
    payload_days: int = 90

    def days_of(self, table: str, dataset: str) -> int:
        raw = self.raw_days.get(dataset, self.default_raw_days)
        if table in _EXACT:
            return raw
        if table in _EXAMPLES:
            return min(raw, self.payload_days)
        if table in (*HOURLY_ROLLUPS, *HOURLY_PARTIAL_ROLLUPS):
            return self.hourly_days
        return self.daily_days if table in _WITH_DAILY else max(raw, self.hourly_days)


@dataclass(frozen=True)
class Removed:
    """What one table lost of one day."""

    table: str
    day: DayOfDataset
    rows: int
    #: The whole partition went.
    is_whole: bool


def terms_from(config: StoreConfig, raw_days: Mapping[str, int] | None = None) -> Terms:
    """Take the terms from the settings; ``raw_days`` names data sets with terms of their own."""
    return Terms(
        dict(raw_days or {}), config.raw_days, config.hourly_days, config.daily_days, config.payload_days
    )


def apply(store: Store, terms: Terms, *, held: Sequence[Hold] = ()) -> list[Removed]:
    """Remove everything whose term is over and that nothing holds, and say what that was."""
    removed = []
    for partition in partitions.list_partitions(store.connections, PARTITIONED):
        if holding.find_hold(held, partition.holds, store.config.zone):
            continue
        now = store.clock.now()
        days = terms.days_of(partition.table, partition.holds.dataset)
        with store.writing:
            one = _trim(store, partition, now - timedelta(days=days))
            if one is None and partition.table in _EXACT:
                one = _clear_payloads(store, partition, now - timedelta(days=terms.payload_days))
        if one is not None:
            metrics.REMOVED_ROWS.labels(one.table).inc(one.rows)
            removed.append(one)
    return removed


def remove_dataset(store: Store, dataset: str, *, held: Sequence[Hold] = ()) -> list[Removed]:
    """Remove one data set wholly, such as an import made in error.

    Raises:
        DayHeld: when one of its days is under a legal hold; nothing was removed.
    """
    removed = []
    with store.writing:
        found = partitions.list_partitions(store.connections, PARTITIONED)
        of_dataset = [partition for partition in found if partition.holds.dataset == dataset]
        holding.refuse_held(held, {one.holds for one in of_dataset}, store.config.zone)
        for partition in of_dataset:
            partitions.drop(store.connections, partition)
            removed.append(Removed(partition.table, partition.holds, partition.rows, is_whole=True))
        for table in ("removals", "erased_rows"):
            store.command(
                f"ALTER TABLE {table} DELETE WHERE dataset = {{dataset:String}} SETTINGS mutations_sync = 1",
                {"dataset": dataset},
            )
    return removed


def _clear_payloads(store: Store, partition: Partition, cutoff: datetime) -> Removed | None:
    """Empty the captured bytes of rows that arrived before ``cutoff``; hash and length stay."""
    if partition.holds.day >= cutoff.astimezone(ZoneInfo(store.config.zone)).date():
        return None
    values = {"table": partition.table, "id": partition.id, "cutoff": cutoff}
    rows = int(store.query("payloads_arrived_before", values, role="maintenance")["rows"][0].as_py())
    if rows == 0:
        return None
    _record(store, partition.holds, "payload", rows)
    store.command(
        f"ALTER TABLE {partition.table} UPDATE payload = '' IN PARTITION ID '{partition.id}'"
        " WHERE landed_at < {cutoff:DateTime64(6, 'UTC')} AND payload != '' SETTINGS mutations_sync = 1",
        values,
    )
    return Removed("payload", partition.holds, rows, is_whole=False)


def _trim(store: Store, partition: Partition, cutoff: datetime) -> Removed | None:
    cutoff_date = cutoff.astimezone(ZoneInfo(store.config.zone)).date()
    if partition.holds.day >= cutoff_date:
        return None  # nothing arrives before it is observed
    if _last_arrival(store, partition) < cutoff_date:
        _record(store, partition.holds, partition.table, partition.rows)
        partitions.drop(store.connections, partition)
        return Removed(partition.table, partition.holds, partition.rows, is_whole=True)
    return _delete_rows(store, partition, cutoff) if partition.table in _BY_ROW else None


def _last_arrival(store: Store, partition: Partition) -> date:
    """Give the day on which the last row arrived."""
    is_exact = partition.table in _WITH_INSTANT
    name = "last_arrival_of_rows" if is_exact else "last_arrival_of_rollup"
    values = {"table": partition.table, "id": partition.id, "zone": store.config.zone}
    answer = store.query(name, values, role="maintenance")
    last: date = answer["last"].cast(pa.date32())[0].as_py()
    return last


def _delete_rows(store: Store, partition: Partition, cutoff: datetime) -> Removed | None:
    values = {"table": partition.table, "id": partition.id, "cutoff": cutoff}
    answer = store.query("rows_arrived_before", values, role="maintenance")
    rows = int(answer["rows"][0].as_py())
    if rows == 0:
        return None
    _record(store, partition.holds, partition.table, rows)
    store.command(
        f"DELETE FROM {partition.table} IN PARTITION ID '{partition.id}'"  # noqa: S608 - our own tables
        " WHERE landed_at < {cutoff:DateTime64(6, 'UTC')}",
        values,
    )
    return Removed(partition.table, partition.holds, rows, is_whole=False)


def _record(store: Store, day: DayOfDataset, table: str, rows: int) -> None:
    now = from_us(store.clock.now_us())
    columns = {
        "dataset": pa.array([day.dataset]),
        "day": pa.array([day.day], pa.date32()),
        "table": pa.array([table]),
        "rows": pa.array([rows], pa.uint64()),
        "removed_at": pa.array([now], pa.timestamp("us", "UTC")),
    }
    token = f"removal:{table}:{day.dataset}:{day.day}:{now.isoformat()}"
    store.connections.insert("removals", pa.table(columns), token=token, role="maintenance")
