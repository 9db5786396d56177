"""What the loader knows of a sensor decides its rows, the same at each attempt, or the rows are replaced."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from teiten.foundation.clock import FixedClock, from_us
from teiten.landing import migrations
from teiten.landing.segments import Arrival
from teiten.loader.service import Loaded, Loader
from teiten.loader.testing import make_period
from teiten.protocol import batch
from teiten.protocol.header import PayloadExample, Watched
from teiten.protocol.testing import START_US, make_columns, make_header
from teiten.store import check
from teiten.store.service import Store
from teiten.store.testing import temporary_store
from teiten.traffic.addresses import from_text
from teiten.traffic.hints import Hint

_spec = importlib.util.spec_from_file_location("loader_house", Path(__file__).with_name("loader_house.py"))
assert _spec is not None
assert _spec.loader is not None
house = importlib.util.module_from_spec(_spec)
sys.modules["loader_house"] = house
_spec.loader.exec_module(house)

pytestmark = pytest.mark.requirement("R1.1", "R2.1")
LOCAL, PUBLIC, ELSEWHERE = "10.0.0.5", "203.0.113.7", "203.0.113.9"
BEHIND = make_period(LOCAL, PUBLIC)


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
    deadline = time.monotonic() + 10
    while (loaded := loader.step()) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    return loaded


def arrive(
    seq: int, *, rows: int = 60, examples: tuple[PayloadExample, ...] = (), is_lying: bool = False
) -> Arrival:
    """Seal a batch of a sensor behind NAT: packets carry the local address, Mirai's sequence number the public one."""
    header = dataclasses.replace(
        make_header(rows=rows, seq=seq), watched=(Watched(f"{LOCAL}/32", "silent"),), examples=examples
    )
    columns = dict(make_columns(rows, seed=seq, start_us=header.window_start_us))
    columns["dst_addr"] = np.tile(np.frombuffer(from_text(LOCAL), np.uint8), (rows, 1))
    is_tcp = np.asarray(columns["protocol"]) == 6
    number = int.from_bytes(from_text(PUBLIC)[12:], "big")
    for example in examples:
        digest = hashlib.blake2b(kept_of(columns, example.row), digest_size=8).digest()
        hashes = np.asarray(columns["payload_hash"]).copy()
        hashes[example.row] = int.from_bytes(digest, "little") + is_lying
        columns["payload_hash"] = hashes
    columns["tcp_seq"] = np.where(is_tcp, number, columns["tcp_seq"]).astype(np.uint32)
    return house.seal_arrival(batch.encode(header, columns), sensor=header.sensor, seq=seq)


def count_hints(store: Store) -> tuple[int, int]:
    """Count packets that look like Mirai's, and those of which nobody can tell."""
    found = store.select(
        f"SELECT countIf(bitAnd(hints, {int(Hint.MIRAI)}) != 0) AS yes,"
        f" countIf(bitAnd(hints, {int(Hint.NOT_COMPUTABLE)}) != 0) AS unknown FROM packets"
    ).to_pylist()[0]
    return found["yes"], found["unknown"]


def count_syns(store: Store) -> int:
    return int(
        store.select("SELECT countIf(protocol = 6 AND tcp_flags = 2) AS n FROM packets").to_pylist()[0]["n"]
    )


def test_a_known_public_address_is_computed_with(
    land: Callable[..., None], open_loader: Callable[..., Loader], store: Store, fleet
) -> None:
    fleet.change(BEHIND)
    land(arrive(1))
    open_loader().step()

    assert count_hints(store) == (count_syns(store), 0)
    assert count_syns(store) > 20


def test_a_public_address_of_another_time_is_never_a_no(
    land: Callable[..., None], open_loader: Callable[..., Loader], store: Store, fleet
) -> None:
    fleet.change(make_period(LOCAL, PUBLIC, to_us=START_US - 1), make_period("10.0.0.6", ELSEWHERE))
    land(arrive(1))
    open_loader().step()

    assert count_hints(store) == (0, count_syns(store))


@pytest.mark.parametrize("point", ["after packets", "after coverage", "inserted"])
def test_an_address_edited_between_two_attempts_replaces_what_was_written(
    land: Callable[..., None], open_loader: Callable[..., Loader], store: Store, fleet, point: str
) -> None:
    """The block was composed when the address was unknown; a part of it is there when it is entered."""
    land(arrive(1), arrive(2))
    first = open_loader(kill_at(point))
    with pytest.raises(Killed):
        first.step()
    first.close()
    before = count_hints(store)
    fleet.change(BEHIND)

    told = step_soon(open_loader())

    assert told is not None
    assert (told.rows, told.batches) == (120, 2)
    assert house.count_all(store) == house.expect(120, 2)
    assert check.check_all(store) == []
    if point == "inserted":
        assert count_hints(store) == before, "the first attempt was whole; it stays as it was"
    else:
        assert count_hints(store) == (count_syns(store), 0), "one answer for the whole block"


def test_a_block_whose_sensors_stayed_is_only_completed(
    land: Callable[..., None],
    open_loader: Callable[..., Loader],
    store: Store,
    fleet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from teiten.store import writer

    outcomes: list[tuple[bool, str]] = []
    genuine = writer.insert_block

    def insert(*words: object, **named: object) -> str:
        outcome = genuine(*words, **named)  # type: ignore[arg-type]
        outcomes.append((bool(named["is_changed"]), outcome))
        return outcome

    monkeypatch.setattr(writer, "insert_block", insert)
    fleet.change(BEHIND)
    land(arrive(1), arrive(2))
    first = open_loader(kill_at("after packets"))
    with pytest.raises(Killed):
        first.step()
    first.close()

    assert step_soon(open_loader()) is not None

    assert outcomes == [(False, "written")]
    assert house.count_all(store) == house.expect(120, 2)


def test_a_second_loader_asks_the_fleet_anew(
    land: Callable[..., None], open_loader: Callable[..., Loader], fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have asked before the first one did, and would not notice what that one knew."""
    land(arrive(1))
    refreshed: list[str] = []
    monkeypatch.setattr(fleet, "refresh", lambda: refreshed.append("asked"))
    first = open_loader(kill_at("after packets"))
    with pytest.raises(Killed):
        first.step()
    assert not refreshed
    first.close()

    step_soon(open_loader())

    assert refreshed == ["asked"]


def kept_of(columns, row: int) -> bytes:
    kept = columns["payload"]
    return kept.data[kept.offsets[row] : kept.offsets[row + 1]].tobytes()


def example_of(seq: int) -> PayloadExample:
    """Give an example of the first row of a batch that has a payload."""
    columns = make_columns(60, seed=seq, start_us=make_header(rows=60, seq=seq).window_start_us)
    row = int(np.flatnonzero(np.diff(columns["payload"].offsets))[0])
    return PayloadExample(row, kept_of(columns, row))


@pytest.mark.requirement("R2.2")
def test_payload_examples_are_kept_and_a_lie_quarantines_its_batch(
    land: Callable[..., None], open_loader: Callable[..., Loader], store: Store
) -> None:
    honest, lie = example_of(1), example_of(2)
    land(arrive(1, examples=(honest,)), arrive(2, examples=(lie,), is_lying=True), arrive(3))
    loader = open_loader()

    loaded = loader.step()

    assert loaded is not None
    assert (loaded.batches, loaded.quarantined) == (2, 1)
    (aside,) = loader._ledger.quarantined()
    assert (aside.seq, aside.code) == (2, "examples.hash")
    assert "has another hash than the payload_hash of that row" in aside.message
    found = store.select(
        "SELECT hex(e.payload) AS payload, p.payload_hash = e.payload_hash AND p.dst_port = e.dst_port AS fits"
        " FROM payload_examples AS e"
        " JOIN packets AS p ON p.batch_seq = e.batch_seq AND p.observed_at = e.observed_at AND p.src_addr = e.src_addr",
        role="maintenance",
    ).to_pylist()
    assert [(bytes.fromhex(one["payload"]), one["fits"]) for one in found] == [(honest.payload, 1)]
