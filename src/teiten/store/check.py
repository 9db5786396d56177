"""Compare what must agree: raw rows, roll-ups, and what the batches said they held."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import pyarrow.compute as pc

from teiten.store import partitions, rebuild
from teiten.store.partitions import DayOfDataset
from teiten.store.schema import COVERAGE_ROLLUPS, COVERAGE_SUMS, PACKET_ROLLUPS, PARTIAL_ROLLUPS, ROLLUPS
from teiten.store.service import Store

#: Shares of a window are summed as floating-point numbers.
_TOLERANCE = 1e-9
_COVERAGE_FIGURES = (
    "batches", "rows", "captured", "kernel_drops", "excluded", "gap_us", "address_seconds", "sensor_seconds",
)  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """One figure that does not agree."""

    day: DayOfDataset
    #: The table at fault, or ``packets`` when raw rows differ from the batches' statements.
    table: str
    #: Which figure: ``packets``, ``bytes``, ``batches``, ``address_seconds`` …
    figure: str
    expected: float
    found: float

    @property
    def message(self) -> str:
        return (
            f"{self.day.dataset} {self.day.day}: {self.figure} of {self.table} is {self.found:g},"
            f" but should be {self.expected:g}"
        )


def check_all(store: Store, *, day: date | None = None) -> list[Difference]:
    """Check every data set and day, or those of one ``day``."""
    days = partitions.list_days(
        store.connections, ("packets", "coverage", *COVERAGE_ROLLUPS, *PACKET_ROLLUPS)
    )
    return [
        difference for one in days if day is None or one.day == day for difference in check_day(store, one)
    ]


def check_day(store: Store, day: DayOfDataset) -> list[Difference]:
    """Check one day; what retention removed is not expected."""
    removed = rebuild.list_removed_tables(store, day)
    found: list[Difference] = []
    if "packets" not in removed:
        found.extend(_check_rollups(store, day, removed))
        found.extend(_check_partial_rollups(store, day, removed))
        found.extend(_check_batches(store, day, removed))
    if rebuild.has_whole_coverage(store, day):
        for table in COVERAGE_ROLLUPS:
            if table not in removed:
                found.extend(_check_coverage(store, day, table))
    found.extend(_check_coverage_sums(store, day, removed))
    return found


def _check_rollups(store: Store, day: DayOfDataset, removed: set[str]) -> Iterator[Difference]:
    raw = _one(store, "raw_sums_of_day", day)
    for table in ROLLUPS:
        if table in removed:
            continue
        name = _name_sums(table, "hourly_sums_of_day", "daily_sums_of_day")
        figures = ("packets", "bytes") if table in ("totals_1h", "sources_1d") else ("packets",)
        rolled = _one(store, name, day, table=table) | (
            _one(store, f"{table}_bytes_of_day", day) if "bytes" in figures else {}
        )
        for figure in figures:
            if rolled[figure] != raw[figure]:
                yield Difference(day, table, figure, raw[figure], rolled[figure])


def _check_partial_rollups(store: Store, day: DayOfDataset, removed: set[str]) -> Iterator[Difference]:
    """Compare the roll-ups in which only some packets count with the packets that do."""
    tables = [table for table in PARTIAL_ROLLUPS if table not in removed]
    conditions = [f"countIf({rebuild.find_condition(store, table)}) AS {table}" for table in tables]
    if not conditions:
        return
    sql = (
        f"SELECT {', '.join(conditions)} FROM packets"  # noqa: S608 - conditions of our own views
        " WHERE dataset = {dataset:String} AND toDate(observed_at, {zone:String}) = {day:Date}"
    )
    parameters = rebuild.bind_day(day, store.config.zone)
    raw = store.select(sql, parameters, role="maintenance").to_pylist()[0]
    for table in tables:
        name = _name_sums(table, "hourly_sums_of_day", "daily_sums_of_day")
        rolled = _one(store, name, day, table=table)
        if rolled["packets"] != raw[table]:
            yield Difference(day, table, "packets", raw[table], rolled["packets"])


def _check_batches(store: Store, day: DayOfDataset, removed: set[str]) -> Iterator[Difference]:
    """Compare each batch's stated rows with those in the table; a window may end on the next day."""
    after = DayOfDataset(day.dataset, day.day + timedelta(days=1))
    if "coverage" in removed or "packets" in rebuild.list_removed_tables(store, after):
        return
    answer = store.query(
        "batches_that_differ",
        rebuild.bind_day(day, store.config.zone),
        role="maintenance",
    ).to_pylist()[0]
    if answer["batches"]:
        yield Difference(day, "packets", "rows of batches", answer["stated"], answer["found"])


def _check_coverage(store: Store, day: DayOfDataset, table: str) -> Iterator[Difference]:
    name = _name_sums(table, "coverage_sums_of_day", "daily_coverage_sums_of_day")
    stored = _one(store, name, day)
    expected = _sum_figures(store, rebuild.select_coverage(store, table), day)
    for figure in _COVERAGE_FIGURES:
        if abs(expected[figure] - stored[figure]) > _TOLERANCE * max(1.0, abs(expected[figure])):
            yield Difference(day, table, figure, expected[figure], stored[figure])


def _check_coverage_sums(store: Store, day: DayOfDataset, removed: set[str]) -> Iterator[Difference]:
    """Compare coverage without sensors with the roll-up from which it is made."""
    for table, source in zip(COVERAGE_SUMS, COVERAGE_ROLLUPS, strict=True):
        if removed & {table, source}:
            continue
        expected, stored = (_sum_seconds(store, day, each) for each in (source, table))
        for figure, seconds in expected.items():
            if abs(seconds - stored[figure]) > _TOLERANCE * max(1.0, seconds):
                yield Difference(day, table, figure, seconds, stored[figure])


def _sum_seconds(store: Store, day: DayOfDataset, table: str) -> dict[str, float]:
    of_day = "toDate(hour, {zone:String})" if table.endswith("_1h") else "day"
    sql = (
        f"SELECT sum(address_seconds) AS address_seconds, sum(sensor_seconds) AS sensor_seconds FROM {table}"  # noqa: S608 - our own
        f" WHERE dataset = {{dataset:String}} AND {of_day} = {{day:Date}}"
    )
    row = store.select(sql, rebuild.bind_day(day, store.config.zone), role="maintenance").to_pylist()[0]
    return {figure: value or 0.0 for figure, value in row.items()}


def _name_sums(table: str, hourly: str, daily: str) -> str:
    return hourly if table.endswith("_1h") else daily


def _one(store: Store, name: str, day: DayOfDataset, **identifiers: str) -> dict[str, float]:
    parameters = {**rebuild.bind_day(day, store.config.zone), **identifiers}
    row = store.query(name, parameters, role="maintenance").to_pylist()[0]
    return {figure: value or 0 for figure, value in row.items()}


def _sum_figures(store: Store, statement: str, day: DayOfDataset) -> dict[str, float]:
    rows = store.select(statement, rebuild.bind_day(day, store.config.zone), role="maintenance")
    return {figure: pc.sum(rows[figure]).as_py() or 0 for figure in _COVERAGE_FIGURES}
