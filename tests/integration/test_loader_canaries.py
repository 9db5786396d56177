"""Canaries on their way through the ledger and the store: never counted, noted once, whatever is killed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import loader_house as house

from teiten.fleet.canary import packets
from teiten.foundation.clock import FixedClock, from_us
from teiten.landing import migrations
from teiten.landing.blocks import BlockLedger
from teiten.loader.config import LoaderConfig
from teiten.loader.reference import ReferenceBook
from teiten.loader.service import Loader
from teiten.protocol import batch, canary
from teiten.protocol.canary import TCP, Probe, Target
from teiten.protocol.testing import START_US, make_header
from teiten.store import check
from teiten.store.service import Store
from teiten.store.testing import temporary_store
from teiten.traffic.columns import WIRE_COLUMNS
from teiten.traffic.parse import parse_packets

pytestmark = pytest.mark.requirement("R1.3", "R2.1")

KEY, HERE, SLOT_SECONDS = bytes(range(32)), "203.0.113.9", 900


class Door:
    """Keeps arrivals as the database does: each once."""

    def __init__(self) -> None:
        address = canary.pack_address(HERE)
        self.probers: tuple[Any, ...] = (
            canary.ProberKey(number=3, key=KEY, addresses=(address,), slot_seconds=SLOT_SECONDS),
        )
        self.arrivals: set[Any] = set()
        self.is_away = False

    def list_probers(self) -> Any:
        return self.probers

    def note_arrivals(self, arrivals: Any) -> None:
        if self.is_away:
            raise OSError("the database is away")
        self.arrivals |= set(arrivals)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(from_us(START_US + 3_600_000_000 * 12))


@pytest.fixture
def store(clock: FixedClock) -> Iterator[Store]:
    with temporary_store(clock) as opened:
        yield opened


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture
def open_loader(
    tmp_path: Path, database_url: str, clock: FixedClock, store: Store, door: Door
) -> Iterator[Callable[..., Loader]]:
    migrations.migrate(database_url)
    fleet = house.Fleet()
    house.land(tmp_path, database_url, clock, [make_arrival()])
    opened: list[Loader] = []

    def run(at: Callable[[str], None] = lambda _: None) -> Loader:
        opened.append(
            Loader(
                LoaderConfig(),
                ledger=BlockLedger(house.landing_config(tmp_path), database_url, clock),
                store=store,
                register=fleet,
                reference=ReferenceBook(tmp_path / "reference"),
                clock=clock,
                canaries=door,
                at=at,
            )
        )
        return opened[-1]

    yield run
    for one in opened:
        one.close()


def make_arrival() -> Any:
    """Give a batch of three canaries, of which one is repeated, and one forged packet."""
    header = make_header(rows=5)
    at_us = header.window_start_us + 1_000_000
    slot = at_us // (SLOT_SECONDS * 1_000_000)
    sent = [write(port, slot, KEY) for port in (22, 23, 80, 80)] + [write(22, slot, bytes(32))]
    raw = np.zeros((5, 176), np.uint8)
    for row, packet in enumerate(sent):
        raw[row, : len(packet)] = np.frombuffer(packet, np.uint8)
    lengths = np.full(5, len(sent[0]), np.int64)
    columns = parse_packets(
        raw,
        lengths,
        wire_length=lengths,
        observed_at_us=np.full(5, at_us, np.int64),
        vlan=np.zeros(5, np.uint16),
        payload_bytes=64,
        stacked_vlan=np.zeros(5, np.bool_),
    )
    body = batch.encode(header, {column.name: columns[column.name] for column in WIRE_COLUMNS})
    return house.seal_arrival(body, sensor=7, seq=1)


def write(port: int, slot: int, key: bytes) -> bytes:
    destination = canary.pack_address("192.0.2.7")
    marks = canary.mark_canary(key, slot=slot, destination=destination, protocol=TCP, port=port)
    return packets.write_ipv4(Probe(Target(7, "192.0.2.7"), TCP, port), marks, source=HERE)


def figures(store: Store) -> tuple[int, ...]:
    coverage = store.select(
        "SELECT rows, excluded, captured FROM coverage FINAL", role="maintenance"
    ).to_pylist()
    assert len(coverage) == 1
    return (house.count(store, "packets"), *coverage[0].values())


def test_it_works(open_loader: Callable[..., Loader], store: Store, door: Door) -> None:
    loaded = open_loader().step()

    assert loaded is not None
    assert (loaded.rows, loaded.batches, loaded.quarantined) == (2, 1, 0)
    assert figures(store) == (2, 2, 3 + 3, 8)
    assert {(one.sensor, one.port) for one in door.arrivals} == {(7, 22), (7, 23), (7, 80)}
    assert check.check_all(store) == []


class Killed(BaseException):
    """Leaves a loader as a kill would: nothing is given back."""


@pytest.mark.parametrize(
    ("point", "is_revoked"), [("after packets", False), ("after packets", True), ("inserted", True)]
)
def test_a_block_that_is_loaded_again_counts_alike(
    open_loader: Callable[..., Loader], store: Store, door: Door, point: str, is_revoked: bool
) -> None:
    def at(name: str) -> None:
        if name == point:
            raise Killed

    first = open_loader(at)
    with pytest.raises(Killed):
        first.step()
    first.close()
    if is_revoked:
        door.probers = ()

    again = open_loader()
    for _ in range(100):
        if again.step() is not None:
            break

    # What was wholly there when the prober was revoked stays as it was.
    are_ordinary = is_revoked and point != "inserted"
    assert figures(store) == ((5, 5, 3, 8) if are_ordinary else (2, 2, 6, 8))
    assert check.check_all(store) == []
    assert len(door.arrivals) == 3


def test_while_arrivals_cannot_be_noted_nothing_is_loaded(
    open_loader: Callable[..., Loader], store: Store, door: Door
) -> None:
    loader = open_loader()
    door.is_away = True
    with pytest.raises(OSError, match="away"):
        loader.step()
    assert house.count(store, "packets") == 0

    door.is_away = False
    assert loader.step() is not None
    assert (figures(store)[0], len(door.arrivals)) == (2, 3)
