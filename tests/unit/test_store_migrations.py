"""The schema: what migrations make, and what stops a start."""

from __future__ import annotations

from pathlib import Path

import pytest

from teiten.foundation.clock import FixedClock
from teiten.store import migration, schema, zone
from teiten.store.config import StoreConfig
from teiten.store.errors import BadQuery, LimitExceeded, StoreMismatch
from teiten.store.service import Store
from teiten.store.testing import shared_folder, temporary_store
from teiten.traffic.columns import COLUMNS

SNAPSHOT = Path(__file__).parents[2] / "src/teiten/store/schema.sql"


def test_it_works(clock: FixedClock) -> None:
    with temporary_store(clock) as store:
        answer = store.select("SELECT 1 AS one, 'a' AS text")

    assert answer.to_pylist() == [{"one": 1, "text": "a"}]


@pytest.mark.requirement("R2.1")
def test_packets_table_has_the_declared_columns(clock: FixedClock) -> None:
    with temporary_store(clock) as store:
        real = schema.list_columns(store.connections, "packets")

    assert real == {column.name: column.clickhouse_type for column in COLUMNS}


def test_another_column_type_stops_the_start(clock: FixedClock) -> None:
    with temporary_store(clock) as store:
        store.command("ALTER TABLE packets MODIFY COLUMN vlan UInt32")

        with pytest.raises(StoreMismatch, match="column vlan of packets is UInt32"):
            Store.open(store.config, clock)


def test_migrations_make_the_snapshot(clock: FixedClock) -> None:
    with temporary_store(clock, is_cloned=False) as store:
        made = schema.describe(store.connections)

    assert made == SNAPSHOT.read_text(encoding="utf-8"), "run: python -m teiten.store.snapshot"


def test_a_tests_own_copy_is_what_migrations_make(clock: FixedClock) -> None:
    with temporary_store(clock) as one, temporary_store(clock) as other:
        told = [schema.describe(store.connections) for store in (one, other)]
        one.command("INSERT INTO store_meta VALUES ('mark', 'one')")
        marks = [
            store.select("SELECT 1 FROM store_meta WHERE name = 'mark'").num_rows for store in (one, other)
        ]

    assert told == [SNAPSHOT.read_text(encoding="utf-8")] * 2
    assert marks == [1, 0]


def test_migrating_again_does_nothing(clock: FixedClock) -> None:
    with temporary_store(clock) as store:
        assert store.migrate() == []
        assert store.describe_pending() == ""


def test_a_dry_run_prints_and_changes_nothing(clock: FixedClock) -> None:
    with temporary_store(clock) as store:
        store.command("DROP TABLE schema_migrations SYNC")
        migration.create_records(store.connections)

        text = store.describe_pending()

        assert "-- 0001 packets" in text
        assert "toDate(observed_at, 'Asia/Tokyo')" in text
        assert len(migration.list_pending(store.connections)) == len(migration.list_migrations())


def test_a_migration_cut_short_is_run_again(clock: FixedClock) -> None:
    with temporary_store(clock) as store:
        store.command("ALTER TABLE schema_migrations DELETE WHERE number >= 7 SETTINGS mutations_sync = 1")
        store.command("DROP VIEW payloads_1d_view SYNC")

        done = store.migrate()

        assert done == [m.number for m in migration.list_migrations() if m.number >= 7]
        assert schema.describe(store.connections) == SNAPSHOT.read_text(encoding="utf-8")


def test_a_changed_migration_stops_the_start(clock: FixedClock) -> None:
    with temporary_store(clock) as store:
        store.command(
            "ALTER TABLE schema_migrations UPDATE digest = 'x' WHERE number = 2 SETTINGS mutations_sync = 1"
        )

        with pytest.raises(StoreMismatch, match=r"0002 .* another text"):
            Store.open(store.config, clock)


def test_a_newer_store_stops_the_start(clock: FixedClock) -> None:
    with temporary_store(clock) as store:
        store.command("INSERT INTO schema_migrations VALUES (9999, 'future', 'x', now64(6))")

        with pytest.raises(StoreMismatch, match=r"9999 .* newer version"):
            Store.open(store.config, clock)


def test_a_blocking_migration_asks_first(clock: FixedClock, monkeypatch: pytest.MonkeyPatch) -> None:
    heavy = migration.Migration(9999, "heavy", "-- blocking: yes\nSELECT 1;\n")
    known = [*migration.list_migrations(), heavy]
    with temporary_store(clock) as store:
        monkeypatch.setattr(migration, "list_migrations", lambda: known)

        with pytest.raises(StoreMismatch, match="--blocking"):
            store.migrate()
        assert store.migrate(allow_blocking=True) == [9999]


def test_another_zone_stops_the_start(clock: FixedClock) -> None:
    with temporary_store(clock, zone="Asia/Kolkata") as store:
        other = StoreConfig(path=shared_folder(), database=store.config.database, zone="Asia/Tokyo")

        with pytest.raises(StoreMismatch, match="those of Asia/Kolkata"):
            Store.open(other, clock)


@pytest.mark.parametrize(
    "name", ["", "Nowhere/Land", "../etc/passwd", "Asia/Tokyo'); DROP TABLE packets; --"]
)
def test_a_zone_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(StoreMismatch, match=r"store\.zone"):
        zone.check_name(name)


def test_a_query_over_its_limits_says_narrow_it(clock: FixedClock) -> None:
    with temporary_store(clock) as store:
        with pytest.raises(LimitExceeded, match="narrow"):
            store.select("SELECT sleepEachRow(1) FROM numbers(3) SETTINGS max_execution_time = 1")
        with pytest.raises(LimitExceeded, match="narrow"):
            store.select(
                "SELECT groupArray(number) FROM numbers(10000000) SETTINGS max_memory_usage = 10000000"
            )


def test_a_wrong_statement_is_a_bug(clock: FixedClock) -> None:
    with temporary_store(clock) as store:
        with pytest.raises(BadQuery, match="refused"):
            store.select("SELECT no_such_column FROM packets")
        with pytest.raises(BadQuery, match="no query named 'nothing'"):
            store.query("nothing")


def test_values_are_bound_not_pasted(clock: FixedClock) -> None:
    with temporary_store(clock) as store:
        answer = store.select("SELECT {text:String} AS text", {"text": "'; DROP TABLE packets; --"})

    assert answer.to_pylist() == [{"text": "'; DROP TABLE packets; --"}]
