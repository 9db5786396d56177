"""A release on probation: kept, rolled back, or finished after a cut at any point."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1]))

from releases_house import Host, House, Mirror, now, open_mirror
from teiten.foundation.clock import FixedClock
from teiten.launcher.config import LauncherConfig
from teiten.launcher.errors import LauncherError, NoReleaseError, UpdateBlocked
from teiten.launcher.flipping import Bench
from teiten.launcher.installing import install_bundle
from teiten.launcher.probation import Seen, check_probation, judge, read_health
from teiten.launcher.releases import Pending
from teiten.launcher.restarting import Systemctl
from teiten.launcher.running import build_command, choose_runnable
from teiten.launcher.updating import update

pytestmark = pytest.mark.requirement("R1.3")

#: Every named instant of an update, a check that commits, and one that rolls back.
UPDATE_POINTS = (
    "update.refreshed",
    "update.fetched",
    "update.unpacked",
    "update.placed",
    "flip.pending",
    "flip.owed",
    "flip.turned",
    "restart.before",
    "restart.done",
    "restart.paid",
)
COMMIT_POINTS = ("check.judged", "commit.committed", "commit.ended", "commit.pruned")
BACK_POINTS = (
    "check.judged",
    "back.marked",
    "back.owed",
    "back.turned",
    "back.ended",
    "restart.before",
    "restart.done",
    "restart.paid",
    "back.pruned",
)


@dataclasses.dataclass
class Scene:
    house: House
    mirror: Mirror
    host: Host

    def update(self, bench: Bench | None = None) -> int:
        return update(bench or self.host.bench, self.host.config).release

    def check(self) -> str:
        return check_probation(self.host.bench, self.host.config)

    def live(self, release: int, *, seconds: float = 10.0, **facts: object) -> str:
        """Let some seconds pass in which ``release`` is healthy but for ``facts``, then look."""
        self.host.boot_seconds += seconds
        self.host.say_health(release, **facts)
        return self.check()

    def start(self, times: int = 1, role: str = "capture") -> int:
        """Start as a unit would; gives the release that was started."""
        command: list[str] = []
        for _ in range(times):
            command = build_command(self.host.bench.shelf, self.host.config, role=role, words=[])
        return int(Path(command[command.index("-c") + 2]).parent.name)

    @property
    def current(self) -> int:
        return self.host.bench.shelf.current


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Releases 1 and 2 are on offer."""
    house = House(tmp_path_factory.mktemp("house"))
    house.begin()
    house.release(1)
    house.release(2)
    return house


@pytest.fixture
def scene(template: House, tmp_path: Path) -> Iterator[Scene]:
    """Release 1 has proven itself, release 2 is on offer."""
    house = template.copy(tmp_path / "house")
    first = next((house.folder / "bundles").glob("teiten-sensor-1-*.tar.xz"))
    with open_mirror(house.public) as mirror:
        host = Host(tmp_path / "host", mirror.url, house.anchor)
        install_bundle(host.bench, host.config, first)
        host.allow(99)
        yield Scene(house, mirror, host)


def test_a_good_release_is_kept(scene: Scene) -> None:
    assert scene.update() == 2
    assert scene.start() == 2
    assert scene.live(2) == "wait"  # one look proves no movement
    assert scene.live(2) == "committed"
    shelf = scene.host.bench.shelf
    assert (shelf.current, shelf.committed, shelf.previous) == (2, 2, 1)
    assert scene.host.report()["state"] == "steady"
    assert scene.check() == "none"


def test_two_releases_are_kept(scene: Scene) -> None:
    for number in (2, 3, 4):
        scene.house.release(number) if number > 2 else None
        assert scene.update() == number
        scene.live(number)
        assert scene.live(number) == "committed"
    assert sorted(path.name for path in scene.host.places.releases.iterdir()) == ["3", "4"]


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"rounds": 5}, "capture stands still"),
        ({"capture_release": 1}, "nothing heard of its processes"),
        ({"heartbeats": 0}, "no heartbeat accepted"),
        ({"own_receipt": False, "receipts": 0}, "no batch accepted"),
        ({"own_receipt": False, "receipts": 3, "sealed": 0, "waiting": 99}, "no batch accepted"),
        ({"own_receipt": False, "receipts": 3, "waiting": 0}, "no batch accepted"),
    ],
)
def test_a_release_that_lacks_something_is_rolled_back(scene: Scene, facts: dict, why: str) -> None:
    scene.update()
    for _ in range(5):
        assert scene.live(2, seconds=110, **facts) == "wait"
    assert scene.live(2, seconds=110, **facts) == "rolled_back"
    assert scene.current == 1
    assert scene.host.restarts.captures == 2
    report = scene.host.report()
    assert report["state"] == "rolled_back"
    assert report["detail"].startswith("release 2: after 600 s: ")
    assert why in report["detail"]
    assert scene.update() == 0  # it is not taken again
    scene.house.release(3)
    assert scene.update() == 3


def test_a_backlog_does_not_condemn_a_release(scene: Scene) -> None:
    """After an outage the spool is long: its own batch comes to the gateway too late to prove anything."""
    scene.update()
    scene.live(2, own_receipt=False, waiting=500)
    assert scene.live(2, own_receipt=False, waiting=480) == "committed"


def test_a_release_that_crashes_is_rolled_back_soon(scene: Scene) -> None:
    scene.update()
    for _ in range(3):
        assert scene.start() == 2
        assert scene.check() == "wait"
    assert scene.start() == 2
    assert scene.check() == "rolled_back"
    assert scene.start() == 1
    assert "release 2: started 4 times in vain" in scene.host.report()["detail"]
    scene.host.machine = dataclasses.replace(scene.host.machine, clock=FixedClock(now() + timedelta(hours=5)))
    assert not scene.host.bench.shelf.may_try(2)


def test_capture_does_not_wait_for_the_timer(scene: Scene) -> None:
    """Where the timer is dead, the old program is started after some starts in vain, whatever `current` says."""
    scene.update()
    started = [scene.start() for _ in range(9)]
    assert started == [2] * 7 + [1, 1]


def test_a_release_that_hangs_is_rolled_back(scene: Scene) -> None:
    scene.update()
    scene.start()
    for _ in range(59):
        scene.host.boot_seconds += 10
    assert scene.check() == "wait"
    scene.host.boot_seconds += 11
    assert scene.check() == "rolled_back"
    assert scene.host.report()["detail"] == "release 2: after 600 s: nothing heard of its processes"


def test_when_nobody_answers_the_release_may_be_tried_again(scene: Scene) -> None:
    """A gateway that is away for ten minutes must not cost a release for ever."""
    later = now()
    for tries in range(1, 4):
        assert scene.update() == 2
        for _ in range(2):
            scene.live(2, seconds=300, heartbeats=0, receipts=0, own_receipt=False)
        assert scene.current == 1
        assert scene.update() == 0
        assert scene.host.bench.shelf.list_bad()[2].tries == tries
        later += timedelta(seconds=3_700)
        scene.host.machine = dataclasses.replace(scene.host.machine, clock=FixedClock(later))
    assert not scene.host.bench.shelf.may_try(2)


def test_a_second_try_that_succeeds_is_forgiven(scene: Scene) -> None:
    scene.update()
    for _ in range(2):
        scene.live(2, seconds=300, heartbeats=0)
    scene.host.machine = dataclasses.replace(
        scene.host.machine, clock=FixedClock(now() + timedelta(seconds=3_700))
    )
    assert scene.update() == 2
    scene.live(2)
    assert scene.live(2) == "committed"
    assert scene.host.bench.shelf.list_bad() == {}
    assert scene.host.report()["state"] == "steady"


def test_time_off_is_nobodys_fault(scene: Scene) -> None:
    scene.update()
    scene.host.boot_seconds += 590
    assert scene.check() == "wait"
    scene.host.boot_id, scene.host.boot_seconds = "boot-2", 20.0
    assert scene.check() == "wait"
    scene.host.boot_seconds += 570
    assert scene.check() == "wait"
    assert scene.host.bench.shelf.read_pending().boots == 2
    assert scene.live(2) == "wait"
    assert scene.live(2) == "committed"


def test_while_capture_is_switched_off_nothing_is_decided(scene: Scene) -> None:
    scene.update()
    scene.host.restarts.is_capture_on = False
    for _ in range(5):
        assert scene.live(2, seconds=500, capture_release=1, rounds=1, own_receipt=False) == "wait"
    scene.host.restarts.is_capture_on = True
    assert scene.live(2) == "wait"
    assert scene.live(2) == "committed"


def test_a_release_that_cannot_speak_is_rolled_back_with_capture_off_too(scene: Scene) -> None:
    scene.update()
    scene.host.restarts.is_capture_on = False
    assert scene.live(2, seconds=300, heartbeats=0) == "wait"
    assert scene.live(2, seconds=300, heartbeats=0) == "rolled_back"


SYSTEMCTL = """#!/bin/sh
echo "$@" >> {log}
case "$1 $3" in
  "is-enabled off.service") exit 1;;
  "is-enabled stuck.service") sleep 5;;
esac
"""


def test_systemd_is_asked_for_what_is_wanted_only(tmp_path: Path) -> None:
    log, program = tmp_path / "log", tmp_path / "systemctl"
    program.write_text(SYSTEMCTL.format(log=log))
    program.chmod(0o755)
    restarter = Systemctl(["off.service", "upload.service"])
    restarter._program = str(program)
    assert not restarter.wants_capture()
    restarter.restart(capture=True)
    assert log.read_text().splitlines() == [
        "is-enabled --quiet off.service",
        "is-enabled --quiet off.service",
        "reset-failed off.service",
        "try-restart off.service",
        "is-enabled --quiet upload.service",
        "reset-failed upload.service",
        "restart upload.service",
    ]


def test_a_systemd_that_does_not_answer_is_asked_again(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "systemctl"
    program.write_text(SYSTEMCTL.format(log=tmp_path / "log"))
    program.chmod(0o755)
    monkeypatch.setattr("teiten.launcher.restarting._PATIENCE_SECONDS", 0.1)
    restarter = Systemctl(["stuck.service", "upload.service"])
    restarter._program = str(program)
    bench = dataclasses.replace(scene.host.bench, restarter=restarter)
    with pytest.raises(LauncherError, match="does not end"):
        scene.update(bench)
    assert scene.host.bench.shelf.owes_restart()
    scene.check()
    assert scene.host.restarts.captures == 1
    assert not scene.host.bench.shelf.owes_restart()


def test_a_full_disk_does_not_keep_a_bad_release(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.update()
    scene.start(4)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("teiten.launcher.files.write_bytes", refuse)
        assert scene.check() == "rolled_back"
    assert scene.current == 1
    assert scene.host.restarts.captures == 2
    assert scene.check() == "none"
    assert scene.start() == 1


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_really_full_disk_neither(scene: Scene) -> None:
    scene.update()
    scene.start(4)
    own, aside = scene.host.places.own, scene.host.places.own.with_name("aside")
    shutil.copytree(own, aside, symlinks=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(own)], check=True)
    try:
        for name in ("committed.json", "pending.json"):
            shutil.copy(aside / name, own / name)
        with contextlib.suppress(OSError):
            (own / "filler").write_bytes(b"x" * 100_000)
        assert scene.check() == "rolled_back"
        assert scene.current == 1
    finally:
        subprocess.run(["umount", str(own)], check=True)


@pytest.mark.parametrize(
    "written", [f"1{'0' * 400}", f"-1{'0' * 400}", "1e999", "NaN", "true", "null", '"1"', "[]"]
)
def test_a_time_that_the_sensors_user_made_up_stops_nothing(scene: Scene, written: str) -> None:
    """The file is the sensor's; a number that is too large for a float must not end the root launcher's look."""
    scene.host.say_health(2)
    told = json.loads(scene.host.places.health.read_text())
    text = json.dumps({**told, "written_boot_s": "HERE"}).replace('"HERE"', written)
    scene.host.places.health.write_text(text)

    assert read_health(scene.host.bench.shelf) == Seen()


def test_old_health_counts_as_none(scene: Scene) -> None:
    scene.update()
    scene.host.say_health(2)
    scene.host.boot_seconds += 60
    assert scene.check() == "wait"
    scene.host.boot_seconds += 60
    assert scene.check() == "wait"
    scene.host.places.health.write_text(
        '{"release": 2, "written_boot_s": "x", "capture": [], "sending": null}'
    )
    assert scene.check() == "wait"


def test_long_windows_get_time(scene: Scene) -> None:
    scene.host.say_health(1)
    told = json.loads(scene.host.places.health.read_text())
    scene.host.places.health.write_text(json.dumps({**told, "window_seconds": 1_800}))
    scene.update()
    assert scene.host.bench.shelf.read_pending().seconds == 2_100


def test_what_was_built_with_old_code_is_a_way_back(scene: Scene) -> None:
    """Intentional roll-back: a higher number with old code."""
    scene.update()
    scene.live(2)
    scene.live(2)
    scene.house.release(3, program="def main(words=None):\n    return 0  # the code of release 1\n")
    assert scene.update() == 3
    scene.live(3)
    assert scene.live(3) == "committed"


# ── cut at every point ───────────────────────────────────────────────────────


def die_at(scene: Scene, point: str, work: Callable[[Bench], object]) -> bool:
    """Do ``work`` in a child that dies at ``point`` as by a power cut; tell whether it came there."""
    bench = scene.host.bench
    bench.at = lambda here: os._exit(42) if here == point else None
    child = os.fork()
    if child == 0:
        try:
            work(bench)
        except BaseException:  # noqa: BLE001
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, 42)
    return os.waitstatus_to_exitcode(status) == 42


def expect_consistent(scene: Scene) -> None:
    """Capture can start something, at once and without anybody's help."""
    assert scene.start() in (1, 2)
    assert choose_runnable(scene.host.bench.shelf, scene.host.config).release in (1, 2)


@pytest.mark.parametrize("point", UPDATE_POINTS)
@pytest.mark.parametrize("reboot", [False, True])
def test_an_update_cut_anywhere_is_finished(scene: Scene, point: str, reboot: bool) -> None:
    assert die_at(scene, point, lambda bench: update(bench, scene.host.config)), f"never came to {point}"
    expect_consistent(scene)
    if reboot:
        scene.host.boot_id, scene.host.boot_seconds = "boot-2", 10.0
    scene.check()
    assert not list(scene.host.places.releases.glob(".*"))
    if scene.current == 1:
        assert scene.host.bench.shelf.read_pending() is None
        assert scene.update() == 2
    assert scene.host.bench.shelf.read_pending().release == 2
    assert not scene.host.places.restart.exists()
    # The child counts in its own memory: only a restart that came before the cut needs no other.
    owed = not reboot and point in ("flip.turned", "restart.before", "restart.done")
    assert scene.host.restarts.captures == (1 if owed or UPDATE_POINTS.index(point) < 6 else 0)
    scene.live(2)
    assert scene.live(2) == "committed"


@pytest.mark.parametrize("point", COMMIT_POINTS)
def test_a_commit_cut_anywhere_is_finished(scene: Scene, point: str) -> None:
    scene.update()
    scene.live(2)
    scene.host.boot_seconds += 10
    scene.host.say_health(2)
    assert die_at(scene, point, lambda bench: check_probation(bench, scene.host.config))
    expect_consistent(scene)
    scene.check()
    shelf = scene.host.bench.shelf
    assert (shelf.current, shelf.committed, shelf.read_pending()) == (2, 2, None)
    assert scene.check() == "none"
    assert scene.host.report()["state"] == "steady"


@pytest.mark.parametrize("point", BACK_POINTS)
@pytest.mark.parametrize("reboot", [False, True])
def test_a_roll_back_cut_anywhere_is_finished(scene: Scene, point: str, reboot: bool) -> None:
    scene.update()
    scene.start(4)
    scene.host.restarts.captures = 0
    assert die_at(scene, point, lambda bench: check_probation(bench, scene.host.config))
    expect_consistent(scene)
    if reboot:
        scene.host.boot_id, scene.host.boot_seconds = "boot-2", 10.0
    scene.check()
    shelf = scene.host.bench.shelf
    assert (shelf.current, shelf.committed, shelf.read_pending()) == (1, 1, None)
    assert not scene.host.places.restart.exists()
    assert shelf.list_bad()[2].tries == 1
    owed = not reboot and point in ("back.turned", "back.ended", "restart.before", "restart.done")
    assert scene.host.restarts.captures == (1 if owed or BACK_POINTS.index(point) < 3 else 0)
    assert scene.update() == 0
    assert scene.host.report()["state"] == "rolled_back"


def test_a_flip_whose_mark_is_lost_is_on_probation_all_the_same(scene: Scene) -> None:
    scene.update()
    scene.host.places.pending.unlink()
    assert scene.check() == "wait"
    assert scene.host.bench.shelf.read_pending().previous == 1
    scene.start(4)
    assert scene.check() == "rolled_back"


@pytest.mark.parametrize("damage", ["link", "release", "both", "marks"])
def test_damage_is_mended(scene: Scene, damage: str) -> None:
    scene.update()
    places = scene.host.places
    if damage in ("link", "both"):
        places.current.unlink()
    if damage in ("release", "both"):
        (places.release(2) / "RELEASE.json").unlink()
    if damage == "marks":
        for path in (places.pending, places.committed, places.bad):
            path.write_bytes(b"\0" * 64)
    assert scene.start() in (1, 2)
    scene.check()
    assert scene.current in (1, 2)
    assert scene.start() == scene.current
    if scene.current == 1:
        assert scene.update() == 2  # the damaged one is fetched again


def test_without_any_release_it_says_what_to_do(scene: Scene) -> None:
    scene.host.machine = dataclasses.replace(scene.host.machine, python="3.99")
    with pytest.raises(NoReleaseError, match=r"no release in .* fits Python 3.99 .*install the launcher"):
        choose_runnable(scene.host.bench.shelf, scene.host.config)


def test_after_a_change_of_python_the_release_that_fits_is_started(scene: Scene) -> None:
    scene.update()
    told = json.loads((scene.host.places.release(2) / "RELEASE.json").read_text())
    (scene.host.places.release(2) / "RELEASE.json").write_text(json.dumps({**told, "python": "3.99"}))
    assert scene.start() == 1


# ── the decision alone ───────────────────────────────────────────────────────

_counts = st.integers(0, 3)
_seen = st.builds(
    Seen,
    release=st.sampled_from([1, 2]),
    written_s=st.sampled_from([100.0, 101.0, 110.0]),
    capture_release=st.sampled_from([1, 2]),
    rounds=_counts,
    capture_pid=st.sampled_from([7, 8]),
    sealed=_counts,
    heartbeats=_counts,
    receipts=_counts,
    is_own_receipt=st.booleans(),
    waiting=st.sampled_from([0, 50]),
)


@settings(max_examples=200, deadline=None)
@given(
    seen=_seen, earlier=_seen, elapsed=st.sampled_from([0.0, 599.0, 600.0, 5_000.0]), starts=st.integers(0, 6)
)
def test_only_what_is_proven_is_kept_and_nothing_waits_for_ever(
    seen: Seen, earlier: Seen, elapsed: float, starts: int
) -> None:
    pending = Pending(2, 1, "boot-1", 0.0, seconds=600)
    judged = judge(pending, seen, earlier, elapsed_s=elapsed, starts=starts, config=LauncherConfig())
    if judged.verdict == "commit":
        assert seen.release == seen.capture_release == 2
        assert seen.rounds > earlier.rounds
        assert seen.capture_pid == earlier.capture_pid
        assert seen.heartbeats
        assert seen.is_own_receipt or (seen.receipts and seen.sealed)
    if judged.verdict == "wait":
        assert elapsed < 600
        assert starts <= 3
    if judged.verdict == "roll_back":
        assert elapsed >= 600 or starts > 3
        assert judged.why


# ── any order of everything ──────────────────────────────────────────────────

_points = st.sampled_from([None, *UPDATE_POINTS, *COMMIT_POINTS, *BACK_POINTS])
_steps = st.lists(
    st.tuples(st.sampled_from(["update", "check", "healthy", "crash", "hang", "reboot"]), _points), max_size=7
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_steps)
def test_whatever_happens_in_whatever_order_something_runs_and_it_comes_to_rest(
    template: House, tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str | None]]
) -> None:
    folder = tmp_path_factory.mktemp("order")
    with open_mirror(template.public) as mirror:
        host = Host(folder / "host", mirror.url, template.anchor)
        first = next((template.folder / "bundles").glob("teiten-sensor-1-*.tar.xz"))
        install_bundle(host.bench, host.config, first)
        host.allow(99)
        scene = Scene(template, mirror, host)
        for action, point in steps:
            play(scene, action, point)
            assert scene.start() in (1, 2)
        for _ in range(4):
            scene.live(scene.current or 1)
        shelf = host.bench.shelf
        assert scene.check() == "none"
        assert shelf.current == shelf.committed != 0
        assert shelf.current not in shelf.list_bad()
        assert not host.places.restart.exists()
        assert scene.start() == shelf.current
    shutil.rmtree(folder)


def play(scene: Scene, action: str, point: str | None) -> None:
    host = scene.host
    if action == "reboot":
        host.boot_id, host.boot_seconds = f"{host.boot_id}+", 10.0
    elif action == "crash":
        scene.start(5)
    elif action == "hang":
        host.boot_seconds += 700
    elif action == "healthy":
        host.boot_seconds += 10
        host.say_health(scene.current or 1)
    if action == "update":
        die_at(scene, point or "", lambda bench: try_update(bench, host.config))
    elif action != "reboot":
        die_at(scene, point or "", lambda bench: check_probation(bench, host.config))


def try_update(bench: Bench, config: LauncherConfig) -> None:
    with contextlib.suppress(UpdateBlocked):
        update(bench, config)
