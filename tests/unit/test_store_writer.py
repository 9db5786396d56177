"""Load blocks arrive exactly once: in raw rows, in every roll-up, in the coverage."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pytest

from teiten.foundation.clock import FixedClock, to_us
from teiten.store import check, partitions, rebuild, retention, writer
from teiten.store.errors import RebuildRefused, StoreUnavailable
from teiten.store.metrics import REBUILT_PARTITIONS
from teiten.store.partitions import DayOfDataset
from teiten.store.schema import ROLLUPS
from teiten.store.service import Store
from teiten.store.testing import make_coverage, make_examples, make_packets, temporary_store
from teiten.store.writer import BlockRows

pytestmark = pytest.mark.requirement("R2.1")
NOON = datetime(2026, 11, 20, 3, 0, tzinfo=timezone.utc)


@pytest.fixture
def store(clock: FixedClock) -> Iterator[Store]:
    with temporary_store(clock) as opened:
        yield opened


def make_block(clock: FixedClock, *, packets: int = 10, seq: int = 1, at: datetime = NOON) -> BlockRows:
    landed = at + timedelta(minutes=5)
    rows = [
        {"src_addr": f"240.0.0.{n % 200 + 1}", "dst_port": n, "hints": n % 4, "row": n}
        for n in range(packets)
    ]
    return BlockRows(
        block=str(uuid.uuid4()),
        composed_at_us=clock.now_us(),
        packets=make_packets(*rows, observed_at=at, landed_at=landed, batch_seq=seq),
        coverage=make_coverage(
            {}, rows=packets, captured=packets, batch_seq=seq, landed_at=landed,
            window_start_at=at, window_end_at=at + timedelta(minutes=5),
        ),
        examples=make_examples({"row": 0}, {"row": 1}, observed_at=at, landed_at=landed, batch_seq=seq),
    )  # fmt: skip


def counts(store: Store) -> dict[str, int]:
    sums = {"packets": "count()", "coverage": "count()"} | dict.fromkeys(ROLLUPS, "sum(packets)")
    sums |= {"coverage_1h": "sum(batches)", "coverage_1d": "sum(batches)"}
    return {
        table: store.select(f"SELECT {what} AS n FROM {table}{' FINAL' if table == 'coverage' else ''}")["n"][
            0
        ].as_py()
        for table, what in sums.items()
    }


def expected(packets: int, batches: int) -> dict[str, int]:
    coverage = dict.fromkeys(("coverage", "coverage_1h", "coverage_1d"), batches)
    return {"packets": packets} | coverage | dict.fromkeys(ROLLUPS, packets)


def count_examples(store: Store) -> int:
    return store.select("SELECT count() AS n FROM payload_examples FINAL")["n"][0].as_py()


class Killed(Exception):
    pass


def kill_at(name: str):
    def step(now: str) -> None:
        if now == name:
            raise Killed

    return step


STEPS = [
    f"{when} {table}"
    for table in ("packets", "payload_examples", "coverage", "lost_batches")
    for when in ("before", "after")
]


def test_it_works(store: Store, clock: FixedClock) -> None:
    outcome = writer.insert_block(store, make_block(clock))

    assert outcome == "written"
    assert counts(store) == expected(10, 1)
    assert check.check_all(store) == []


@pytest.mark.parametrize("name", STEPS)
def test_a_block_cut_short_is_repeated_exactly(store: Store, clock: FixedClock, name: str) -> None:
    block = make_block(clock)
    with pytest.raises(Killed):
        writer.insert_block(store, block, step=kill_at(name))

    assert writer.insert_block(store, block, is_retry=True) == "written"

    assert counts(store) == expected(10, 1)
    assert count_examples(store) == 2
    assert check.check_all(store) == []


def test_a_whole_block_is_known_when_repeated(store: Store, clock: FixedClock) -> None:
    block = make_block(clock)
    writer.insert_block(store, block)

    assert writer.insert_block(store, block, is_retry=True) == "known"
    assert counts(store) == expected(10, 1)


@pytest.mark.parametrize("name", ["after packets", "after coverage"])
def test_a_half_written_block_is_repaired_long_after_its_tokens(
    store: Store, clock: FixedClock, name: str
) -> None:
    block = make_block(clock, seq=1)
    writer.insert_block(store, make_block(clock, seq=2))
    with pytest.raises(Killed):
        writer.insert_block(store, block, step=kill_at(name))
    clock.advance(writer.LATE_SECONDS + 1)

    assert writer.insert_block(store, block, is_retry=True) == "repaired"

    assert counts(store) == expected(20, 2)
    assert count_examples(store) == 4
    assert check.check_all(store) == []


def test_a_raw_part_without_its_rollups_is_repaired(store: Store, clock: FixedClock) -> None:
    block = make_block(clock)
    store.command("ALTER TABLE ports_1h DELETE WHERE 1 SETTINGS mutations_sync = 1")
    with pytest.raises(Killed):
        writer.insert_block(store, block, step=kill_at("after packets"))
    store.command("ALTER TABLE ports_1h DELETE WHERE 1 SETTINGS mutations_sync = 1")
    clock.advance(writer.LATE_SECONDS + 1)

    writer.insert_block(store, block, is_retry=True)

    assert counts(store) == expected(10, 1)


def test_a_batch_refused_at_the_second_attempt_leaves_nothing(store: Store, clock: FixedClock) -> None:
    kept, refused = make_block(clock, seq=1), make_block(clock, seq=2)
    both = BlockRows(
        kept.block,
        kept.composed_at_us,
        pa.concat_tables([kept.packets, refused.packets]),
        pa.concat_tables([kept.coverage, refused.coverage]),
    )
    with pytest.raises(Killed):
        writer.insert_block(store, both, step=kill_at("after coverage"))
    start = to_us(NOON)
    gone = writer.BatchSpan("live", 1, 1, 2, start, start + 300_000_000)
    now = BlockRows(kept.block, kept.composed_at_us, kept.packets, kept.coverage, refused=(gone,))

    assert writer.insert_block(store, now, is_retry=True) == "repaired"

    assert counts(store) == expected(10, 1)
    assert check.check_all(store) == []


def test_a_batch_accepted_only_at_the_second_attempt_is_there(store: Store, clock: FixedClock) -> None:
    first, second = make_block(clock, seq=1), make_block(clock, seq=2)
    both = BlockRows(
        first.block,
        first.composed_at_us,
        pa.concat_tables([first.packets, second.packets]),
        pa.concat_tables([first.coverage, second.coverage]),
    )
    with pytest.raises(Killed):
        writer.insert_block(store, first, step=kill_at("after packets"))

    assert writer.insert_block(store, both, is_retry=True) == "repaired"

    assert counts(store) == expected(20, 2)
    assert check.check_all(store) == []


def test_a_block_of_which_nothing_was_written_needs_no_rebuilding(store: Store, clock: FixedClock) -> None:
    block = make_block(clock)
    before = REBUILT_PARTITIONS._value.get()
    clock.advance(30 * 3_600)

    assert writer.insert_block(store, block) == "repaired"

    assert counts(store) == expected(10, 1)
    assert before == REBUILT_PARTITIONS._value.get()


def test_a_kill_during_repair_is_repaired_too(store: Store, clock: FixedClock) -> None:
    block = make_block(clock)
    with pytest.raises(Killed):
        writer.insert_block(store, block, step=kill_at("after packets"))
    clock.advance(writer.LATE_SECONDS + 1)
    with pytest.raises(Killed):
        writer.insert_block(store, block, is_retry=True, step=kill_at("after packets"))

    writer.insert_block(store, block, is_retry=True)

    assert counts(store) == expected(10, 1)
    assert check.check_all(store) == []


def test_rows_that_a_remembered_token_kept_out_are_written(store: Store, clock: FixedClock) -> None:
    """A disk that was full may have kept the token of a part that it did not keep."""
    block, other = make_block(clock, seq=1), make_block(clock, seq=2)
    store.connections.insert("packets", other.packets, token=f"{block.token}:packets:0")

    assert writer.insert_block(store, block, is_retry=True) == "repaired"

    assert counts(store)["packets"] == 20
    writer.insert_block(store, other, is_retry=True)
    assert counts(store) == expected(20, 2)
    assert check.check_all(store) == []


@pytest.mark.parametrize("table", ["packets", "ports_1h"])
def test_a_part_that_a_full_disk_left_broken_is_set_aside_and_written_again(
    store: Store, clock: FixedClock, table: str
) -> None:
    """ClickHouse kept such a part, and no question that reads it was answered any more."""
    whole, block = make_block(clock, seq=1), make_block(clock, seq=2)
    store.command(f"SYSTEM STOP MERGES {table}")
    writer.insert_block(store, whole)
    with pytest.raises(Killed):
        writer.insert_block(store, block, step=kill_at("after packets"))
    broken = store.select(
        "SELECT path FROM system.parts WHERE active AND database = currentDatabase() AND table = {table:String}"
        " ORDER BY max_block_number DESC LIMIT 1",
        {"table": table},
        role="maintenance",
    )["path"][0].as_py()
    next(Path(broken).glob("*.cmrk*")).write_bytes(b"")
    with pytest.raises(StoreUnavailable, match="Empty marks file"):
        store.select(f"SELECT * FROM {table}")

    writer.insert_block(store, block, is_retry=True)

    assert counts(store) == expected(20, 2)
    assert check.check_all(store) == []


def test_rollups_whose_mending_failed_are_mended_by_the_next_attempt(
    store: Store, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = make_block(clock)
    with pytest.raises(Killed):
        writer.insert_block(store, block, step=kill_at("after coverage"))
    store.command("ALTER TABLE coverage_1h DELETE WHERE 1 SETTINGS mutations_sync = 1")
    with monkeypatch.context() as patch:
        patch.setattr(rebuild, "rebuild_day", refuse_room)
        with pytest.raises(StoreUnavailable):
            writer.insert_block(store, block, is_retry=True)

    assert writer.insert_block(store, block, is_retry=True) == "written"

    assert counts(store) == expected(10, 1)
    assert check.check_all(store) == []


def refuse_room(*_: object) -> int:
    raise StoreUnavailable("No space left on device")


def test_a_repair_that_was_cut_short_is_no_attempt_that_tokens_complete(
    store: Store, clock: FixedClock
) -> None:
    """A full disk kept one day's part of an insert; the repair's own insert is whole when it is cut short."""
    days = [make_block(clock, seq=seq, at=NOON + timedelta(days=seq)) for seq in (1, 2)]
    block = BlockRows(
        days[0].block,
        days[0].composed_at_us,
        pa.concat_tables([day.packets for day in days]),
        pa.concat_tables([day.coverage for day in days]),
    )
    store.connections.insert("packets", days[0].packets, token=f"{block.token}:packets:0")
    with pytest.raises(Killed):
        writer.insert_block(store, block, is_retry=True, step=kill_at("after packets"))

    writer.insert_block(store, block, is_retry=True)

    assert counts(store) == expected(20, 2)
    assert check.check_all(store) == []


def test_a_block_over_many_days_and_data_sets_goes_in_pieces(
    store: Store, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As with 30 days and more: each day of a data set costs a part of every table.
    monkeypatch.setattr(writer, "DAYS_PER_CHUNK", 3)
    spread = [
        {"at": NOON - timedelta(days=day), "dataset": dataset, "batch_seq": day + 100 * (dataset == "live")}
        for day in range(4)
        for dataset in ("live", "import:old")
    ]
    packets = make_packets(
        *({k: v for k, v in one.items() if k != "at"} | {"observed_at": one["at"]} for one in spread)
    )
    windows = [
        {"dataset": one["dataset"], "batch_seq": one["batch_seq"], "rows": 1, "window_start_at": one["at"],
         "window_end_at": one["at"] + timedelta(minutes=5)}
        for one in spread
    ]  # fmt: skip
    block = BlockRows(str(uuid.uuid4()), clock.now_us(), packets, make_coverage(*windows))
    with pytest.raises(Killed):
        writer.insert_block(store, block, step=kill_at("after packets"))

    assert writer.insert_block(store, block, is_retry=True) == "written"

    assert counts(store) == expected(8, 8)
    assert len(partitions.list_days(store.connections)) == 8


def test_chunks_of_the_same_rows_are_the_same() -> None:
    rows = make_packets(*({"observed_at": NOON - timedelta(days=n % 64)} for n in range(200)))

    first, second = (list(writer.split_chunks(rows, "observed_at")) for _ in range(2))

    assert first == second
    assert len(first) == 3
    assert pa.concat_tables(first).num_rows == 200


def test_a_windows_time_is_shared_out_among_its_hours(store: Store, clock: FixedClock) -> None:
    coverage = make_coverage(
        {
            "window_start_at": NOON - timedelta(minutes=10),
            "window_end_at": NOON + timedelta(hours=2, minutes=20),
            "rows": 0,
            "captured": 7,
            "watched_prefix": ["192.0.2.0/30", "192.0.2.9/32", "2001:db8::/64"],
            "watched_ip_version": [4, 4, 6],
            "watched_prefix_length": [30, 32, 64],
            "watched_mode": ["silent", "answering", "silent"],
            "watched_addresses": [4.0, 1.0, 1.0],
        }
    )
    writer.insert_block(store, BlockRows(str(uuid.uuid4()), clock.now_us(), make_packets(), coverage))

    hours = store.select(
        "SELECT hour, ip_version, prefix_length, mode, address_seconds, sensor_seconds, captured, batches"
        " FROM coverage_1h ORDER BY ip_version, mode DESC, hour"
    ).to_pylist()

    assert [row["address_seconds"] for row in hours] == [
        600 * 4, 3600 * 4, 3600 * 4, 1200 * 4, 600, 3600, 3600, 1200, 600, 3600, 3600, 1200,
    ]  # fmt: skip
    assert sum(row["sensor_seconds"] for row in hours) == 9000
    assert [row["captured"] for row in hours] == [7] + [0] * 11
    assert sum(row["batches"] for row in hours) == 1
    assert check.check_all(store) == []


def test_an_import_that_watched_nothing_known_still_has_a_row(store: Store, clock: FixedClock) -> None:
    nothing = {
        f"watched_{name}": [] for name in ("prefix", "ip_version", "prefix_length", "mode", "addresses")
    }
    coverage = make_coverage(nothing, dataset="import:lab")
    writer.insert_block(store, BlockRows(str(uuid.uuid4()), clock.now_us(), make_packets(), coverage))

    rows = store.select("SELECT mode, ip_version, address_seconds, batches FROM coverage_1h").to_pylist()

    assert rows == [{"mode": "unknown", "ip_version": 0, "address_seconds": 0.0, "batches": 1}]


def test_the_check_finds_what_was_planted(store: Store, clock: FixedClock) -> None:
    writer.insert_block(store, make_block(clock))
    store.command(
        "ALTER TABLE ports_1h UPDATE packets = packets + 1 WHERE dst_port = 3 SETTINGS mutations_sync = 1"
    )
    store.command("DELETE FROM packets WHERE row = 4")
    store.command("ALTER TABLE coverage_1h UPDATE captured = 5 WHERE 1 SETTINGS mutations_sync = 1")

    found = {(difference.table, difference.figure) for difference in check.check_all(store)}

    assert ("ports_1h", "packets") in found
    assert ("packets", "rows of batches") in found
    assert ("coverage_1h", "captured") in found
    assert ("totals_1h", "bytes") in found
    assert "should be" in check.check_all(store)[0].message


def test_a_rebuilt_day_agrees_again(store: Store, clock: FixedClock) -> None:
    writer.insert_block(store, make_block(clock, packets=50))
    before = store.select("SELECT * FROM sources_1d ORDER BY src_addr")
    for table in (*ROLLUPS, "coverage_1h"):
        store.command(f"TRUNCATE TABLE {table}")

    rows = rebuild.rebuild_day(store, DayOfDataset("live", NOON.date()))

    assert rows == 50
    assert check.check_all(store) == []
    after = store.select("SELECT * FROM sources_1d ORDER BY src_addr")
    assert after.drop(["some_sensors"]) == before.drop(["some_sensors"])


def test_a_rebuild_leaves_other_days_alone(store: Store, clock: FixedClock) -> None:
    writer.insert_block(store, make_block(clock, seq=1))
    writer.insert_block(store, make_block(clock, seq=2, at=NOON - timedelta(days=1)))

    rebuild.rebuild_day(store, DayOfDataset("live", NOON.date()))

    assert counts(store) == expected(20, 2)
    assert check.check_all(store) == []


def test_days_are_those_of_the_zone(store: Store, clock: FixedClock) -> None:
    midnight_in_tokyo = datetime(2026, 11, 20, 15, 0, tzinfo=timezone.utc)
    for seq, at in enumerate((midnight_in_tokyo - timedelta(microseconds=1), midnight_in_tokyo), start=1):
        writer.insert_block(store, make_block(clock, packets=1, seq=seq, at=at))

    days = store.select("SELECT DISTINCT toString(day) AS day FROM sources_1d ORDER BY day")[
        "day"
    ].to_pylist()

    assert days == ["2026-11-20", "2026-11-21"]
    assert check.check_all(store) == []


@pytest.mark.requirement("R2.1")
def test_retention_counts_from_arrival(store: Store, clock: FixedClock) -> None:
    old_but_just_imported = NOON - timedelta(days=2_000)
    block = make_block(clock, seq=1, at=old_but_just_imported)
    landed = block.packets.schema.get_field_index("landed_at")
    packets = block.packets.set_column(
        landed, "landed_at", pa.array([clock.now()] * 10, pa.timestamp("us", "UTC"))
    )
    coverage = block.coverage.set_column(
        block.coverage.schema.get_field_index("landed_at"),
        "landed_at",
        pa.array([clock.now()], pa.timestamp("us", "UTC")),
    )
    writer.insert_block(store, BlockRows(block.block, block.composed_at_us, packets, coverage))
    terms = retention.Terms({}, default_raw_days=30, hourly_days=90, daily_days=365)

    assert retention.apply(store, terms) == []
    clock.advance(32 * 86_400)
    removed = retention.apply(store, terms)

    assert [(one.table, one.rows, one.is_whole) for one in removed] == [("packets", 10, True)]
    assert counts(store) == expected(10, 1) | {"packets": 0}
    assert check.check_all(store) == []


def test_retention_thins_a_day_that_late_data_joined(store: Store, clock: FixedClock) -> None:
    writer.insert_block(store, make_block(clock, seq=1))
    late = make_block(clock, seq=2)
    place = late.packets.schema.get_field_index("landed_at")
    arrived = pa.array([NOON + timedelta(days=20)] * 10, pa.timestamp("us", "UTC"))
    packets = late.packets.set_column(place, "landed_at", arrived)
    writer.insert_block(store, BlockRows(late.block, late.composed_at_us, packets, late.coverage))
    clock.advance(35 * 86_400)

    removed = retention.apply(store, retention.Terms({}, default_raw_days=30, hourly_days=90, daily_days=365))

    assert [(one.table, one.rows, one.is_whole) for one in removed] == [
        ("packets", 10, False),
        ("payload_examples", 2, True),
    ]
    assert counts(store) == expected(20, 2) | {"packets": 10}
    assert check.check_all(store) == []
    with pytest.raises(RebuildRefused, match="10 raw rows"):
        rebuild.rebuild_day(store, DayOfDataset("live", NOON.date()))


def test_each_data_set_has_its_own_term(store: Store, clock: FixedClock) -> None:
    rows = make_packets({"dataset": "live"}, {"dataset": "import:old"}, observed_at=NOON)
    coverage = make_coverage(
        {"dataset": "live", "rows": 1}, {"dataset": "import:old", "batch_seq": 2, "rows": 1}
    )
    writer.insert_block(store, BlockRows(str(uuid.uuid4()), clock.now_us(), rows, coverage))
    clock.advance(10 * 86_400)

    removed = retention.apply(
        store, retention.Terms({"import:old": 5}, default_raw_days=30, hourly_days=90, daily_days=99)
    )

    assert [(one.table, one.day.dataset) for one in removed] == [("packets", "import:old")]


def test_rollups_go_when_their_own_terms_are_over(store: Store, clock: FixedClock) -> None:
    writer.insert_block(store, make_block(clock))
    clock.advance(100 * 86_400)
    retention.apply(store, retention.terms_from(store.config))
    assert counts(store)["ports_1h"] == 0
    assert counts(store)["sources_1d"] == 10

    clock.advance(4_000 * 86_400)
    retention.apply(store, retention.terms_from(store.config))

    assert set(counts(store).values()) == {0}


def test_a_data_set_can_be_removed_wholly(store: Store, clock: FixedClock) -> None:
    writer.insert_block(store, make_block(clock))
    rows = make_packets({"dataset": "import:wrong"}, batch_seq=9)
    coverage = make_coverage({"dataset": "import:wrong", "rows": 1, "batch_seq": 9})
    writer.insert_block(store, BlockRows(str(uuid.uuid4()), clock.now_us(), rows, coverage))

    removed = retention.remove_dataset(store, "import:wrong")

    assert sum(one.rows for one in removed if one.table == "packets") == 1
    assert counts(store) == expected(10, 1)
