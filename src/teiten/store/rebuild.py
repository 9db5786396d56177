"""Make the roll-ups of one day again from raw rows, without a moment in which they are missing.

Each roll-up is computed into a staging table by the very statement of its view, and
takes the place of the old partition atomically. Killed in between, some tables are new
and some old; running it again finishes. New blocks wait meanwhile (``Store.writing``);
loaders in other processes must be stopped, and a day that grew during the work is
noticed and done again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from teiten.store import metrics, partitions, schema
from teiten.store.connections import quote_identifier
from teiten.store.errors import RebuildRefused, StoreUnavailable
from teiten.store.partitions import DayOfDataset
from teiten.store.schema import ROLLUPS
from teiten.store.service import Store

_TRIES = 3


def rebuild_day(store: Store, day: DayOfDataset) -> int:
    """Replace every roll-up of ``day`` and give the number of raw rows behind them.

    Raises:
        RebuildRefused: when retention has removed raw rows of that day.
        StoreUnavailable: when the day keeps growing while it is rebuilt.
    """
    _refuse_thinned(store, day)
    for _ in range(_TRIES):
        with store.writing:
            before = count_rows(store, day)
            for table in ROLLUPS:
                _rebuild_table(store, table, day, select_rollup(store, table))
            _rebuild_table(store, "coverage_1h", day, select_coverage(store))
            if count_rows(store, day) == before:
                metrics.REBUILT_PARTITIONS.inc()
                return before
    raise StoreUnavailable(
        f"{day.day} of {day.dataset} grew while its roll-ups were rebuilt; stop the loaders and run it again"
    )


def count_rows(store: Store, day: DayOfDataset) -> int:
    """Count the raw rows of a day."""
    answer = store.query("raw_sums_of_day", bind_day(day, store.config.zone), role="maintenance")
    return int(answer["packets"][0].as_py())


def select_rollup(store: Store, table: str) -> str:
    """Give the statement of a roll-up's view, for one day (``dataset``, ``day``)."""
    of_day = "dataset = {dataset:String} AND toDate(observed_at, {zone:String}) = {day:Date}"
    return _statement_of(store, table).replace(" GROUP BY ", f" WHERE {of_day} GROUP BY ", 1)


def select_coverage(store: Store) -> str:
    """Give the statement of the hourly coverage for one day; windows that began the day before count."""
    head, _, tail = _statement_of(store, "coverage_1h").rpartition(" GROUP BY ")
    overlapping = "dataset = {dataset:String} AND toDate(window_start_at, {zone:String}) BETWEEN {before:Date} AND {day:Date}"
    hours = f"{head} FINAL WHERE {overlapping} GROUP BY {tail}"
    return f"SELECT * FROM ({hours}) WHERE toDate(hour, {{zone:String}}) = {{day:Date}}"  # noqa: S608 - our own view


def bind_day(day: DayOfDataset, zone: str) -> dict[str, object]:
    """Give the parameters that the statements of one day need."""
    return {
        "dataset": day.dataset,
        "day": day.day,
        "before": day.day - timedelta(days=1),
        "after": day.day + timedelta(days=1),
        "zone": zone,
    }


def _statement_of(store: Store, table: str) -> str:
    answer = store.select(
        "SELECT as_select FROM system.tables WHERE database = currentDatabase() AND name = {view:String}",
        {"view": f"{table}_view"},
        role="maintenance",
    )
    return str(answer["as_select"][0].as_py())


def _rebuild_table(store: Store, table: str, day: DayOfDataset, statement: str) -> None:
    columns = schema.list_columns(store.connections, table)
    names = ", ".join(quote_identifier(name) for name in columns)
    with _staging(store, table) as staging:
        sql = f"INSERT INTO {staging} ({names}) SELECT {names} FROM ({statement})"  # noqa: S608 - our own view
        store.command(sql, bind_day(day, store.config.zone))
        partitions.replace(store.connections, table, day, source=staging)


@contextmanager
def _staging(store: Store, table: str) -> Iterator[str]:
    staging = f"{table}_staging"
    store.command(f"DROP TABLE IF EXISTS {quote_identifier(staging)} SYNC")
    store.command(f"CREATE TABLE {quote_identifier(staging)} AS {quote_identifier(table)}")
    try:
        yield staging
    finally:
        store.command(f"DROP TABLE IF EXISTS {quote_identifier(staging)} SYNC")


def _refuse_thinned(store: Store, day: DayOfDataset) -> None:
    removed = store.query("removed_packets_of_day", bind_day(day, store.config.zone), role="maintenance")[
        "rows"
    ][0].as_py()
    if removed:
        raise RebuildRefused(
            f"retention removed {removed} raw rows of {day.day} of {day.dataset};"
            " its roll-ups cannot be made again and stay as they are"
        )
