"""Kill what runs, at any moment and at every named point: receipts = raw rows = roll-ups = coverage."""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from torture_house import Torture, tortured, wait_until
from up_that_dies import LANDING_POINTS, LOADER_POINTS, POINTS, STORE_POINTS

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("torture"),
    pytest.mark.requirement("R1.2", "R2.1"),
]

SENSORS = ("direct-1:simulated", "direct-2:live", "spool-1:simulated")
#: Those between which most can go wrong; the long form goes through all of them.
HARDEST = ("synced", "committed", "after packets", "inserted")
#: How long the random storm of the long form lasts, and what it draws from.
STORM_SECONDS = float(os.environ.get("TORTURE_SECONDS", "240"))
SEED = int(os.environ.get("TORTURE_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's own user may enter, other than pytest's."""
    made = Path(tempfile.mkdtemp(prefix="torture-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def start_senders(house: Torture) -> None:
    """Start what sends; the spool has two processes, as a real sensor has."""
    house.start_sender("send", "direct-1", "direct-2")
    house.start_sender("fill", "spool-1")
    identity = Path(house.order["folder"]) / "spool-1" / "identity.json"
    wait_until(identity.exists, "the enrolment", 60.0)
    house.start_upload("spool-1")


def let_flow(house: Torture, batches: int = 25) -> None:
    """Let some more batches land."""
    goal = house.count_landed() + batches
    wait_until(lambda: house.count_landed() >= goal, f"{batches} more batches", 90.0)


def die_at(house: Torture, point: str, rng: random.Random) -> None:
    """Let `up` run until it kills itself at the point."""
    # Landing passes its points many times a second, the loader's are passed once a block.
    passes = rng.randint(1, 30) if point in LANDING_POINTS else rng.randint(1, 3)
    house.start_up(point=point, passes=passes)
    house.wait_for_death(60.0)


def kill_up(house: Torture, rng: random.Random) -> None:
    time.sleep(rng.uniform(0.0, 1.0))
    house.kill_up()
    house.start_up()


def kill_sender(house: Torture, rng: random.Random) -> None:
    house.end_sender(rng.choice(house.senders))
    for process in list(house.senders):
        house.end_sender(process)
    start_senders(house)


def kill_database(house: Torture, rng: random.Random) -> None:
    """Kill PostgreSQL under `up`, which must start it again and go on."""
    before, killed = house.count_landed(), house.database_process()
    time.sleep(rng.uniform(0.0, 1.0))
    house.kill_database()
    wait_until(lambda: house.is_database_back(killed), "`up` to start PostgreSQL again", 60.0)
    assert house.count_landed() >= before
    let_flow(house, 5)
    assert not house.up_has_ended(), f"`up` did not survive its database; see {house.log}"


def kill_all(house: Torture, rng: random.Random) -> None:
    """As a power cut would, but for what the disk has not taken."""
    time.sleep(rng.uniform(0.0, 1.0))
    house.kill_database()
    house.kill_up()
    kill_sender(house, rng)
    house.start_up()


def withhold_receipts(house: Torture, rng: random.Random) -> None:
    """Let a sender hear no answer for a while; its successor repeats everything."""
    for process in list(house.senders):
        house.end_sender(process)
    deaf = house.start_sender("deaf", "direct-1", "direct-2")
    if rng.random() < 0.5:
        time.sleep(rng.uniform(0.2, 1.5))
        house.end_sender(deaf)
    else:
        assert deaf.wait(60) == 0
        house.senders.remove(deaf)
    start_senders(house)


def tear_segment(house: Torture, rng: random.Random) -> None:
    """Leave half a record behind what the ledger knows, as a crash in mid-write does."""
    house.kill_up()
    segments = sorted((house.data / "landing").glob("*.seg"), key=lambda path: path.stat().st_mtime)
    newest = segments[-1]
    known = dict(house.ask_ledger("SELECT name, size_bytes FROM landing.segments")).get(newest.name, 0)
    with newest.open("r+b") as file:
        # What the ledger has not entered may be torn anywhere.
        file.truncate(rng.randint(int(known), newest.stat().st_size))
        file.seek(0, os.SEEK_END)
        file.write(rng.randbytes(rng.randint(1, 5_000)))
    house.start_up()


STORMS: dict[str, Callable[[Torture, random.Random], None]] = {
    "kill up": kill_up,
    "kill sender": kill_sender,
    "kill database": kill_database,
    "kill all": kill_all,
    "withhold receipts": withhold_receipts,
    "tear segment": tear_segment,
}


def test_a_short_storm(folder: Path) -> None:
    rng = random.Random(SEED)
    with tortured(folder, *SENSORS, pause_seconds=0.1) as house:
        house.start_up()
        start_senders(house)
        let_flow(house)
        house.kill_up()
        for point in HARDEST:
            die_at(house, point, rng)
        house.start_up()
        for name in ("kill database", "withhold receipts", "tear segment", "kill sender"):
            STORMS[name](house, rng)
            let_flow(house)
        house.drain()
        found = house.check()

    assert len(found["coverage"]) >= 100


@pytest.mark.long
@pytest.mark.parametrize(
    "points", [LANDING_POINTS, LOADER_POINTS, STORE_POINTS], ids=["landing", "loader", "store"]
)
def test_a_kill_at_every_named_point(folder: Path, points: tuple[str, ...]) -> None:
    rng = random.Random(SEED)
    with tortured(folder, *SENSORS) as house:
        house.start_up()
        start_senders(house)
        let_flow(house)
        house.kill_up()
        for point in points:
            print(f"dying at {point!r} (seed {SEED})", flush=True)
            # Twice: the second time the block that the first left behind is the one that is loaded.
            die_at(house, point, rng)
            die_at(house, point, rng)
            house.drain()
            house.check()
            house.start_up()
            start_senders(house)
            let_flow(house)
            house.kill_up()


@pytest.mark.long
@pytest.mark.timeout(STORM_SECONDS * 3 + 600)
def test_kills_at_random(folder: Path) -> None:
    rng = random.Random(SEED)
    print(f"seed {SEED}, {STORM_SECONDS:.0f} s; TORTURE_SEED and TORTURE_SECONDS change them", flush=True)
    with tortured(folder, *SENSORS) as house:
        house.start_up()
        start_senders(house)
        let_flow(house)
        end = time.monotonic() + STORM_SECONDS
        done: dict[str, int] = {}
        while time.monotonic() < end:
            name = rng.choice([*STORMS, *POINTS])
            print(f"{end - time.monotonic():4.0f} s left: {name}", flush=True)
            if name in STORMS:
                STORMS[name](house, rng)
            else:
                house.kill_up()
                die_at(house, name, rng)
                house.start_up()
            done[name] = done.get(name, 0) + 1
            let_flow(house, rng.randint(1, 40))
            if sum(done.values()) % 8 == 0:
                house.drain()
                house.check()
                house.start_up()
                start_senders(house)
        house.drain()
        found = house.check()
    print(f"{len(found['coverage'])} batches, {found['packets']} packets, storms {done}", flush=True)


def test_a_kill_during_the_first_start_leaves_nothing_half_done(folder: Path) -> None:
    rng = random.Random(SEED)
    with tortured(folder, "direct-1:simulated", is_first_start=True) as house:
        for _ in range(3):
            house.begin_up()
            time.sleep(rng.uniform(0.2, 4.0))
            house.kill_up()
        house.start_up()

        assert house.stop_up() == 0
