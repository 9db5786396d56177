"""The disk is full for a while: senders are told to wait, nothing is lost or half done, and all goes on by itself."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from torture_house import Torture, tortured, wait_until

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("torture"),
    pytest.mark.requirement("R2.1"),
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="a small file system needs root"),
]


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="torture-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@contextlib.contextmanager
def small_disk(place: Path, megabytes: int) -> Iterator[Path]:
    place.mkdir(parents=True, exist_ok=True)
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m"]
    done = subprocess.run(
        ["mount", *options, "teiten-test", str(place)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=False)


def fill(place: Path) -> Path:
    """Take all that is free."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(65_536))
    with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(512))
    return filler


def let_flow(house: Torture, batches: int) -> None:
    goal = house.count_landed() + batches
    wait_until(lambda: house.count_landed() >= goal, f"{batches} more batches", 120.0)


def test_a_full_landing_disk_makes_senders_wait(folder: Path) -> None:
    with small_disk(folder / "data" / "landing", 20) as disk, tortured(folder, "direct-1:simulated") as house:
        house.start_up()
        sender = house.start_sender("send")
        let_flow(house, 5)
        filler = fill(disk)
        wait_until(
            lambda: "refuses to write" in house.log.read_text() or stands_still(house), "senders to wait", 60
        )
        assert sender.poll() is None
        assert not house.up_has_ended()
        filler.unlink()
        let_flow(house, 8)
        house.drain()

        house.check()


def stands_still(house: Torture) -> bool:
    before = house.count_landed()
    time.sleep(2.0)
    return house.count_landed() == before


def test_a_full_disk_under_everything_is_survived(folder: Path) -> None:
    with small_disk(folder / "data", 500) as disk, tortured(folder, "direct-1:simulated") as house:
        house.start_up()
        sender = house.start_sender("send")
        let_flow(house, 5)
        filler = fill(disk)
        wait_until(lambda: stands_still(house), "senders to wait", 60.0)
        time.sleep(2.0)
        assert sender.poll() is None
        assert not house.up_has_ended(), house.log.read_text()[-3000:]
        filler.unlink()
        let_flow(house, 8)
        house.drain()

        house.check()
