"""What the schema must look like: the declared columns, and a snapshot of every table."""

from __future__ import annotations

import re

from teiten.store.connections import Connections
from teiten.store.errors import StoreMismatch
from teiten.traffic.columns import COLUMNS

#: Roll-ups of packets, with the column that holds their time.
HOURLY_ROLLUPS = ("totals_1h", "ports_1h", "countries_1h", "networks_1h", "kinds_1h")
DAILY_ROLLUPS = (
    "networks_regions_1d",
    "ports_countries_1d",
    "ports_regions_1d",
    "fingerprints_1d",
    "sources_1d",
    "ports_1d",
    "kinds_1d",
    "countries_1d",
    "networks_1d",
)
#: Roll-ups of the packets that have what their key is about, so their sums are smaller.
HOURLY_PARTIAL_ROLLUPS = ("actors_1h", "probes_1h", "fingerprints_1h")
PARTIAL_ROLLUPS = (
    "fingerprints_ports_1d",
    "payloads_1d",
    "probes_1d",
    "actors_1d",
    *HOURLY_PARTIAL_ROLLUPS,
)
ROLLUPS = HOURLY_ROLLUPS + DAILY_ROLLUPS
#: Everything that is made from packets; what is made from another roll-up stands behind it.
PACKET_ROLLUPS = ROLLUPS + PARTIAL_ROLLUPS
#: Everything that is made from the batches' statements.
COVERAGE_ROLLUPS = ("coverage_1h", "coverage_1d")
#: Everything that is made from those: it names no sensors.
COVERAGE_SUMS = ("coverage_regions_1h", "coverage_regions_1d")
#: What excluded sensors sent, by the table from which it was taken.
EXCLUDED = {
    "packets": "packets_excluded",
    "payload_examples": "payload_examples_excluded",
    "coverage": "coverage_excluded",
}
#: Every table whose partitions are (data set, day).
PARTITIONED = (
    "packets",
    *PACKET_ROLLUPS,
    "payload_examples",
    "coverage",
    *COVERAGE_ROLLUPS,
    *COVERAGE_SUMS,
    "lost_batches",
    *EXCLUDED.values(),
)


def list_columns(connections: Connections, table: str) -> dict[str, str]:
    """Give name → ClickHouse type of a table, in the order of the table."""
    rows = connections.select(
        "SELECT name, type FROM system.columns"
        " WHERE database = currentDatabase() AND table = {table:String} ORDER BY position",
        {"table": table},
        role="maintenance",
    ).to_pylist()
    return {row["name"]: row["type"] for row in rows}


def check_packets(connections: Connections) -> None:
    """Compare the tables of packets with the declared columns.

    Raises:
        StoreMismatch: naming the first column that differs.
    """
    for table in ("packets", EXCLUDED["packets"]):
        _check_columns(table, list_columns(connections, table))


def _check_columns(table: str, real: dict[str, str]) -> None:
    declared = {column.name: column.clickhouse_type for column in COLUMNS}
    for name, kind in declared.items():
        if real.get(name) != kind:
            raise StoreMismatch(
                f"column {name} of {table} is {real.get(name, 'absent')} in the store but declared as {kind};"
                " a migration is missing: see docs/internals.md, adding a column"
            )
    surplus = [name for name in real if name not in declared]
    if surplus:
        raise StoreMismatch(f"{table} has columns that nobody declares: {', '.join(surplus)}")


def describe(connections: Connections) -> str:
    """Give the statements that make the present tables and views, without the database's name."""
    rows = connections.select(
        "SELECT name, create_table_query FROM system.tables"
        " WHERE database = currentDatabase() AND NOT startsWith(name, '.inner') ORDER BY name",
        role="maintenance",
    ).to_pylist()
    database = connections.select("SELECT currentDatabase() AS name", role="maintenance").to_pylist()[0][
        "name"
    ]
    return "\n\n".join(_plain(row["create_table_query"], database) + ";" for row in rows) + "\n"


def _plain(statement: str, database: str) -> str:
    text = re.sub(rf"`?{re.escape(database)}`?\.", "", statement)
    text = re.sub(r" DEFINER = \S+ SQL SECURITY DEFINER", "", text)
    return text.replace(", `", ",\n    `").replace(" (`", "\n(\n    `", 1)
