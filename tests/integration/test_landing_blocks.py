"""Load blocks: settled before they are loaded, the same after every crash, finished by one loader only."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from teiten.foundation.clock import FixedClock
from teiten.landing.blocks import Block, BlockLedger, BlockLimits, Quarantine, Selector
from teiten.landing.errors import LandingUnavailable, LeaseLost, SegmentDamaged
from teiten.landing.segments import Arrival
from teiten.landing.testing import make_arrival, make_config, open_log, start_ledger

LIMITS = BlockLimits()


@pytest.fixture(scope="module")
def module_url(postgres_server_url: str) -> str:
    """One database for all tests here; making one for each would cost more than the tests."""
    from teiten.cli.embedded import create_database

    return create_database(postgres_server_url, f"landing_blocks_{os.getpid()}")


@pytest.fixture
def url(module_url: str) -> str:
    start_ledger(module_url)
    return module_url


@pytest.fixture
def land(tmp_path: Path, url: str, clock: FixedClock) -> Callable[..., None]:
    def run(*arrivals: Arrival) -> None:
        async def append() -> None:
            async with open_log(make_config(tmp_path), url, clock) as log:
                for one in arrivals:
                    await log.append(one)
                    clock.advance(0.001)

        asyncio.run(append())

    return run


@pytest.fixture
def open_ledger(tmp_path: Path, url: str, clock: FixedClock) -> Iterator[Callable[[], BlockLedger]]:
    opened: list[BlockLedger] = []

    def run() -> BlockLedger:
        opened.append(BlockLedger(make_config(tmp_path), url, clock))
        return opened[-1]

    yield run
    for one in opened:
        one.close()


def compose(blocks: BlockLedger, limits: BlockLimits = LIMITS, *, rule_version: int = 1) -> Block:
    block = blocks.compose(limits, rule_version=rule_version, place_version="places-1")
    assert block is not None
    return block


def names_of(block: Block) -> list[tuple[int, int]]:
    return [(one.sensor, one.seq) for one in block.members]


Land = Callable[..., None]
OpenLedger = Callable[[], BlockLedger]


@pytest.mark.requirement("R2.1")
def test_it_works(land: Land, open_ledger: OpenLedger) -> None:
    land(make_arrival(1), make_arrival(2), make_arrival(1, sensor=8))
    blocks = open_ledger()
    assert blocks.backlog().batches == 3

    block = compose(blocks)
    bodies = [blocks.read(one) for one in block.members]
    blocks.renew(block)
    blocks.mark_loaded(block, rows=30)

    assert names_of(block) == [(7, 1), (7, 2), (8, 1)]
    assert bodies == [make_arrival(1).body, make_arrival(2).body, make_arrival(1, sensor=8).body]
    assert (block.attempts, block.rule_version, block.place_version) == (1, 1, "places-1")
    assert blocks.backlog().batches == 0
    assert blocks.compose(LIMITS, rule_version=1, place_version="x") is None


def test_nothing_waits_at_first(open_ledger: OpenLedger) -> None:
    assert open_ledger().compose(LIMITS, rule_version=1, place_version="x") is None
    assert open_ledger().backlog().oldest_landed_at is None


def test_limits_cut_a_block_but_never_to_nothing(land: Land, open_ledger: OpenLedger) -> None:
    land(*(make_arrival(seq, body=bytes([seq]) * 100) for seq in range(1, 8)))
    blocks = open_ledger()

    assert len(compose(blocks, BlockLimits(max_batches=2)).members) == 2
    assert len(compose(blocks, BlockLimits(max_bytes=250)).members) == 2
    assert len(compose(blocks, BlockLimits(max_bytes=1)).members) == 1
    assert len(compose(blocks, BlockLimits(max_rows_hint=1)).members) == 1
    assert names_of(compose(blocks)) == [(7, 7)]


def test_two_loaders_never_share_a_batch(land: Land, open_ledger: OpenLedger) -> None:
    land(*(make_arrival(seq) for seq in range(1, 101)))
    taken: list[tuple[int, int]] = []

    def load() -> None:
        blocks = open_ledger()
        while (
            block := blocks.compose(BlockLimits(max_batches=7), rule_version=1, place_version="x")
        ) is not None:
            taken.extend(names_of(block))
            blocks.mark_loaded(block, rows=1)

    threads = [threading.Thread(target=load) for _ in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    assert sorted(taken) == [(7, seq) for seq in range(1, 101)]


def same_block(one: Block, other: Block) -> bool:
    return dataclasses.replace(one, attempts=0) == dataclasses.replace(other, attempts=0)


@pytest.mark.requirement("R2.1")
def test_a_stopped_loaders_block_comes_back_the_same(
    land: Land, open_ledger: OpenLedger, clock: FixedClock
) -> None:
    land(make_arrival(1), make_arrival(2))
    stopped, other = open_ledger(), open_ledger()
    first = compose(stopped)
    land(make_arrival(3))
    assert names_of(compose(other)) == [(7, 3)]
    assert other.compose(LIMITS, rule_version=2, place_version="places-2") is None

    clock.advance(121)
    again = compose(other, BlockLimits(max_batches=1), rule_version=2)

    assert same_block(first, again)
    assert (again.attempts, again.rule_version, again.place_version) == (2, 1, "places-1")
    with pytest.raises(LeaseLost):
        stopped.renew(first)
    with pytest.raises(LeaseLost):
        stopped.mark_loaded(first, rows=2)
    other.mark_loaded(again, rows=2)
    with pytest.raises(LeaseLost):
        other.mark_loaded(again, rows=2)


def test_renewing_keeps_a_block(land: Land, open_ledger: OpenLedger, clock: FixedClock) -> None:
    land(make_arrival(1))
    slow, other = open_ledger(), open_ledger()
    block = compose(slow)
    for _ in range(3):
        clock.advance(100)
        slow.renew(block)

    assert other.compose(LIMITS, rule_version=1, place_version="x") is None
    slow.mark_loaded(block, rows=1)


def test_a_dead_loaders_block_is_free_at_once(land: Land, open_ledger: OpenLedger) -> None:
    land(make_arrival(1))
    dead = open_ledger()
    first = compose(dead)
    dead.close()

    assert same_block(compose(open_ledger()), first)


def test_a_released_block_comes_back_the_same(land: Land, open_ledger: OpenLedger, url: str) -> None:
    land(make_arrival(1), make_arrival(2))
    blocks = open_ledger()
    first = compose(blocks, BlockLimits(max_batches=1))
    blocks.release(first, "the store is down")

    assert same_block(compose(open_ledger()), first)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT last_error FROM landing.blocks").fetchone() == (
            "the store is down",
        )


def test_a_block_that_its_own_loader_forgot_comes_back(
    land: Land, open_ledger: OpenLedger, clock: FixedClock
) -> None:
    land(make_arrival(1))
    blocks = open_ledger()
    first = compose(blocks)
    assert blocks.compose(LIMITS, rule_version=1, place_version="x") is None

    clock.advance(121)

    assert same_block(compose(blocks), first)


def test_a_cut_connection_frees_its_blocks(land: Land, open_ledger: OpenLedger, url: str) -> None:
    land(make_arrival(1))
    blocks = open_ledger()
    first = compose(blocks)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    with pytest.raises(LandingUnavailable):
        blocks.mark_loaded(first, rows=1)
    again = compose(blocks)

    assert same_block(again, first)
    with pytest.raises(LeaseLost):
        blocks.mark_loaded(first, rows=1)
    blocks.mark_loaded(again, rows=1)


KILLED = """
import os, signal, sys
from pathlib import Path
from teiten.foundation.clock import SystemClock
from teiten.landing.blocks import BlockLedger, BlockLimits
from teiten.landing.testing import make_config

blocks = BlockLedger(make_config(Path(sys.argv[1])), sys.argv[2], SystemClock())
block = blocks.compose(BlockLimits(max_batches=2), rule_version=3, place_version="places-3")
os.write(1, block.id.encode())
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.requirement("R2.1")
def test_kill_9_of_a_loader_leaves_its_block_for_the_next(
    land: Land, open_ledger: OpenLedger, tmp_path: Path, url: str
) -> None:
    land(make_arrival(1), make_arrival(2), make_arrival(3))
    run = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), url], capture_output=True, timeout=60, check=False
    )
    assert run.returncode == -signal.SIGKILL, run.stderr.decode()
    blocks = open_ledger()
    deadline = time.monotonic() + 5
    while True:  # PostgreSQL notices the closed socket within moments.
        block = compose(blocks, BlockLimits(max_batches=2))
        if block.id == run.stdout.decode() or time.monotonic() > deadline:
            break
        blocks.release(block, "")
        time.sleep(0.05)

    assert block.id == run.stdout.decode()
    assert (names_of(block), block.rule_version, block.attempts) == ([(7, 1), (7, 2)], 3, 2)


class TestQuarantine:
    def test_what_does_not_verify_is_set_aside_and_can_be_requeued(
        self, land: Land, open_ledger: OpenLedger
    ) -> None:
        land(make_arrival(1), make_arrival(2), make_arrival(1, sensor=8))
        blocks = open_ledger()
        block = compose(blocks)
        bad = [Quarantine(block.members[1], "header.rows", "header: rows must be a whole number")]
        blocks.mark_loaded(block, rows=2, quarantined=bad)

        (aside,) = blocks.quarantined()
        assert (aside.sensor, aside.seq, aside.code) == (7, 2, "header.rows")
        assert blocks.backlog().batches == 0
        assert blocks.requeue(Selector(sensor=8)) == 0
        assert blocks.requeue(Selector(sensor=7, code="header.rows")) == 1
        again = compose(blocks, rule_version=2)
        assert (names_of(again), again.rule_version) == ([(7, 2)], 2)
        blocks.mark_loaded(again, rows=1)
        assert blocks.quarantined() == []

    def test_a_member_of_another_block_cannot_be_set_aside(self, land: Land, open_ledger: OpenLedger) -> None:
        land(make_arrival(1), make_arrival(2))
        blocks = open_ledger()
        one, other = (compose(blocks, BlockLimits(max_batches=1)) for _ in range(2))

        with pytest.raises(LeaseLost):
            blocks.mark_loaded(one, rows=0, quarantined=[Quarantine(other.members[0], "x", "y")])

        blocks.mark_loaded(one, rows=1)
        blocks.mark_loaded(other, rows=1)


class TestReading:
    def test_a_damaged_segment_is_named(self, land: Land, open_ledger: OpenLedger, tmp_path: Path) -> None:
        land(make_arrival(1))
        blocks = open_ledger()
        member = compose(blocks).members[0]
        (path,) = tmp_path.glob("*.seg")
        content = bytearray(path.read_bytes())
        content[member.offset] ^= 1
        path.write_bytes(content)

        with pytest.raises(SegmentDamaged, match="does not hold"):
            blocks.read(member)

    def test_a_cut_segment_is_named(self, land: Land, open_ledger: OpenLedger, tmp_path: Path) -> None:
        land(make_arrival(1))
        blocks = open_ledger()
        member = compose(blocks).members[0]
        (path,) = tmp_path.glob("*.seg")
        path.write_bytes(path.read_bytes()[:-1])

        with pytest.raises(SegmentDamaged, match="does not hold"):
            blocks.read(member)

    def test_a_missing_segment_is_named(self, land: Land, open_ledger: OpenLedger, tmp_path: Path) -> None:
        land(make_arrival(1))
        blocks = open_ledger()
        member = compose(blocks).members[0]
        (path,) = tmp_path.glob("*.seg")
        path.unlink()

        with pytest.raises(SegmentDamaged, match="cannot be read"):
            blocks.read(member)


def test_a_loader_wakes_when_something_lands(land: Land, open_ledger: OpenLedger) -> None:
    blocks = open_ledger()
    assert blocks.wait(0.01)
    assert not blocks.wait(0.01)
    waker = threading.Timer(0.1, land, [make_arrival(1)])
    waker.start()
    started = time.monotonic()

    assert blocks.wait(10)

    assert time.monotonic() - started < 5
    waker.join()


def test_a_ledger_without_a_database_is_named(tmp_path: Path, clock: FixedClock) -> None:
    blocks = BlockLedger(make_config(tmp_path), f"postgresql://nobody@/none?host={tmp_path}", clock)

    with pytest.raises(LandingUnavailable):
        blocks.compose(LIMITS, rule_version=1, place_version="x")


@given(
    steps=st.lists(st.sampled_from(["land", "compose", "finish", "release", "expire", "die"]), max_size=25)
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_every_batch_is_loaded_once(
    tmp_path: Path, url: str, clock: FixedClock, land: Land, steps: list[str]
) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE landing.batches, landing.blocks, landing.received")
    config = make_config(tmp_path)
    blocks = BlockLedger(config, url, clock)
    claimed: list[Block] = []
    inserted: dict[str, list[tuple[int, int]]] = {}
    landed = 0
    for step in [*steps, "die", "drain"]:
        if step == "land":
            land(make_arrival(landed + 1), make_arrival(landed + 2))
            landed += 2
        elif step == "finish" and claimed:
            block = claimed.pop()
            # The store keeps one insert for each token, however often it comes.
            assert inserted.setdefault(block.id, names_of(block)) == names_of(block)
            try:
                blocks.mark_loaded(block, rows=1)
            except LeaseLost:
                continue
        elif step == "release" and claimed:
            blocks.release(claimed.pop(), "later")
        elif step == "expire":
            clock.advance(121)
        elif step == "die":
            blocks.close()
            blocks, claimed = BlockLedger(config, url, clock), []
        elif step in ("compose", "drain"):
            while (
                block := blocks.compose(BlockLimits(max_batches=3), rule_version=1, place_version="x")
            ) is not None:
                claimed.append(block)
                if step == "compose":
                    break
                inserted[block.id] = names_of(block)
                blocks.mark_loaded(claimed.pop(), rows=1)

    blocks.close()
    assert sorted(name for names in inserted.values() for name in names) == [
        (7, seq) for seq in range(1, landed + 1)
    ]
