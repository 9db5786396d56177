"""A loader is stopped past its lease, another takes its block over, and the first wakes up again."""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))

import loader_house as house

from teiten.foundation.clock import FixedClock, from_us
from teiten.landing import migrations
from teiten.landing.errors import LeaseLost
from teiten.protocol.testing import START_US
from teiten.store import check
from teiten.store.service import Store
from teiten.store.testing import temporary_store

pytestmark = pytest.mark.requirement("R2.1")

POINTS = (
    "composed", "inserting", "before packets", "after packets", "before coverage", "after coverage", "after record",
    "inserted",
)  # fmt: skip


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(from_us(START_US + 3_600_000_000 * 12))


@pytest.fixture
def store(clock: FixedClock) -> Iterator[Store]:
    with temporary_store(clock) as opened:
        yield opened


def as_another_process_has_it(store: Store) -> Store:
    """Give the same store without what threads of one process share to take turns."""
    other = copy.copy(store)
    other.writing = threading.RLock()
    return other


@pytest.mark.parametrize("point", POINTS)
def test_a_loader_that_wakes_up_after_its_lease_doubles_nothing(
    tmp_path: Path, database_url: str, clock: FixedClock, store: Store, point: str
) -> None:
    stop_and_wake(tmp_path, database_url, clock, store, point, stopped_seconds=200)


#: Hours later the tokens of inserts may be forgotten: what differs then lies between packets and coverage.
@pytest.mark.parametrize(
    "point",
    [
        point if point in ("after packets", "after coverage") else pytest.param(point, marks=pytest.mark.long)
        for point in POINTS
    ],
)
def test_a_loader_that_wakes_up_hours_later_doubles_nothing(
    tmp_path: Path, database_url: str, clock: FixedClock, store: Store, point: str
) -> None:
    stop_and_wake(tmp_path, database_url, clock, store, point, stopped_seconds=7_200)


def stop_and_wake(
    folder: Path, url: str, clock: FixedClock, store: Store, point: str, *, stopped_seconds: int
) -> None:
    migrations.migrate(url)
    arrivals = [
        house.make_arrival(seq, sensor=sensor, rows=seq * 10) for sensor in (7, 8) for seq in (1, 2, 3)
    ]
    house.land(folder, url, clock, arrivals)
    rows = sum(one.seq * 10 for one in arrivals)
    fleet = house.Fleet()
    stopped, go_on = threading.Event(), threading.Event()

    def stop_at(name: str) -> None:
        if name == point:
            stopped.set()
            assert go_on.wait(60)

    sleeper = house.make_loader(folder, url, clock, as_another_process_has_it(store), fleet, at=stop_at)
    other = house.make_loader(folder, url, clock, store, fleet)
    fates: list[object] = []
    thread = threading.Thread(target=lambda: fates.append(outcome_of(sleeper)))
    thread.start()
    try:
        assert stopped.wait(60)
        assert other.step() is None
        clock.advance(stopped_seconds)
        loaded = other.step()
        assert loaded is not None
        assert loaded.rows == rows
    finally:
        go_on.set()
        thread.join()
        sleeper.close()
        other.close()

    assert house.count_all(store) == house.expect(rows, len(arrivals))
    assert check.check_all(store) == []
    assert isinstance(fates[0], LeaseLost)


def outcome_of(loader: house.Loader) -> object:
    try:
        return loader.step()
    except LeaseLost as lost:
        return lost
