"""Every named query runs on the real engine with sample values."""

from __future__ import annotations

from datetime import date, datetime, timezone

import pytest

from teiten.foundation.clock import FixedClock
from teiten.store import queries
from teiten.store.testing import temporary_store

SAMPLES = {
    "String": "live",
    "UInt32": 1,
    "Date": date(2026, 11, 20),
    "Identifier": "ports_1h",
    "UUID": "00000000-0000-4000-8000-000000000000",
    "Array(String)": ["live"],
    "Array(Tuple(UInt32, UInt32, UInt64))": [(1, 1, 1)],
    "DateTime64(6, 'UTC')": datetime(2026, 11, 20, tzinfo=timezone.utc),
}
BY_NAME = {"zone": "Asia/Tokyo", "id": "all", "time": "observed_at"}
TABLES = {
    "daily_sums_of_day": "sources_1d",
    "last_arrival_of_rows": "packets",
    "rows_of_batches": "packets",
    "excluded_rows_of_batches": "packets_excluded",
    "days_of_batches": "coverage",
    "rows_arrived_before": "packets",
    "payloads_arrived_before": "packets",
}


@pytest.mark.requirement("R2.3")
def test_every_named_query_runs(clock: FixedClock) -> None:
    with temporary_store(clock) as store:
        for query in queries.read_queries().values():
            values = {name: BY_NAME.get(name, SAMPLES[kind]) for name, kind in query.parameters.items()}
            if query.name in TABLES:
                values["table"] = TABLES[query.name]

            answer = store.query(query.name, values)

            assert answer.column_names, query.name


def test_every_named_query_has_a_purpose_and_its_own_name() -> None:
    known = queries.read_queries()

    assert len(known) >= 10
    assert all(query.purpose.endswith(".") for query in known.values())
    assert not any("*" in query.sql.replace("count(*)", "") for query in known.values())
