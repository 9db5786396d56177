"""Make the roll-ups of one day again from raw rows, without a moment in which they are missing.

Each roll-up is computed into a staging table by the very statement of its view, and
takes the place of the old partition atomically. Killed in between, some tables are new
and some old; running it again finishes. New blocks wait meanwhile (``Store.writing``);
loaders in other processes must be stopped, and a day that grew during the work is
noticed and done again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from teiten.store import metrics, partitions, schema
from teiten.store.connections import quote_identifier
from teiten.store.errors import RebuildRefused, StoreUnavailable
from teiten.store.partitions import DayOfDataset
from teiten.store.schema import COVERAGE_ROLLUPS, COVERAGE_SUMS, PACKET_ROLLUPS
from teiten.store.statements import StatementRunner

_TRIES = 3
_OF_DAY = "dataset = {{dataset:String}} AND toDate({time}, {{zone:String}}) = {{day:Date}}"
#: Column of the time in the table that a view reads.
_TIMES = {"packets": "observed_at", "coverage_1d": "day"}


def rebuild_day(store: StatementRunner, day: DayOfDataset) -> int:
    """Replace every roll-up of ``day`` and give the number of raw rows behind them.

    Raises:
        RebuildRefused: when retention has removed raw rows of that day.
        StoreUnavailable: when the day keeps growing while it is rebuilt.
    """
    _refuse_thinned(store, day)
    for _ in range(_TRIES):
        with store.writing:
            before = count_rows(store, day)
            for table in PACKET_ROLLUPS:
                replace_rollup(store, table, day, statement=select_rollup(store, table))
            rebuild_coverage(store, day)
            if count_rows(store, day) == before:
                metrics.REBUILT_PARTITIONS.inc()
                return before
    raise StoreUnavailable(
        f"{day.day} of {day.dataset} grew while its roll-ups were rebuilt; stop the loaders and run it again"
    )


def rebuild_coverage(store: StatementRunner, day: DayOfDataset) -> bool:
    """Replace the roll-ups of one day's coverage; False, and nothing done, where retention took batches."""
    if not has_whole_coverage(store, day):
        return False
    for table in COVERAGE_ROLLUPS:
        replace_rollup(store, table, day, statement=select_coverage(store, table))
    sum_up_coverage(store, day)
    return True


def sum_up_coverage(store: StatementRunner, day: DayOfDataset) -> None:
    """Make again what is made from the roll-ups of one day's coverage; after every change to these."""
    for table in COVERAGE_SUMS:
        replace_rollup(store, table, day, statement=select_rollup(store, table))


def has_whole_coverage(store: StatementRunner, day: DayOfDataset) -> bool:
    """Tell whether retention has left every batch whose window may reach into a day."""
    before = DayOfDataset(day.dataset, day.day - timedelta(days=1))
    return all("coverage" not in list_removed_tables(store, one) for one in (before, day))


def count_rows(store: StatementRunner, day: DayOfDataset) -> int:
    """Count the raw rows of a day."""
    answer = store.query("raw_sums_of_day", bind_day(day, store.config.zone), role="maintenance")
    return int(answer["packets"][0].as_py())


def select_rollup(store: StatementRunner, table: str) -> str:
    """Give the statement of a roll-up's view, for one day (``dataset``, ``day``)."""
    head, condition, groups = _cut_statement(store, table)
    of_day = _OF_DAY.format(time=_TIMES.get(find_source(store, table), "hour"))
    return f"{head} WHERE ({condition}) AND {of_day} GROUP BY {groups}"


def find_source(store: StatementRunner, table: str) -> str:
    """Name the table from which a roll-up is made: packets, coverage, or another roll-up."""
    head, _, _ = _cut_statement(store, table)
    return str(re.findall(r"\bFROM (?:\S+\.)?(\w+)", head)[-1])


def find_condition(store: StatementRunner, table: str) -> str:
    """Give the condition under which a packet counts in a roll-up; ``1`` when every packet does."""
    return _cut_statement(store, table)[1]


def select_coverage(store: StatementRunner, table: str) -> str:
    """Give the statement of a roll-up of the coverage for one day; windows that began the day before count."""
    head, _, tail = _statement_of(store, table).rpartition(" GROUP BY ")
    overlapping = "dataset = {dataset:String} AND toDate(window_start_at, {zone:String}) BETWEEN {before:Date} AND {day:Date}"
    rows = f"{head} FINAL WHERE {overlapping} GROUP BY {tail}"
    of_day = "toDate(hour, {zone:String})" if table.endswith("_1h") else "day"
    return f"SELECT * FROM ({rows}) WHERE {of_day} = {{day:Date}}"  # noqa: S608 - our own view


def list_removed_tables(store: StatementRunner, day: DayOfDataset) -> set[str]:
    """Name the tables of which retention took something of a day."""
    answer = store.query("removed_tables_of_day", bind_day(day, store.config.zone), role="maintenance")
    return {str(table) for table in answer["table"].to_pylist()}


def bind_day(day: DayOfDataset, zone: str) -> dict[str, object]:
    """Give the parameters that the statements of one day need."""
    return {
        "dataset": day.dataset,
        "day": day.day,
        "before": day.day - timedelta(days=1),
        "after": day.day + timedelta(days=1),
        "zone": zone,
    }


def _cut_statement(store: StatementRunner, table: str) -> tuple[str, str, str]:
    """Cut a view's statement into what is selected, its own condition and its groups."""
    rest, _, groups = _statement_of(store, table).rpartition(" GROUP BY ")
    head, _, condition = rest.partition(" WHERE ")
    return head, condition or "1", groups


def _statement_of(store: StatementRunner, table: str) -> str:
    answer = store.select(
        "SELECT as_select FROM system.tables WHERE database = currentDatabase() AND name = {view:String}",
        {"view": f"{table}_view"},
        role="maintenance",
    )
    return str(answer["as_select"][0].as_py())


def replace_rollup(store: StatementRunner, table: str, day: DayOfDataset, *, statement: str) -> None:
    """Put what ``statement`` gives for one day in the place of what a roll-up has of it, atomically."""
    columns = schema.list_columns(store.connections, table)
    names = ", ".join(quote_identifier(name) for name in columns)
    with _staging(store, table) as staging:
        sql = f"INSERT INTO {staging} ({names}) SELECT {names} FROM ({statement})"  # noqa: S608 - our own view
        store.command(sql, bind_day(day, store.config.zone))
        partitions.replace(store.connections, table, day, source=staging)


@contextmanager
def _staging(store: StatementRunner, table: str) -> Iterator[str]:
    staging = f"{table}_staging"
    store.command(f"DROP TABLE IF EXISTS {quote_identifier(staging)} SYNC")
    store.command(f"CREATE TABLE {quote_identifier(staging)} AS {quote_identifier(table)}")
    try:
        yield staging
    finally:
        store.command(f"DROP TABLE IF EXISTS {quote_identifier(staging)} SYNC")


def _refuse_thinned(store: StatementRunner, day: DayOfDataset) -> None:
    removed = store.query("removed_packets_of_day", bind_day(day, store.config.zone), role="maintenance")[
        "rows"
    ][0].as_py()
    if removed:
        raise RebuildRefused(
            f"retention removed {removed} raw rows of {day.day} of {day.dataset};"
            " its roll-ups cannot be made again and stay as they are"
        )
