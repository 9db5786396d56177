"""Landed batches become rows exactly once, whatever is wrong with some of them and whoever is killed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from teiten.cli.embedded import create_database
from teiten.foundation.clock import FixedClock, from_us
from teiten.landing import migrations
from teiten.landing.blocks import Selector
from teiten.loader import tables
from teiten.loader.errors import BlockFailed
from teiten.loader.service import Loaded, Loader
from teiten.protocol.testing import START_US
from teiten.store import check
from teiten.store.errors import StoreUnavailable
from teiten.store.service import Store
from teiten.store.testing import temporary_store
from teiten.traffic.columns import COLUMNS

_spec = importlib.util.spec_from_file_location("loader_house", Path(__file__).with_name("loader_house.py"))
assert _spec is not None
assert _spec.loader is not None
house = importlib.util.module_from_spec(_spec)
sys.modules["loader_house"] = house
_spec.loader.exec_module(house)

pytestmark = pytest.mark.requirement("R2.1")


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(from_us(START_US + 3_600_000_000 * 12))


@pytest.fixture
def store(clock: FixedClock) -> Iterator[Store]:
    with temporary_store(clock) as opened:
        yield opened


@pytest.fixture
def url(database_url: str) -> str:
    migrations.migrate(database_url)
    return database_url


@pytest.fixture
def land(tmp_path: Path, url: str, clock: FixedClock) -> Callable[..., None]:
    return lambda *arrivals: house.land(tmp_path, url, clock, arrivals)


@pytest.fixture
def fleet() -> object:
    return house.Fleet()


@pytest.fixture
def open_loader(
    tmp_path: Path, url: str, clock: FixedClock, store: Store, fleet: object
) -> Iterator[Callable[..., Loader]]:
    opened: list[Loader] = []

    def run(at: Callable[[str], None] = lambda _: None, **settings: object) -> Loader:
        opened.append(house.make_loader(tmp_path, url, clock, store, fleet, at, **settings))
        return opened[-1]

    yield run
    for one in opened:
        one.close()


class Killed(BaseException):
    """Leaves a loader as a kill would: nothing is given back."""


def kill_at(name: str) -> Callable[[str], None]:
    def at(point: str) -> None:
        if point == name:
            raise Killed

    return at


def step_soon(loader: Loader) -> Loaded | None:
    """Load a block of a loader that has just ended: PostgreSQL notices its closed socket within moments."""
    deadline = time.monotonic() + 10
    while (loaded := loader.step()) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    return loaded


def test_it_works(land: Callable[..., None], open_loader: Callable[..., Loader], store: Store) -> None:
    land(*(house.make_arrival(seq, sensor=sensor) for seq in (1, 2) for sensor in (7, 8, 9)))
    loader = open_loader()
    told: list[Loaded] = []
    loader.tell(told.append)

    loaded = loader.step()

    assert loaded is not None
    assert (loaded.rows, loaded.batches, loaded.quarantined) == (144, 6, 0)
    assert told == [loaded]
    assert loaded.datasets == {"simulated"}
    assert loader.step() is None
    assert house.count_all(store) == house.expect(144, 6)
    assert check.check_all(store) == []


def test_every_column_is_filled(
    land: Callable[..., None], open_loader: Callable[..., Loader], store: Store
) -> None:
    land(house.make_arrival(3, rows=200))
    open_loader().step()

    names = ", ".join(f"uniqExact({column.name}) AS {column.name}" for column in COLUMNS)
    distinct = store.select(f"SELECT {names} FROM packets").to_pylist()[0]
    row = store.select(
        "SELECT min(row) AS low, max(row) AS high, any(region) AS region, any(batch_seq) AS seq FROM packets"
    )

    assert distinct["observed_at"] > 100
    assert distinct["nature"] >= 2
    assert distinct["tcp_fp"] >= 3
    assert row.to_pylist() == [{"low": 0, "high": 199, "region": "region-1", "seq": 3}]


def test_an_empty_window_is_covered(
    land: Callable[..., None], open_loader: Callable[..., Loader], store: Store
) -> None:
    land(house.make_arrival(1, rows=0))

    loaded = open_loader().step()

    assert loaded is not None
    assert house.count_all(store) == house.expect(0, 1)
    assert house.count(store, "coverage_1h", "sum(address_seconds)") == 300


def test_what_does_not_verify_is_set_aside_and_the_rest_is_loaded(
    land: Callable[..., None],
    open_loader: Callable[..., Loader],
    store: Store,
    fleet: object,
    url: str,
    tmp_path: Path,
) -> None:
    fleet.unknown.add(9)
    land(
        house.make_arrival(1),
        house.make_arrival(2, dataset="live"),
        house.make_arrival(3, dataset="import:lab"),
        house.seal_arrival(b"no batch at all", sensor=7, seq=4),
        house.make_arrival(1, sensor=9),
        house.seal_arrival(house.make_arrival(1, sensor=8).body, sensor=7, seq=6),
    )
    loader = open_loader()

    loaded = loader.step()

    assert loaded is not None
    assert (loaded.batches, loaded.quarantined) == (1, 5)
    codes = {(one.sensor, one.seq): one.code for one in loader._ledger.quarantined()}
    assert codes == {
        (7, 2): "dataset.other",
        (7, 3): "dataset.import",
        (7, 4): "frame.form",
        (9, 1): "sensor.unknown",
        (7, 6): "claims.sensor",
    }
    assert house.count_all(store) == house.expect(24, 1)

    fleet.unknown.clear()
    assert loader._ledger.requeue(Selector(code="sensor.unknown")) == 1
    again = loader.step()

    assert again is not None
    assert again.batches == 1
    assert house.count_all(store) == house.expect(48, 2)
    assert check.check_all(store) == []


POINTS = ["composed", "inserting", "after packets", "after coverage", "inserted"]


@pytest.mark.parametrize("point", POINTS)
def test_a_loader_cut_off_anywhere_is_followed_exactly(
    land: Callable[..., None], open_loader: Callable[..., Loader], store: Store, point: str
) -> None:
    land(house.make_arrival(1), house.make_arrival(2))
    first = open_loader(kill_at(point))
    with pytest.raises(Killed):
        first.step()
    first.close()

    step_soon(open_loader())

    assert house.count_all(store) == house.expect(48, 2)
    assert check.check_all(store) == []


def test_what_is_allowed_between_two_attempts_is_neither_lost_nor_doubled(
    land: Callable[..., None], open_loader: Callable[..., Loader], store: Store, fleet: object
) -> None:
    land(house.make_arrival(1, sensor=7), house.make_arrival(1, sensor=8), house.make_arrival(1, sensor=9))
    fleet.unknown.add(8)
    first = open_loader(kill_at("inserted"))
    with pytest.raises(Killed):
        first.step()
    first.close()
    fleet.unknown.clear()
    loaded = step_soon(open_loader())

    assert loaded is not None
    assert loaded.batches == 3
    assert house.count_all(store) == house.expect(72, 3)
    assert check.check_all(store) == []


def test_what_is_refused_at_the_second_attempt_leaves_nothing(
    land: Callable[..., None], open_loader: Callable[..., Loader], store: Store
) -> None:
    land(house.make_arrival(1), house.make_arrival(2))
    first = open_loader(kill_at("after coverage"))
    with pytest.raises(Killed):
        first.step()
    first.close()

    loader = open_loader(max_age_days=0)
    loaded = step_soon(loader)

    assert loaded is not None
    assert (loaded.rows, loaded.batches, loaded.quarantined) == (0, 0, 2)
    assert house.count_all(store) == house.expect(0, 0)
    loader._ledger.requeue(Selector())
    open_loader().run_until_empty()
    assert house.count_all(store) == house.expect(48, 2)


def test_a_sensor_taken_away_between_two_attempts_leaves_nothing(
    land: Callable[..., None], open_loader: Callable[..., Loader], store: Store, fleet: object
) -> None:
    land(house.make_arrival(1, sensor=7), house.make_arrival(1, sensor=8))
    first = open_loader(kill_at("inserted"))
    with pytest.raises(Killed):
        first.step()
    first.close()
    fleet.unknown.add(8)
    loader = open_loader()

    loaded = step_soon(loader)

    assert loaded is not None
    assert (loaded.batches, loaded.quarantined) == (1, 1)
    assert house.count_all(store) == house.expect(24, 1)
    fleet.unknown.clear()
    loader._ledger.requeue(Selector())
    loader.run_until_empty()
    assert house.count_all(store) == house.expect(48, 2)
    assert check.check_all(store) == []


@pytest.mark.parametrize("point", ["composed", "after packets", "after record", "inserted"])
def test_a_block_that_unpacks_to_much_goes_in_parts(
    land: Callable[..., None], open_loader: Callable[..., Loader], store: Store, point: str
) -> None:
    land(*(house.make_arrival(seq, rows=100) for seq in range(1, 6)))
    seen: list[str] = []

    def at(now: str) -> None:
        seen.append(now)
        if now == point and seen.count(point) == (2 if point.startswith("after") else 1):
            raise Killed

    first = open_loader(at, part_bytes=40_000)
    with pytest.raises(Killed):
        first.step()
    first.close()

    told = step_soon(open_loader(part_bytes=40_000))

    assert told is not None
    assert (told.rows, told.batches) == (500, 5)
    assert house.count_all(store) == house.expect(500, 5)
    assert check.check_all(store) == []


def test_a_bug_over_one_batch_sets_that_batch_aside(
    land: Callable[..., None],
    open_loader: Callable[..., Loader],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    land(house.make_arrival(1), house.make_arrival(2), house.make_arrival(3))
    genuine = tables.build_packets

    def build(batches, reference):
        if any(one.member.seq == 2 for one in batches):
            raise ZeroDivisionError("a bug")
        return genuine(batches, reference)

    monkeypatch.setattr(tables, "build_packets", build)
    loader = open_loader()

    loaded = loader.step()

    assert loaded is not None
    assert (loaded.batches, loaded.quarantined) == (2, 1)
    (aside,) = loader._ledger.quarantined()
    assert (aside.seq, aside.code) == (2, "internal")
    assert "ZeroDivisionError" in aside.message
    assert house.count_all(store) == house.expect(48, 2)


def test_a_bug_over_all_of_them_gives_the_block_back(
    land: Callable[..., None],
    open_loader: Callable[..., Loader],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    land(house.make_arrival(1), house.make_arrival(2))
    genuine = tables.build_packets

    def build(batches, reference):
        if len(batches) > 1:
            raise ZeroDivisionError("a bug")
        return genuine(batches, reference)

    monkeypatch.setattr(tables, "build_packets", build)
    loader = open_loader()
    with pytest.raises(BlockFailed):
        loader.step()

    monkeypatch.setattr(tables, "build_packets", genuine)

    assert loader.run_until_empty() == 1
    assert house.count_all(store) == house.expect(48, 2)


def test_a_store_that_is_away_loses_nothing(
    land: Callable[..., None],
    open_loader: Callable[..., Loader],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    land(house.make_arrival(1), house.make_arrival(2))
    loader = open_loader(backoff_seconds=0.05)
    genuine = store.connections.insert
    failures = iter([True, True, False])

    def insert(table, rows, **options):
        if table == "coverage" and next(failures, False):
            raise StoreUnavailable("no room")
        genuine(table, rows, **options)

    monkeypatch.setattr(store.connections, "insert", insert)
    loader.tell(lambda _: loader.stop())
    runner = threading.Thread(target=loader.run)
    runner.start()
    runner.join(30)

    assert not runner.is_alive()
    assert house.count_all(store) == house.expect(48, 2)


def test_reference_data_that_are_gone_do_not_stop_the_rest(
    land: Callable[..., None], open_loader: Callable[..., Loader], store: Store, tmp_path: Path
) -> None:
    from teiten.loader.reference import ReferenceBook

    survey = tmp_path / "survey.csv"
    survey.write_text("network,owner,valid_from,valid_to,source\n240.9.0.0/24,A,2026-01-01,,x\n")
    book = ReferenceBook(tmp_path / "reference")
    book.use(survey_list=survey)
    land(house.make_arrival(1))
    first = open_loader(kill_at("after packets"))
    with pytest.raises(Killed):
        first.step()
    first.close()
    shutil.rmtree(tmp_path / "reference" / book.current_version())
    survey.write_text("network,owner,valid_from,valid_to,source\n240.8.0.0/24,A,2026-01-01,,x\n")
    (tmp_path / "reference" / "current").unlink()
    ReferenceBook(tmp_path / "reference").use(survey_list=survey)

    loaded = step_soon(open_loader())

    assert loaded is not None
    assert house.count_all(store) == house.expect(24, 1)
    assert check.check_all(store) == []


def test_a_damaged_segment_is_set_aside(
    land: Callable[..., None], open_loader: Callable[..., Loader], store: Store, tmp_path: Path
) -> None:
    land(house.make_arrival(1))
    (segment,) = (tmp_path / "landing").glob("*.seg")
    segment.write_bytes(segment.read_bytes()[:-10])
    loader = open_loader()

    loaded = loader.step()

    assert loaded is not None
    assert [one.code for one in loader._ledger.quarantined()] == ["segment.damaged"]


LOADING = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import loader_house as house
from pathlib import Path
from teiten.foundation.clock import FixedClock, from_us
from teiten.store.config import StoreConfig
from teiten.store.service import Store

folder, url, point = Path(sys.argv[2]), sys.argv[3], sys.argv[4]
clock = FixedClock(from_us(int(sys.argv[5])))

def at(now):
    if now == point:
        os.kill(os.getpid(), signal.SIGKILL)

store = Store.open(StoreConfig(path=str(folder / "store")), clock)
loader = house.make_loader(folder, url, clock, store, house.Fleet(), at, max_batches=3)
loader.run_until_empty()
print(sorted(house.count_all(store).items()) == sorted(house.expect(24 * 9, 9).items()), house.count_all(store))
from teiten.store import check
print([one.message for one in check.check_all(store)])
loader.close()
store.close()
"""


@pytest.mark.requirement("R2.1")
def test_kill_9_of_the_whole_process_at_each_point(
    tmp_path: Path, postgres_server_url: str, clock: FixedClock
) -> None:
    url = create_database(postgres_server_url, f"kill_{os.getpid()}")
    migrations.migrate(url)
    house.land(tmp_path, url, clock, [house.make_arrival(seq) for seq in range(1, 10)])

    def run(point: str) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-c",
            LOADING,
            str(Path(__file__).parent),
            str(tmp_path),
            url,
            point,
            str(clock.now_us()),
        ]
        return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)

    for point in ("inserting", "after packets", "after coverage", "inserted", "marked"):
        killed = run(point)
        assert killed.returncode == -signal.SIGKILL, killed.stderr

    done = run("never")

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith("True"), done.stdout
    assert done.stdout.splitlines()[1] == "[]"
