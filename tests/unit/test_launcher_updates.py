"""The real launcher against the real repository, and against everybody who may stand in between."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import http.server
import io
import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from releases_house import (
    ARCH,
    PYTHON,
    Host,
    House,
    Mirror,
    make_person,
    now,
    open_mirror,
    send_endless,
    send_slowly,
)
from teiten.fleet.releases import signing
from teiten.foundation.clock import FixedClock
from teiten.launcher import main as launcher_main
from teiten.launcher.choosing import Host as Wanting
from teiten.launcher.choosing import Offer, choose_release, read_offer
from teiten.launcher.errors import LauncherBusyError, UpdateBlocked
from teiten.launcher.installing import install_bundle
from teiten.launcher.unpacking import Bounds, unpack
from teiten.launcher.updating import apply_only, update

pytestmark = pytest.mark.requirement("R1.3")

OTHER_PYTHON = "3.10" if PYTHON != "3.10" else "3.12"


@dataclasses.dataclass
class Scene:
    house: House
    mirror: Mirror
    host: Host

    def update(self) -> int:
        return update(self.host.bench, self.host.config).release

    def expect_blocked(self, cause: str, said: str = ".") -> None:
        before = self.host.bench.shelf.current
        with pytest.raises(UpdateBlocked, match=said) as caught:
            self.update()
        assert caught.value.cause == cause
        assert self.host.report()["state"] == "blocked"
        assert self.host.report()["detail"].startswith(f"{cause}: ")
        # Nothing has changed: the sensor goes on.
        assert self.host.bench.shelf.current == before
        assert self.host.bench.shelf.read_pending() is None
        assert self.host.restarts.captures == 0
        assert not list(self.host.places.downloads.glob("*"))


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
    """Release 1 is installed, release 2 is published, and the sensor may take anything up to 99."""
    house = template.copy(tmp_path / "house")
    first = next((house.folder / "bundles").glob("teiten-sensor-1-*.tar.xz"))
    with open_mirror(house.public) as mirror:
        host = Host(tmp_path / "host", mirror.url, house.anchor)
        assert install_bundle(host.bench, host.config, first) == 1
        host.allow(99)
        yield Scene(house, mirror, host)


def test_it_works(scene: Scene) -> None:
    assert scene.update() == 2
    shelf = scene.host.bench.shelf
    assert (shelf.current, shelf.committed) == (2, 1)
    assert scene.host.places.current.readlink() == Path("releases/2")
    assert scene.host.restarts.captures == 1
    assert scene.host.report() == {
        "v": 1,
        "release": 2,
        "state": "trying",
        "detail": "release 2",
        "blocked": "",
    }
    assert scene.update() == 0  # one at a time


def test_a_hint_only_delays(scene: Scene) -> None:
    scene.host.allow(0)
    assert scene.update() == 0
    assert scene.host.report()["state"] == "steady"
    scene.host.allow(1)
    assert scene.update() == 0
    scene.host.allow(7)  # there is no such release; the newest signed one below it is taken
    assert scene.update() == 2


def test_an_operators_wish_is_a_hint_too(scene: Scene) -> None:
    scene.host.allow(0)
    scene.host.places.wanted.write_text('{"release": 2}')
    assert scene.update() == 2


def test_a_sensor_that_hears_nobody_for_a_week_helps_itself(scene: Scene) -> None:
    scene.host.allow(0)
    long_ago = (now() - timedelta(days=8)).timestamp() * 1_000_000
    committed = json.loads(scene.host.places.committed.read_text())
    scene.host.places.committed.write_text(json.dumps({**committed, "at_us": int(long_ago)}))
    assert scene.update() == 2


@pytest.mark.parametrize("content", ["[]", '{"release": "99"}', '{"release": true}', "\x00", "[" * 100_000])
def test_a_hint_that_makes_no_sense_allows_nothing(scene: Scene, content: str) -> None:
    scene.host.places.hint.write_text(content)
    assert scene.update() == 0


def test_a_hint_is_not_followed_elsewhere(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.json").write_text('{"release": 99}')
    scene.host.places.hint.unlink()
    scene.host.places.hint.symlink_to(tmp_path / "elsewhere.json")
    assert scene.update() == 0
    scene.host.places.hint.unlink()
    os.mkfifo(scene.host.places.hint)
    assert scene.update() == 0


def test_steps_that_may_not_be_skipped_are_taken_one_by_one(scene: Scene) -> None:
    scene.house.release(3, min_from=2)
    assert scene.update() == 2


def test_another_python_and_another_processor_are_left_alone(scene: Scene) -> None:
    other = "aarch64" if ARCH != "aarch64" else "x86_64"
    scene.house.offer(scene.house.pack(3, python=OTHER_PYTHON), scene.house.pack(4, arch=other))
    assert scene.update() == 2


def test_a_bundle_that_lies_about_its_python_is_given_up(scene: Scene) -> None:
    path = scene.house.pack(3, python=OTHER_PYTHON)
    draft = scene.house.repository.draft_targets(now=now())
    content = path.read_bytes()
    lying = path.with_name(f"teiten-sensor-3-py{PYTHON.replace('.', '')}-{ARCH}.tar.xz")
    lying.write_bytes(content)
    _add_target(scene, draft, lying, {"release": 3, "python": PYTHON, "arch": ARCH, "min_from": 0})
    with pytest.raises(UpdateBlocked, match=f"is for Python {OTHER_PYTHON}"):
        scene.update()
    assert scene.host.report()["detail"].startswith("release 3: ")
    assert scene.update() == 2  # the other one is still good


def _add_target(scene: Scene, draft: object, path: Path, custom: dict) -> None:
    """Have signed what the base's own check would refuse."""
    from tuf.api.metadata import TargetFile

    target = TargetFile.from_file(f"bundles/{path.name}", str(path), ["sha256"])
    target.unrecognized_fields["custom"] = custom
    draft.signed.targets[target.path] = target  # type: ignore[attr-defined]
    folder = scene.house.repository.folder
    folder.keep_target(path, target=target.path, sha256=target.hashes["sha256"])
    folder.write_draft(draft)  # type: ignore[arg-type]
    scene.house.sign()
    scene.house.repository.publish(now=now())


# ── the repository under attack ──────────────────────────────────────────────


def test_a_tampered_target(scene: Scene) -> None:
    name = next(
        path.name for path in (scene.house.public / "targets/bundles").iterdir() if "-2-" in path.name
    )
    content = bytearray((scene.house.public / "targets/bundles" / name).read_bytes())
    content[len(content) // 2] ^= 1
    scene.mirror.lies[name] = bytes(content)
    scene.expect_blocked("repository", "not trusted")
    scene.mirror.lies.clear()
    assert scene.update() == 2


def test_rolled_back_metadata(scene: Scene) -> None:
    old = {path.name: path.read_bytes() for path in (scene.house.public / "metadata").iterdir()}
    scene.house.release(3)
    scene.host.allow(0)
    assert scene.update() == 0  # the sensor has seen the newer state
    scene.mirror.lies = dict(old)
    scene.host.allow(99)
    scene.expect_blocked("repository", "timestamp version")


def test_a_frozen_repository(tmp_path: Path) -> None:
    house = House(tmp_path / "house")
    house.begin(at=now() - timedelta(days=2))
    with open_mirror(house.public) as mirror:
        host = Host(tmp_path / "host", mirror.url, house.anchor)
        scene = Scene(house, mirror, host)
        scene.expect_blocked("expired", "timestamp.json is expired")
        house.repository.renew(now=now())
        assert scene.update() == 0
        assert host.report()["state"] == "steady"


def test_too_few_signatures(scene: Scene) -> None:
    """One thief of one key, with the base's online keys in hand."""
    repository = scene.house.repository
    path = scene.house.pack(3)
    from teiten.fleet.releases.bundles import inspect_bundle

    draft = repository.draft_targets([inspect_bundle(path)], now=now())
    signing.sign_draft(draft, *scene.house.people["targets", "Ben"])
    public, signer = make_person("targets", "Mallory")
    signing.sign_draft(draft, public, signer)
    repository.folder.write_public(draft)
    repository._sign_online(repository.folder.read_root(), draft, now=now())
    scene.expect_blocked("repository", "targets was signed by 1/2 keys")


def test_a_wrong_root(scene: Scene, tmp_path: Path) -> None:
    other = House(tmp_path / "other")
    other.begin()
    other.release(2)
    with open_mirror(other.public) as mirror:
        scene.host.config = dataclasses.replace(scene.host.config, update_url=mirror.url)
        scene.expect_blocked("repository", "was signed by 0/1 keys")


def test_no_anchor(scene: Scene) -> None:
    (scene.host.places.settings / "root.json").unlink()
    scene.expect_blocked("repository", "trust anchor")
    (scene.host.places.settings / "root.json").write_text("{}")
    scene.expect_blocked("repository", "not trusted")


@pytest.mark.parametrize("name", ["timestamp.json", ".snapshot.json", ".targets.json", f"-{ARCH}.tar.xz"])
def test_endless_data(scene: Scene, name: str) -> None:
    scene.mirror.lies[name] = send_endless
    scene.expect_blocked("repository", "endless data")


@pytest.mark.parametrize("name", ["timestamp.json", f"-{ARCH}.tar.xz"])
def test_slow_retrieval(scene: Scene, name: str) -> None:
    scene.mirror.lies[name] = send_slowly
    scene.expect_blocked("network", "bytes a second")


def test_nobody_there(scene: Scene) -> None:
    scene.mirror.lies["timestamp.json"] = lambda handler: handler.send_error(503)
    scene.expect_blocked("network", "answered with 503")
    scene.mirror.close()
    scene.expect_blocked("network", "refused")
    # Closed twice by the fixture: harmless.


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[" * 10_000, b'{"signed": 1, "signatures": []}'])
def test_metadata_that_are_none(scene: Scene, content: bytes) -> None:
    scene.mirror.lies["timestamp.json"] = content
    scene.expect_blocked("repository", "not trusted")


# ── the host in trouble ──────────────────────────────────────────────────────


def test_a_clock_in_1970(scene: Scene) -> None:
    clock = FixedClock(datetime(1970, 1, 1, 0, 5, tzinfo=timezone.utc))
    scene.host.machine = dataclasses.replace(scene.host.machine, clock=clock)
    scene.expect_blocked("clock", "1970-01-01; set its clock")
    assert not scene.mirror.asked


def test_a_clock_that_is_behind_what_was_signed(scene: Scene) -> None:
    clock = FixedClock(now() - timedelta(days=80))
    scene.host.machine = dataclasses.replace(scene.host.machine, clock=clock)
    if clock.now() > datetime(2026, 11, 1, tzinfo=timezone.utc):
        scene.expect_blocked("clock", "the repository is later")
    else:
        scene.expect_blocked("clock")


def test_a_clock_in_2040(tmp_path: Path) -> None:
    """Everything has expired 14 years ago: that is rather the clock than the repository."""
    house = House(tmp_path / "house")
    house.begin(at=now() - timedelta(days=14 * 365))
    with open_mirror(house.public) as mirror:
        host = Host(tmp_path / "host", mirror.url, house.anchor)
        Scene(house, mirror, host).expect_blocked("clock", "set its clock")


def test_a_clock_that_the_gateway_calls_wrong(tmp_path: Path) -> None:
    house = House(tmp_path / "house")
    house.begin(at=now() - timedelta(days=2))
    with open_mirror(house.public) as mirror:
        host = Host(tmp_path / "host", mirror.url, house.anchor)
        host.places.health.write_text('{"clock_offset_us": -172800000000}')
        Scene(house, mirror, host).expect_blocked("clock", "expired")


def test_a_disk_that_is_nearly_full(scene: Scene) -> None:
    scene.host.machine = dataclasses.replace(scene.host.machine, count_free=lambda path: 10)
    scene.expect_blocked("disk full", "10 bytes free")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_that_fills_up_meanwhile(scene: Scene) -> None:
    big = "x = '" + os.urandom(400_000).hex() + "'\n" + "def main(words=None): return 0\n"
    scene.house.release(3, program=big)
    for folder in (scene.host.places.releases, scene.host.places.downloads):
        folder.mkdir(exist_ok=True)
        with small_disk(folder, kilobytes=300, keep=folder == scene.host.places.releases):
            scene.host.machine = dataclasses.replace(scene.host.machine, count_free=lambda path: 1 << 40)
            scene.expect_blocked("disk full", "No space left")
    assert scene.update() == 3


@contextlib.contextmanager
def small_disk(folder: Path, *, kilobytes: int, keep: bool) -> Iterator[None]:
    aside = folder.with_name(f"{folder.name}-aside")
    shutil.copytree(folder, aside, symlinks=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)], check=True)
    try:
        if keep:
            shutil.copytree(aside, folder, symlinks=True, dirs_exist_ok=True)
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        shutil.rmtree(aside)


def test_two_launchers_at_once(scene: Scene) -> None:
    with (
        launcher_main.hold_lock(scene.host.places),
        pytest.raises(LauncherBusyError),
        launcher_main.hold_lock(scene.host.places),
    ):
        pass


# ── bundles that are signed and still wrong ──────────────────────────────────


def test_a_program_that_cannot_be_imported_costs_no_restart(scene: Scene) -> None:
    scene.house.release(3, program="import no_such_library\n")
    with pytest.raises(UpdateBlocked, match="No module named 'no_such_library'"):
        scene.update()
    assert scene.host.restarts.captures == 0
    assert scene.host.bench.shelf.current == 1
    assert not scene.host.places.release(3).exists()
    fetched = len([name for name in scene.mirror.asked if "-3-" in name])
    assert scene.update() == 2
    assert len([name for name in scene.mirror.asked if "-3-" in name]) == fetched == 1


def _member(name: str, kind: bytes = tarfile.REGTYPE, *, link: str = "", size: int = 1) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    member.size = size if kind == tarfile.REGTYPE else 0
    return member


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([_member("/etc/cron.d/x")], "leads out"),
        ([_member("lib/../../x")], "leads out"),
        ([_member("lib//x")], "leads out"),
        ([_member("bin/x")], "neither RELEASE.json nor below lib/"),
        ([_member("lib/x", tarfile.SYMTYPE, link="/etc/passwd")], "no ordinary file"),
        ([_member("lib/x", tarfile.LNKTYPE, link="RELEASE.json")], "no ordinary file"),
        ([_member("lib/x", tarfile.CHRTYPE)], "no ordinary file"),
        ([_member("lib/x", tarfile.FIFOTYPE)], "no ordinary file"),
        ([_member("lib/x"), _member("lib/x")], "twice"),
        ([_member("lib/x"), _member("lib/x/y")], "twice"),
        ([_member(f"lib/{number}") for number in range(40)], "more than 30 files"),
        ([_member("lib/big", size=2_000_000)], "unpacks to more"),
        ([_member("lib/" + "a/" * 40 + "x")], "too long a name"),
    ],
)
def test_bundles_stay_in_their_folder(tmp_path: Path, members: list[tarfile.TarInfo], said: str) -> None:
    path = tmp_path / "bundle.tar.xz"
    with tarfile.open(path, "w:xz", preset=0) as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"\0" * member.size))
    with pytest.raises((UpdateBlocked, OSError), match=said):
        unpack(path, tmp_path / "into/part", Bounds(1_000_000, 30))
    assert {entry.name for entry in tmp_path.iterdir()} == {"bundle.tar.xz", "into"}


def test_a_small_file_that_is_large_inside(tmp_path: Path) -> None:
    path = tmp_path / "bundle.tar.xz"
    path.write_bytes(lzma.compress(b"\1" * 50_000_000))
    with pytest.raises(UpdateBlocked):
        unpack(path, tmp_path / "part", Bounds(1_000_000, 30))
    path.write_bytes(b"\xfd7zXZ\x00garbage")
    with pytest.raises(UpdateBlocked, match="is no bundle"):
        unpack(path, tmp_path / "other", Bounds(1_000_000, 30))


def test_what_names_a_bundle_and_what_is_signed_must_agree() -> None:
    name = "bundles/teiten-sensor-3-py311-x86_64.tar.xz"
    good = {"release": 3, "python": "3.11", "arch": "x86_64", "min_from": 2, "unpacked_bytes": 9}
    assert read_offer(name, 5, good) == Offer(
        name, 3, "3.11", arch="x86_64", min_from=2, size_bytes=5, unpacked_bytes=9
    )
    for change in ({"release": 4}, {"python": "3.12"}, {"arch": "arm"}, {"min_from": "2"}, {"release": None}):
        assert read_offer(name, 5, {**good, **change}) is None
    for other in ("operators.json", "bundles/teiten-sensor-03-py311-x86_64.tar.xz", f"{name}.x", f"x/{name}"):
        assert read_offer(other, 5, good) is None


def test_what_was_rolled_back_is_not_chosen() -> None:
    offers = [
        Offer(str(n), n, "3.11", arch="x86_64", min_from=0, size_bytes=1, unpacked_bytes=1)
        for n in (1, 2, 3, 4)
    ]
    host = Wanting("3.11", "x86_64", current=2, allowed=None, may_try=lambda release: release != 4)
    chosen = choose_release(offers, host)
    assert chosen is not None
    assert chosen.release == 3
    assert choose_release(offers, dataclasses.replace(host, current=4)) is None


def test_a_bundle_that_is_too_large_is_given_up_unfetched(scene: Scene) -> None:
    scene.host.config = dataclasses.replace(scene.host.config, max_bundle_bytes=100)
    with pytest.raises(UpdateBlocked, match="larger than"):
        scene.update()
    assert not [name for name in scene.mirror.asked if "bundles" in name]
    assert scene.host.report()["detail"].startswith("release 2: ")


# ── settings that come as targets ────────────────────────────────────────────


def test_settings_are_taken_and_their_change_too(scene: Scene, tmp_path: Path) -> None:
    scene.host.allow(0)
    operators, gateway = tmp_path / "operators.json", tmp_path / "gateway.json"
    operators.write_text('{"v": 1, "operators": []}')
    gateway.write_text('{"v": 1, "pins": ["sha256/new"]}')
    scene.house.offer(settings={"operators.json": operators, "gateway.json": gateway})
    assert apply_only(scene.host.bench, scene.host.config) == ("operators.json", "gateway.json")
    assert (scene.host.places.settings / "gateway.json").read_text() == gateway.read_text()
    assert (scene.host.restarts.captures, scene.host.restarts.uploads) == (0, 1)
    assert apply_only(scene.host.bench, scene.host.config) == ()
    (scene.host.places.settings / "operators.json").write_text('{"v": 1, "operators": ["mine"]}')
    assert update(scene.host.bench, scene.host.config).applied == ("operators.json",)
    assert (scene.host.places.settings / "operators.json").read_text() == operators.read_text()


def test_settings_that_are_no_object_change_nothing(scene: Scene, tmp_path: Path) -> None:
    gateway = tmp_path / "gateway.json"
    gateway.write_text("[]")
    scene.house.offer(settings={"gateway.json": gateway})
    with pytest.raises(UpdateBlocked, match="no JSON object"):
        scene.update()
    assert not (scene.host.places.settings / "gateway.json").exists()


def test_an_old_list_of_operators_comes_back_under_no_signature(scene: Scene, tmp_path: Path) -> None:
    """A captured base slips it into a draft that people sign: a withdrawn key would count again."""
    scene.host.allow(0)
    operators = tmp_path / "operators.json"
    for version in (7, 8):
        operators.write_text(f'{{"v": 1, "version": {version}, "operators": []}}')
        scene.house.offer(settings={"operators.json": operators})
        assert apply_only(scene.host.bench, scene.host.config) == ("operators.json",)
    operators.write_text('{"v": 1, "version": 7, "operators": []}')
    scene.house.offer(settings={"operators.json": operators})

    with pytest.raises(UpdateBlocked, match="version 7, and version 8 is in force"):
        scene.update()

    assert '"version": 8' in (scene.host.places.settings / "operators.json").read_text()


def test_a_gateway_that_has_moved_is_found(scene: Scene) -> None:
    """The signed address comes first; where it does not answer, the installed one does."""
    (scene.host.places.settings / "gateway.json").write_text('{"v": 1, "url": "https://127.0.0.1:9"}')
    assert scene.update() == 2


# ── the command line ─────────────────────────────────────────────────────────


def test_the_command_line(
    scene: Scene, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("teiten.foundation.logs.set_up", lambda: None)
    root = ["--root", str(scene.host.root)]
    assert launcher_main.main([*root, "update"]) == 0
    assert "release 2 is on probation" in capsys.readouterr().out
    assert launcher_main.main([*root, "status"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["current"], told["committed"], told["pending"]["release"]) == (2, 1, 2)
    scene.mirror.lies["timestamp.json"] = b"{}"
    assert launcher_main.main([*root, "apply"]) == 1
    assert "update blocked: repository" in capsys.readouterr().err
    (scene.host.places.settings / "launcher.toml").write_text("[launcher]\nupdate_url = 'ftp://x'\n")
    assert launcher_main.main([*root, "update"]) == 2
    assert "launcher.update_url must be" in capsys.readouterr().err


def test_errno_is_told(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("teiten.launcher.files.write_bytes", refuse)
    monkeypatch.setattr("teiten.launcher.releases.files.write_json", refuse)
    with pytest.raises(UpdateBlocked, match="Read-only") as caught:
        scene.update()
    assert caught.value.cause == "disk"
    assert scene.host.bench.shelf.current == 1


# ── lines that break ─────────────────────────────────────────────────────────


@dataclasses.dataclass
class Breaking:
    """Serves a file and cuts the connection after some bytes of each answer."""

    content: bytes
    each: int
    #: Whether it goes on where it is asked to.
    has_parts: bool = True
    asked: list[str] = dataclasses.field(default_factory=list)

    def __call__(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range", "")
        self.asked.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-") or 0) if self.has_parts else 0
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        handler.send_header("Content-Length", str(len(self.content) - start))
        handler.end_headers()
        handler.wfile.write(self.content[start : start + self.each])


@pytest.fixture
def breaking(scene: Scene) -> Breaking:
    """Release 3 has 300 KB, of which 100 KB come at a time."""
    scene.house.release(
        3, program="x = '" + os.urandom(150_000).hex() + "'\ndef main(words=None): return 0\n"
    )
    (path,) = (scene.house.public / "targets/bundles").glob("*-3-*")
    lie = scene.mirror.lies[f"-{ARCH}.tar.xz"] = Breaking(path.read_bytes(), each=100_000)
    return lie


def list_parts(scene: Scene) -> list[int]:
    return [path.stat().st_size for path in scene.host.places.downloads.glob("*.part")]


def test_a_download_goes_on_where_it_broke_off(scene: Scene, breaking: Breaking) -> None:
    assert scene.update() == 3

    assert breaking.asked[:2] == ["", "bytes=100000-"]
    assert sum(breaking.each for _ in breaking.asked) < len(breaking.content) + breaking.each
    assert not list(scene.host.places.downloads.iterdir())


def test_what_has_come_stays_until_the_next_look(scene: Scene, breaking: Breaking) -> None:
    # Somebody says that there is more, and sends nothing of it.
    scene.mirror.lies[f"-{ARCH}.tar.xz"] = lambda handler: send_beginning(handler, breaking.content, 120_000)
    with pytest.raises(UpdateBlocked, match=r"network: .* broke off"):
        scene.update()
    assert list_parts(scene) == [120_000]

    scene.mirror.lies[f"-{ARCH}.tar.xz"] = breaking
    assert scene.update() == 3
    assert breaking.asked[0] == "bytes=120000-"


def send_beginning(handler: http.server.BaseHTTPRequestHandler, content: bytes, size: int) -> None:
    """Send the same first bytes whatever is asked for."""
    start = int(handler.headers.get("Range", "0").removeprefix("bytes=").rstrip("-"))
    handler.send_response(206 if start else 200)
    handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    handler.send_header("Content-Length", str(len(content) - start))
    handler.end_headers()
    handler.wfile.write(content[start:size])


def test_a_beginning_that_was_wrong_is_not_kept(scene: Scene, breaking: Breaking) -> None:
    whole = breaking.content
    breaking.content = bytes(len(whole))
    with pytest.raises(UpdateBlocked, match="not trusted"):
        scene.update()
    assert list_parts(scene) == []

    breaking.content = whole
    assert scene.update() == 3


def test_a_server_without_parts_begins_anew(scene: Scene, breaking: Breaking) -> None:
    breaking.has_parts = False
    with pytest.raises(UpdateBlocked, match="broke off"):
        scene.update()
    breaking.each = 1 << 20
    assert scene.update() == 3


def test_beginnings_of_what_nobody_wants_are_removed(scene: Scene, breaking: Breaking) -> None:
    stale = scene.host.places.downloads / f"{'0' * 64}.teiten-sensor-2.tar.xz.part"
    scene.host.places.downloads.mkdir(parents=True, exist_ok=True)
    stale.write_bytes(bytes(100_000))
    assert scene.update() == 3
    assert list_parts(scene) == []
