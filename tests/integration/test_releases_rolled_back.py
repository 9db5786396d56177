"""New code that crashes, hangs, or captures and cannot send: real processes, and the launcher as its timer runs it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from releases_house import Host, House, open_mirror
from teiten.launcher.installing import install_bundle
from teiten.launcher.updating import update

pytestmark = pytest.mark.requirement("R1.3")

#: A sensor in few lines: both roles count into health.json as the real one does.
HONEST = """
import json, os, pathlib, sys, time

RELEASE = json.loads(pathlib.Path(__file__).parents[3].joinpath("RELEASE.json").read_text())["release"]

def main(words):
    if words == ["--version"]:
        return 0
    state = pathlib.Path(words[words.index("--config") + 1]).parents[2] / "var/lib/teiten-sensor"
    (state / f"{words[0]}.pid").write_text(f"{RELEASE}")
    rounds = 0
    while True:
        rounds += 1
        work(words[0], state, rounds)
        time.sleep(0.05)

def say(state, rounds, **sending):
    capture = {"release": RELEASE, "pid": 7, "rounds": rounds, "sealed": rounds}
    sending = {"heartbeats": rounds, "receipts": rounds, "own_receipt": True, "waiting": 0, **sending}
    record = {"release": RELEASE, "written_boot_s": time.clock_gettime(time.CLOCK_BOOTTIME), "capture": capture}
    part = state / "health.part"
    part.write_text(json.dumps({**record, "sending": sending}))
    part.replace(state / "health.json")

def work(verb, state, rounds):
    if verb == "upload":
        say(state, rounds)
"""
CRASHES = HONEST.replace(
    '    if verb == "upload":', '    if verb == "record":\n        os._exit(3)\n    if verb == "upload":'
)
HANGS = HONEST.replace("        say(state, rounds)", "        time.sleep(3600)")
CANNOT_SEND = HONEST.replace(
    "say(state, rounds)", "say(state, rounds, heartbeats=0, receipts=0, own_receipt=False)"
)


class Units:
    """systemd with Restart=always for two units, in a thread."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def open(self) -> None:
        for role in ("capture", "upload"):
            self._start(role)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        for process in self._running.values():
            process.kill()
            process.wait()

    def wants_capture(self) -> bool:
        return True

    def restart(self, *, capture: bool) -> None:
        with self._lock:
            for role in ("capture", "upload") if capture else ("upload",):
                self._running[role].kill()
                self._running[role].wait()
                self._start(role)

    def _start(self, role: str) -> None:
        words = ("-m", "teiten.launcher.main", "--root", str(self._root), "run", role)
        self._running[role] = subprocess.Popen((sys.executable, *words), stderr=subprocess.DEVNULL)

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            with self._lock:
                for role, process in list(self._running.items()):
                    if process.poll() is not None:
                        self._start(role)


@pytest.fixture
def host(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Host]:
    """A host whose release 1 is honest, with release 2 as the test wants it."""
    house = House(tmp_path / "house")
    house.folder.mkdir()
    house.begin()
    first = house.pack(1, program=HONEST)
    house.offer(first, house.pack(2, program=request.param))
    with open_mirror(house.public) as mirror:
        host = Host(tmp_path / "host", mirror.url, house.anchor)
        (host.places.settings / "launcher.toml").write_text(
            f'[launcher]\nupdate_url = "{mirror.url}"\nuser = ""\nprobation_seconds = 4\n'
        )
        install_bundle(host.bench, host.config, first)
        host.allow(2)
        yield host


def run_timer(host: Host, units: Units, *, seconds: float) -> str:
    """Run commit-check as its timer does, until it has decided."""
    from teiten.launcher.flipping import Bench
    from teiten.launcher.machine import Machine
    from teiten.launcher.main import load_config
    from teiten.launcher.probation import check_probation

    bench = Bench(host.places, Machine(), units)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        verdict = check_probation(bench, load_config(host.places))
        if verdict in ("committed", "rolled_back"):
            return verdict
        time.sleep(0.3)
    return "undecided"


@pytest.mark.parametrize(
    ("host", "verdict", "why"),
    [
        pytest.param(HONEST, "committed", "", id="honest"),
        pytest.param(CRASHES, "rolled_back", "times in vain", id="crashes"),
        pytest.param(HANGS, "rolled_back", "nothing heard of its processes", id="hangs"),
        pytest.param(
            CANNOT_SEND, "rolled_back", "no heartbeat accepted, no batch accepted", id="cannot send"
        ),
    ],
    indirect=["host"],
)
def test_new_code_is_kept_or_rolled_back(host: Host, verdict: str, why: str) -> None:
    from teiten.launcher.flipping import Bench
    from teiten.launcher.machine import Machine
    from teiten.launcher.main import load_config

    units = Units(host.root)
    units.open()
    try:
        bench = Bench(host.places, Machine(), units)
        wait_for(host, 1)
        assert update(bench, load_config(host.places).check()).release == 2
        assert run_timer(host, units, seconds=40) == verdict
        kept = 2 if verdict == "committed" else 1
        assert bench.shelf.current == kept
        assert why in host.report()["detail"]
        wait_for(host, kept)
    finally:
        units.close()


def wait_for(host: Host, release: int) -> None:
    """Wait until this release runs and says that it is well."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            if json.loads(host.places.health.read_text())["release"] == release:
                return
        except (OSError, ValueError):
            pass
        time.sleep(0.05)
    raise AssertionError(f"release {release} does not run")
