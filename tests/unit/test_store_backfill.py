"""What a migration gives to roll-ups reaches the stored days too, wherever it is cut short."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest

from teiten.foundation.clock import FixedClock
from teiten.store import backfill, check, migration, rebuild, retention, schema, writer
from teiten.store.schema import COVERAGE_ROLLUPS, PACKET_ROLLUPS
from teiten.store.service import Store
from teiten.store.testing import make_coverage, make_packets, temporary_store
from teiten.store.writer import BlockRows

pytestmark = pytest.mark.requirement("R2.1")
NOON = datetime(2026, 11, 20, 3, 0, tzinfo=timezone.utc)


@pytest.fixture
def store(clock: FixedClock) -> Iterator[Store]:
    with temporary_store(clock) as opened:
        yield opened


def fill(store: Store, clock: FixedClock, *, days: int = 2) -> None:
    for day in range(days):
        at = NOON - timedelta(days=day)
        shared = {"batch_seq": day + 1, "observed_at": at, "landed_at": at + timedelta(minutes=5)}
        rows = [
            shared | {"dst_port": 23, "tcp_fp": "1024::0:0", "payload_hash": 7, "probe": "dns", "survey": 1},
            shared | {"dst_port": 80, "survey": 0},
        ]
        window = {"window_start_at": at, "window_end_at": at + timedelta(hours=20), "rows": 2,
                  "batch_seq": day + 1, "landed_at": at + timedelta(minutes=5)}  # fmt: skip
        packets = make_packets(*(row | {"row": number} for number, row in enumerate(rows)))
        writer.insert_block(
            store, BlockRows(str(uuid.uuid4()), clock.now_us(), packets, make_coverage(window))
        )


def forget_rollups(store: Store, *tables: str) -> None:
    """Make the store as one that was migrated, but whose days were not yet rebuilt."""
    for table in tables or (*PACKET_ROLLUPS, "coverage_1d"):
        store.command(f"TRUNCATE TABLE {table}")
    store.command("TRUNCATE TABLE store_meta")
    store.connect()


def test_it_works(store: Store, clock: FixedClock) -> None:
    fill(store, clock)
    forget_rollups(store)
    assert check.check_all(store)
    said: list[str] = []

    store.migrate(announce=said.append)

    assert check.check_all(store) == []
    assert said[0] == "roll-ups of live 2026-11-19 (1 of 3 days)"
    assert backfill.fill_days(store) == 0


def test_a_backfill_cut_short_goes_on(
    store: Store, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, clock)
    forget_rollups(store)
    real, calls = rebuild.replace_rollup, []

    def die(store: Store, name: str, *rest: object, **options: object) -> None:
        calls.append(name)
        if calls.count("probes_1d") == 2:
            raise KeyboardInterrupt
        real(store, name, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(rebuild, "replace_rollup", die)
    with pytest.raises(KeyboardInterrupt):
        store.migrate()
    monkeypatch.undo()

    assert backfill.fill_days(store) == 2  # the first day was done and noted
    assert check.check_all(store) == []


def test_days_without_raw_rows_keep_their_rollups_and_get_their_coverage(
    store: Store, clock: FixedClock
) -> None:
    fill(store, clock, days=1)
    wanted = sums(store, "coverage_1d")
    clock.advance(40 * 86_400)
    retention.apply(store, retention.Terms({}, default_raw_days=30, hourly_days=90, daily_days=365))
    forget_rollups(store, "coverage_1d")

    store.migrate()

    assert sums(store, "coverage_1d") == wanted
    assert store.select("SELECT sum(packets) AS n FROM sources_1d")["n"][0].as_py() == 2
    assert check.check_all(store) == []


def test_rows_lost_without_a_record_empty_no_rollup(store: Store, clock: FixedClock) -> None:
    fill(store, clock, days=1)
    wanted = sums(store, "coverage_1d")
    for table in ("packets", "coverage"):
        store.command(f"TRUNCATE TABLE {table}")
    store.command("TRUNCATE TABLE store_meta")

    store.connect()
    store.migrate()

    assert sums(store, "coverage_1d") == wanted
    assert store.select("SELECT sum(packets) AS n FROM sources_1d")["n"][0].as_py() == 2


def test_the_days_coverage_can_come_from_that_of_its_hours(store: Store, clock: FixedClock) -> None:
    fill(store, clock, days=1)
    wanted = sums(store, "coverage_1d")
    clock.advance(100 * 86_400)
    retention.apply(store, retention.Terms({}, default_raw_days=30, hourly_days=90, daily_days=365))
    assert store.select("SELECT count() AS n FROM coverage")["n"][0].as_py() == 0
    forget_rollups(store, "coverage_1d")

    store.migrate()

    assert sums(store, "coverage_1d") == wanted


def sums(store: Store, table: str) -> list[dict[str, object]]:
    return store.select(
        "SELECT day, mode, sum(address_seconds) AS a, sum(sensor_seconds) AS s, sum(batches) AS b, sum(c.rows) AS r"
        f" FROM {table} AS c GROUP BY day, mode ORDER BY day, mode"
    ).to_pylist()


def test_a_days_coverage_agrees_with_its_hours(store: Store, clock: FixedClock) -> None:
    fill(store, clock)

    hours = store.select(
        "SELECT toDate(hour, 'Asia/Tokyo') AS day, mode, sum(address_seconds) AS a, sum(sensor_seconds) AS s,"
        " sum(batches) AS b, sum(c.rows) AS r FROM coverage_1h AS c GROUP BY day, mode ORDER BY day, mode"
    ).to_pylist()

    assert sums(store, "coverage_1d") == hours
    assert [row["b"] for row in hours] == [1, 1, 0]  # a window's own figures stand once, in the day it starts


def test_the_check_finds_what_is_planted_in_every_table(store: Store, clock: FixedClock) -> None:
    fill(store, clock)
    for table in PACKET_ROLLUPS:
        store.command(f"ALTER TABLE {table} UPDATE packets = packets + 1 WHERE 1 SETTINGS mutations_sync = 1")
    for table in COVERAGE_ROLLUPS:
        store.command(f"ALTER TABLE {table} UPDATE rows = rows + 1 WHERE 1 SETTINGS mutations_sync = 1")

    assert {one.table for one in check.check_all(store)} == {*PACKET_ROLLUPS, *COVERAGE_ROLLUPS}


@pytest.mark.parametrize("number", [8, 10])
def test_a_migration_cut_short_anywhere_is_run_again(store: Store, clock: FixedClock, number: int) -> None:
    wanted = schema.describe(store.connections)
    fill(store, clock, days=1)
    [one] = [m for m in migration.list_migrations() if m.number == number]
    statements = one.statements(store.config.zone)
    store.command(
        f"ALTER TABLE schema_migrations DELETE WHERE number >= {number} SETTINGS mutations_sync = 1"
    )
    for statement in statements[: len(statements) // 2]:
        store.command(statement)

    store.migrate()

    assert schema.describe(store.connections) == wanted
    assert check.check_all(store) == []
