"""A sensor's data leave every figure and come back identical, wherever the work is cut short."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from teiten.foundation.clock import FixedClock
from teiten.store import check, exclusion, rebuild, retention, writer
from teiten.store.errors import ChangeRefused, RebuildRefused
from teiten.store.exclusion import Exclusion
from teiten.store.partitions import DayOfDataset
from teiten.store.schema import EXCLUDED, PACKET_ROLLUPS
from teiten.store.service import Store
from teiten.store.testing import make_coverage, make_examples, make_packets, temporary_store
from teiten.store.writer import BlockRows

pytestmark = pytest.mark.requirement("R0.1")
#: Half an hour before midnight in Tokyo, so that periods and windows cross a day.
START = datetime(2026, 11, 20, 14, 30, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


@pytest.fixture
def store(clock: FixedClock) -> Iterator[Store]:
    with temporary_store(clock) as opened:
        yield opened


def make_block(clock: FixedClock, *sensors: int, hours: int = 3, first: int = 0) -> BlockRows:
    packets, windows, examples = [], [], []
    for sensor in sensors:
        for hour in range(first, first + hours):
            at = START + HOUR * hour
            shared: dict[str, Any] = {"sensor": sensor, "batch_seq": hour + 1, "landed_at": at + HOUR}
            windows.append(shared | {"window_start_at": at, "window_end_at": at + HOUR, "rows": 4})
            packets.extend(
                shared | {"row": row, "observed_at": at + row * HOUR / 4, "src_addr": f"240.0.0.{row + sensor}",
                          "dst_port": 23 + row, "payload_hash": row, "tcp_fp": f"{row}:::"}
                for row in range(4)
            )  # fmt: skip
            examples.append(shared | {"observed_at": at})
    return BlockRows(
        str(uuid.uuid4()),
        clock.now_us(),
        make_packets(*packets),
        make_coverage(*windows),
        examples=make_examples(*examples),
    )


def look(store: Store) -> dict[str, Any]:
    """Every figure of every table, and how many rows are set aside."""
    figures: dict[str, Any] = {
        table: store.select(f"SELECT count() AS n FROM {table} FINAL")["n"][0].as_py()
        for table in EXCLUDED.values()
    }
    figures["packets"] = store.select(
        "SELECT sensor, batch_seq, row, observed_at FROM packets ORDER BY ALL"
    ).to_pylist()
    for table in PACKET_ROLLUPS:
        time = "hour" if table.endswith("_1h") else "day"
        figures[table] = store.select(
            f"SELECT {time} AS time, sum(packets) AS n FROM {table} GROUP BY time ORDER BY time"
        ).to_pylist()
    for table, time in (("coverage_1h", "hour"), ("coverage_1d", "day")):
        figures[table] = store.select(
            f"SELECT {time} AS time, sensor, sum(batches) AS b, round(sum(address_seconds), 3) AS a FROM {table}"
            " GROUP BY time, sensor HAVING a > 0 ORDER BY time, sensor"
        ).to_pylist()
    figures["payload_examples"] = store.select("SELECT count() AS n FROM payload_examples FINAL")[
        "n"
    ].to_pylist()
    return figures


def exclude(
    store: Store, hours: tuple[float, float] = (0, 3), sensor: int = 1, **options: Any
) -> dict[str, int]:
    return exclusion.exclude_sensor(
        store,
        dataset="live",
        sensor=sensor,
        start=START + HOUR * hours[0],
        end=START + HOUR * hours[1],
        **options,
    )


def include(
    store: Store, hours: tuple[float, float] = (0, 3), sensor: int = 1, **options: Any
) -> dict[str, int]:
    return exclusion.include_sensor(
        store,
        dataset="live",
        sensor=sensor,
        start=START + HOUR * hours[0],
        end=START + HOUR * hours[1],
        **options,
    )


def test_it_works(store: Store, clock: FixedClock) -> None:
    writer.insert_block(store, make_block(clock, 1, 2))
    before = look(store)

    assert exclude(store, (0.5, 1.5)) == {"batches": 2, "days": 2}

    assert look(store)["packets_excluded"] == 8
    assert [row["sensor"] for row in look(store)["packets"]].count(1) == 4
    assert check.check_all(store) == []
    assert exclude(store, (0.5, 1.5)) == {"batches": 0, "days": 0}

    assert include(store, (0.5, 1.5)) == {"days": 2}
    assert look(store) == before
    assert check.check_all(store) == []


class Killed(BaseException):
    pass


def kill_at(name: str) -> exclusion.Step:
    def step(now: str) -> None:
        if now == name:
            raise Killed

    return step


def look_at_rows(store: Store) -> dict[str, Any]:
    """Name every row of packets, examples and coverage, and of what is set aside."""
    columns = {"packets": "sensor, batch_seq, row", "payload_examples": "sensor, batch_seq, row", "coverage": "sensor, batch_seq"}  # fmt: skip
    return {
        name: store.select(
            f"SELECT {columns[table]} FROM {name}{'' if name == 'packets' else ' FINAL'} ORDER BY ALL"
        ).to_pylist()
        for table, aside in EXCLUDED.items()
        for name in (table, aside)
    }


@pytest.fixture
def rebuilt(monkeypatch: pytest.MonkeyPatch) -> list[DayOfDataset]:
    """Days for which a rebuild was asked; it is tested on its own, and costs half a second."""
    days: list[DayOfDataset] = []
    monkeypatch.setattr(rebuild, "rebuild_day", lambda _store, day: days.append(day))
    return days


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.long)])
def test_a_kill_between_any_two_steps_is_finished_by_the_next_run(
    store: Store, clock: FixedClock, rebuilt: list[DayOfDataset], every: int
) -> None:
    # One day after midnight: a step costs the same for each day, and other tests cross one.
    writer.insert_block(store, make_block(clock, 1, 2, hours=1, first=1))
    before, steps = look_at_rows(store), ([], [])
    exclude(store, step=steps[0].append)
    excluded = look_at_rows(store)
    include(store, step=steps[1].append)
    assert [len(names) for names in steps] == [8, 8]

    for names in zip(*(names[1::every] for names in steps), strict=True):
        for run, name, wanted in zip((exclude, include), names, (excluded, before), strict=True):
            rebuilt.clear()
            with pytest.raises(Killed):
                run(store, step=kill_at(name))
            assert exclusion.finish(store) == 1
            assert look_at_rows(store) == wanted, name
            is_clearing = name.endswith("cleared")
            assert is_clearing or set(rebuilt) == {DayOfDataset("live", date(2026, 11, 21))}
    arguments = store.select("SELECT DISTINCT arguments FROM changes").to_pylist()
    assert arguments == [{"arguments": '{"arguments": {}, "days": []}'}]


@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    one=st.tuples(st.integers(0, 4), st.integers(1, 4)),
    other=st.tuples(st.integers(0, 4), st.integers(1, 4)),
)
def test_overlapping_exclusions_give_back_the_same_rows(
    clock: FixedClock, rebuilt: list[DayOfDataset], one: tuple[int, int], other: tuple[int, int]
) -> None:
    first, second = ((start / 2, (start + length) / 2) for start, length in (one, other))
    with temporary_store(clock) as store:
        writer.insert_block(store, make_block(clock, 1, hours=3))
        before = look_at_rows(store)
        exclude(store, second)
        only_second = look_at_rows(store)
        exclude(store, first)

        standing = Exclusion("live", 1, START + HOUR * second[0], START + HOUR * second[1])
        include(store, first, standing=[standing])

        assert look_at_rows(store) == only_second
        include(store, second)
        assert look_at_rows(store) == before


def test_late_data_of_an_excluded_sensor_follow(store: Store, clock: FixedClock) -> None:
    writer.insert_block(store, make_block(clock, 1, hours=1))
    exclude(store)
    writer.insert_block(store, make_block(clock, 1, first=1, hours=2))
    standing = [Exclusion("live", 1, START, START + 3 * HOUR)]

    assert exclusion.reapply(store, standing) == {"batches": 2, "days": 1}

    assert look(store)["packets"] == []
    assert check.check_all(store) == []


@pytest.mark.parametrize("age", [0, writer.LATE_SECONDS + 1])
def test_a_repeated_block_of_an_excluded_sensor_is_not_doubled(
    store: Store, clock: FixedClock, age: int
) -> None:
    block = make_block(clock, 1, hours=2)

    def die(name: str) -> None:
        if name == "before lost_batches":
            raise Killed

    with pytest.raises(Killed):
        writer.insert_block(store, block, step=die)
    exclude(store)
    clock.advance(age)

    assert writer.insert_block(store, block, is_retry=True) == "repaired"
    exclusion.reapply(store, [Exclusion("live", 1, START, START + 3 * HOUR)])

    assert look(store)["packets"] == []
    assert look(store)["packets_excluded"] == 8
    assert look(store)["coverage_1h"] == []
    assert check.check_all(store) == []


def test_a_reversed_period_changes_nothing(store: Store) -> None:
    with pytest.raises(ChangeRefused, match="ends before it starts"):
        exclude(store, (3, 1))


def test_a_day_that_retention_thinned_cannot_lose_a_sensor(store: Store, clock: FixedClock) -> None:
    writer.insert_block(store, make_block(clock, 1))
    clock.advance(40 * 86_400)
    retention.apply(store, retention.Terms({}, default_raw_days=30, hourly_days=90, daily_days=365))
    before = look(store)

    with pytest.raises(RebuildRefused, match="choose a period without"):
        exclude(store)

    assert look(store) == before


def test_a_change_cut_short_does_not_block_others_when_retention_came_between(
    store: Store, clock: FixedClock
) -> None:
    writer.insert_block(store, make_block(clock, 1))
    with pytest.raises(Killed):
        exclude(store, step=kill_at("exclude: coverage removed"))
    clock.advance(40 * 86_400)
    store.command(
        "INSERT INTO removals VALUES ('live', '2026-11-20', 'packets', 1, now64(6)),"
        " ('live', '2026-11-21', 'packets', 1, now64(6))"
    )

    assert exclusion.finish(store) == 1
    assert exclusion.finish(store) == 0


def test_retention_takes_excluded_rows_by_the_same_terms(store: Store, clock: FixedClock) -> None:
    writer.insert_block(store, make_block(clock, 1))
    exclude(store)
    clock.advance(40 * 86_400)

    removed = retention.apply(store, retention.Terms({}, default_raw_days=30, hourly_days=90, daily_days=365))

    assert {one.table for one in removed} >= {"packets_excluded", "payload_examples_excluded"}
    with pytest.raises(RebuildRefused):
        include(store)


def test_other_rows_of_a_block_are_not_touched(store: Store, clock: FixedClock) -> None:
    other = make_block(clock, 1)
    place = other.packets.schema.get_field_index("dataset")
    renamed = other.packets.set_column(
        place, "dataset", pa.array(["import:x"] * other.packets.num_rows).dictionary_encode()
    )
    coverage = other.coverage.set_column(0, "dataset", pa.array(["import:x"] * other.coverage.num_rows))
    writer.insert_block(store, BlockRows(other.block, other.composed_at_us, renamed, coverage))
    before = look(store)

    assert exclude(store) == {"batches": 0, "days": 0}
    assert look(store) == before
