"""Partitions of the store's tables: one per data set and day of the installation's zone."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from teiten.store.connections import Connections, quote_identifier


@dataclass(frozen=True, order=True)
class DayOfDataset:
    """What one partition holds."""

    dataset: str
    #: Day in the installation's zone.
    day: date


@dataclass(frozen=True)
class Partition:
    """One partition of one table."""

    table: str
    holds: DayOfDataset
    #: ClickHouse's own name of it, hexadecimal or digits.
    id: str
    rows: int


def list_partitions(connections: Connections, tables: Iterable[str]) -> list[Partition]:
    """Give the partitions with rows of ``tables``, oldest day first."""
    rows = connections.select(
        "SELECT table, partition, partition_id, sum(rows) AS rows FROM system.parts"
        " WHERE database = currentDatabase() AND active AND has({tables:Array(String)}, table)"
        " GROUP BY table, partition, partition_id",
        {"tables": list(tables)},
        role="maintenance",
    ).to_pylist()
    found = [Partition(r["table"], _read(r["partition"]), r["partition_id"], r["rows"]) for r in rows]
    return sorted(
        found, key=lambda partition: (partition.holds.day, partition.holds.dataset, partition.table)
    )


def list_days(connections: Connections, tables: Iterable[str] = ("packets",)) -> list[DayOfDataset]:
    """Give the (data set, day) pairs that any of ``tables`` has."""
    return sorted({partition.holds for partition in list_partitions(connections, tables)})


def drop(connections: Connections, partition: Partition) -> None:
    """Remove one partition with everything in it."""
    connections.command(
        f"ALTER TABLE {quote_identifier(partition.table)} DROP PARTITION ID '{partition.id}'",
        role="maintenance",
    )


def replace(connections: Connections, table: str, holds: DayOfDataset, *, source: str) -> None:
    """Put the day of ``source`` in the place of that of ``table``, atomically; an empty one empties it."""
    found = [one for one in list_partitions(connections, [source, table]) if one.holds == holds]
    new = [one for one in found if one.table == source]
    old = [one for one in found if one.table == table]
    if new:
        connections.command(
            f"ALTER TABLE {quote_identifier(table)}"
            f" REPLACE PARTITION ID '{new[0].id}' FROM {quote_identifier(source)}",
            role="maintenance",
        )
    elif old:
        drop(connections, old[0])


def _read(text: str) -> DayOfDataset:
    dataset, day = ast.literal_eval(text)
    return DayOfDataset(dataset, date.fromisoformat(day))
