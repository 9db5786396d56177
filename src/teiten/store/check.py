"""Compare what must agree: raw rows, roll-ups, and what the batches said they held."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import pyarrow.compute as pc

from teiten.store import partitions, rebuild
from teiten.store.partitions import DayOfDataset
from teiten.store.schema import ROLLUPS
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
    days = partitions.list_days(store.connections, ("packets", "coverage", "coverage_1h", *ROLLUPS))
    return [
        difference for one in days if day is None or one.day == day for difference in check_day(store, one)
    ]


def check_day(store: Store, day: DayOfDataset) -> list[Difference]:
    """Check one day; what retention removed is not expected."""
    removed = _removed_tables(store, day)
    found: list[Difference] = []
    if "packets" not in removed:
        found.extend(_check_rollups(store, day, removed))
        found.extend(_check_batches(store, day, removed))
    if not removed & {"coverage", "coverage_1h"}:
        found.extend(_check_coverage(store, day))
    return found


def _check_rollups(store: Store, day: DayOfDataset, removed: set[str]) -> Iterator[Difference]:
    raw = _one(store, "raw_sums_of_day", day)
    for table in ROLLUPS:
        if table in removed:
            continue
        name = "hourly_sums_of_day" if table.endswith("_1h") else "daily_sums_of_day"
        figures = ("packets", "bytes") if table in ("totals_1h", "sources_1d") else ("packets",)
        rolled = _one(store, name, day, table=table) | (
            _one(store, f"{table}_bytes_of_day", day) if "bytes" in figures else {}
        )
        for figure in figures:
            if rolled[figure] != raw[figure]:
                yield Difference(day, table, figure, raw[figure], rolled[figure])


def _check_batches(store: Store, day: DayOfDataset, removed: set[str]) -> Iterator[Difference]:
    """Compare each batch's stated rows with those in the table; a window may end on the next day."""
    after = DayOfDataset(day.dataset, day.day + timedelta(days=1))
    if "coverage" in removed or "packets" in _removed_tables(store, after):
        return
    answer = store.query(
        "batches_that_differ",
        rebuild.bind_day(day, store.config.zone),
        role="maintenance",
    ).to_pylist()[0]
    if answer["batches"]:
        yield Difference(day, "packets", "rows of batches", answer["stated"], answer["found"])


def _check_coverage(store: Store, day: DayOfDataset) -> Iterator[Difference]:
    stored = _one(store, "coverage_sums_of_day", day)
    expected = _sum_figures(store, rebuild.select_coverage(store), day)
    for figure in _COVERAGE_FIGURES:
        if abs(expected[figure] - stored[figure]) > _TOLERANCE * max(1.0, abs(expected[figure])):
            yield Difference(day, "coverage_1h", figure, expected[figure], stored[figure])


def _one(store: Store, name: str, day: DayOfDataset, **identifiers: str) -> dict[str, float]:
    parameters = {**rebuild.bind_day(day, store.config.zone), **identifiers}
    row = store.query(name, parameters, role="maintenance").to_pylist()[0]
    return {figure: value or 0 for figure, value in row.items()}


def _sum_figures(store: Store, statement: str, day: DayOfDataset) -> dict[str, float]:
    rows = store.select(statement, rebuild.bind_day(day, store.config.zone), role="maintenance")
    return {figure: pc.sum(rows[figure]).as_py() or 0 for figure in _COVERAGE_FIGURES}


def _removed_tables(store: Store, day: DayOfDataset) -> set[str]:
    answer = store.query(
        "removed_tables_of_day", rebuild.bind_day(day, store.config.zone), role="maintenance"
    )
    return {str(table) for table in answer["table"].to_pylist()}
