"""A release house for tests: people with keys, a repository, bundles, a mirror that may lie, and a host's folders."""

from __future__ import annotations

import contextlib
import http.server
import json
import platform
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

from teiten.fleet.releases import bundles, signing
from teiten.fleet.releases.key_files import PublicKeyFile
from teiten.fleet.releases.repository import Published, ReleaseRepository
from teiten.launcher.config import LauncherConfig
from teiten.launcher.flipping import Bench
from teiten.launcher.machine import Machine
from teiten.launcher.places import Places
from teiten.protocol import keys

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
ARCH = platform.machine()
PEOPLE = ("Aoi", "Ben", "Chiyo")
#: A program that does nothing but say that it could.
IDLE = "def main(words=None):\n    return 0\n"


def now() -> datetime:
    return datetime.now(tz=timezone.utc)


def make_person(role: str, person: str) -> tuple[PublicKeyFile, CryptoSigner]:
    private = Ed25519PrivateKey.generate()
    public = PublicKeyFile(role, person, keys.public_bytes(private))
    return public, CryptoSigner(private, public.as_key())


def make_release(
    folder: Path,
    number: int,
    *,
    program: str = IDLE,
    python: str = PYTHON,
    arch: str = ARCH,
    min_from: int = 0,
) -> Path:
    """Make the folder of a release whose program is ``program``."""
    release = folder / f"release-{number}-{python}-{arch}"
    sensor = release / "lib/teiten/sensor"
    sensor.mkdir(parents=True)
    (release / "lib/teiten/__init__.py").write_text("")
    (sensor / "__init__.py").write_text("")
    (sensor / "main.py").write_text(program)
    manifest = {
        "v": 1,
        "release": number,
        "version": "0.1.0",
        "python": python,
        "arch": arch,
        "min_from": min_from,
    }
    (release / "RELEASE.json").write_text(json.dumps(manifest))
    return release


@dataclass
class House:
    """Everybody who makes releases."""

    folder: Path
    people: dict[tuple[str, str], tuple[PublicKeyFile, CryptoSigner]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.repository = ReleaseRepository(self.folder / "releases")
        self.public = self.folder / "releases/public"

    def begin(self, *, at: datetime | None = None) -> None:
        """Hold the ceremony: six keys, first root, empty targets, published."""
        for role in ("root", "targets"):
            for person in PEOPLE:
                self.people[role, person] = make_person(role, person)
        self.repository.init([public for public, _ in self.people.values()], now=at or now())
        self.sign()
        self.repository.publish(now=at or now())

    def sign(self, *persons: str) -> None:
        """Let two people (or those named) sign every draft."""
        for role in ("root", "targets"):
            draft = self.repository.folder.read_draft(role)
            for person in persons or PEOPLE[:2]:
                if draft is not None and (role, person) in self.people:
                    signing.sign_draft(draft, *self.people[role, person])
            if draft is not None:
                self.repository.folder.write_draft(draft)

    def pack(self, number: int, **facts: object) -> Path:
        into = self.folder / "bundles"
        into.mkdir(exist_ok=True)
        return bundles.pack_folder(make_release(into, number, **facts), into, preset=0)  # type: ignore[arg-type]

    def offer(
        self, *paths: Path, settings: dict[str, Path] | None = None, at: datetime | None = None
    ) -> Published:
        """Build, sign and publish bundles and settings."""
        read = [bundles.inspect_bundle(path) for path in paths]
        self.repository.draft_targets(read, settings, now=at or now())
        self.sign()
        return self.repository.publish(now=at or now())

    def release(self, number: int, **facts: object) -> Published:
        return self.offer(self.pack(number, **facts))

    def copy(self, folder: Path) -> House:
        """Give a house of the same people whose repository goes its own way from here."""
        shutil.copytree(self.folder, folder)
        return House(folder, self.people)

    @property
    def anchor(self) -> bytes:
        return (self.public / "metadata/1.root.json").read_bytes()


Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


class Mirror:
    """Serves a repository over HTTP, and lies where it is told to."""

    def __init__(self, public: Path) -> None:
        self.public = public
        #: Path below the repository (its end is enough) → what is answered instead.
        self.lies: dict[str, bytes | Answer] = {}
        self.asked: list[str] = []
        mirror = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mirror.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/tuf"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        name = handler.path.removeprefix("/tuf/")
        self.asked.append(name)
        lie = next((lie for end, lie in self.lies.items() if name.endswith(end)), None)
        if callable(lie):
            with contextlib.suppress(ConnectionError):
                lie(handler)
            return
        path = self.public / name
        if lie is None and not path.is_file():
            handler.send_error(404)
            return
        content = path.read_bytes() if lie is None else lie
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def send_endless(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(20_000):
        handler.wfile.write(b"x" * 65_536)


def send_slowly(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(b"x")
        handler.wfile.flush()
        time.sleep(0.02)


@contextlib.contextmanager
def open_mirror(public: Path) -> Iterator[Mirror]:
    mirror = Mirror(public)
    try:
        yield mirror
    finally:
        mirror.close()


class Restarts:
    """A restarter that only counts."""

    def __init__(self) -> None:
        self.captures = 0
        self.uploads = 0
        self.is_capture_on = True

    def restart(self, *, capture: bool) -> None:
        self.captures += capture
        self.uploads += 1

    def wants_capture(self) -> bool:
        return self.is_capture_on


@dataclass
class Host:
    """A sensor's host in a folder."""

    root: Path
    url: str
    anchor: bytes
    restarts: Restarts = field(default_factory=Restarts)
    boot_seconds: float = 1_000.0
    boot_id: str = "boot-1"

    def __post_init__(self) -> None:
        self.places = Places(self.root)
        for folder in (self.places.releases, self.places.settings, self.places.sensor_state, self.places.own):
            folder.mkdir(parents=True)
        (self.places.settings / "root.json").write_bytes(self.anchor)
        (self.places.settings / "launcher.toml").write_text(
            f'[launcher]\nupdate_url = "{self.url}"\nuser = ""\n'
        )
        self.machine = Machine(boot_seconds=lambda: self.boot_seconds, boot_id=lambda: self.boot_id)
        self.config = LauncherConfig(
            update_url=self.url,
            user="",
            min_free_bytes=0,
            timeout_seconds=0.5,
            max_bundle_bytes=10_000_000,
            max_unpacked_bytes=50_000_000,
        ).check()

    @property
    def bench(self) -> Bench:
        return Bench(self.places, self.machine, self.restarts)

    def allow(self, release: int) -> None:
        (self.places.sensor_state / "release-hint.json").write_text(json.dumps({"release": release}))

    def report(self) -> dict:
        return json.loads(self.places.report.read_text())

    def say_health(self, release: int, **facts: object) -> None:
        """Write what a healthy sensor would, but for ``facts``."""
        told = {
            "pid": 7,
            "rounds": int(self.boot_seconds * 10),
            "sealed": 1,
            "heartbeats": 1,
            "receipts": 1,
            "own_receipt": True,
            "waiting": 0,
            "capture_release": release,
            **facts,
        }
        record = {
            "release": release,
            "written_boot_s": self.boot_seconds,
            "heartbeat_at_us": time.time_ns() // 1000,
            "window_seconds": 300,
            "capture": {
                "release": told["capture_release"],
                "pid": told["pid"],
                "rounds": told["rounds"],
                "sealed": told["sealed"],
            },
            "sending": {name: told[name] for name in ("heartbeats", "receipts", "own_receipt", "waiting")},
        }
        self.places.health.write_text(json.dumps(record))
