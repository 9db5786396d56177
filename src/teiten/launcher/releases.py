"""The releases on this host: folders, the link, the marks; every change survives a power cut.

What is true at any instant, also after a kill:

* ``current`` is replaced as a whole and points at a complete release;
* a release folder has its number as its name only once it is complete and durable;
* ``pending.json`` is written before ``current`` is turned to a new release, and
  removed after the release was committed or turned back;
* ``restart.json`` is written before ``current`` is turned, and removed after the
  units were restarted.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from teiten.launcher import files
from teiten.launcher.machine import Machine
from teiten.launcher.places import Places

_NUMBER = re.compile(r"[1-9][0-9]{0,9}")
#: Folders under work: unpacked into, or on their way out.
PART_PREFIX = ".part-"
#: A release that could not be judged (nobody answered) may be tried again so often.
_MAX_TRIES = 3
_RETRY_SECONDS = 3_600
_KEPT_BAD = 32


@dataclass(frozen=True)
class Manifest:
    """What ``RELEASE.json`` says of a release."""

    release: int
    version: str
    python: str
    arch: str
    min_from: int = 0


@dataclass(frozen=True)
class Pending:
    """A release on probation."""

    release: int
    previous: int
    #: Which boot ``since_s`` counts in.
    boot_id: str
    #: Seconds since boot at which the probation began.
    since_s: float
    #: How long it lasts.
    seconds: int
    #: How many boots it has seen.
    boots: int = 1


@dataclass(frozen=True)
class Bad:
    """A release that was rolled back."""

    release: int
    why: str
    at_us: int
    tries: int
    #: Nobody answered: that may not have been its fault.
    is_doubtful: bool


def read_manifest(folder: Path) -> Manifest | None:
    """Read a release's manifest; None when the folder is no complete release."""
    told = files.read_json(folder / "RELEASE.json")
    release = files.take_int(told, "release")
    if release < 1 or not (folder / "lib").is_dir():
        return None
    texts = [told.get(name) for name in ("version", "python", "arch")]
    if not all(isinstance(text, str) for text in texts):
        return None
    version, python, arch = map(str, texts)
    return Manifest(release, version, python, arch, files.take_int(told, "min_from"))


class ReleaseShelf:
    """All that is known of releases on this host."""

    def __init__(self, places: Places, machine: Machine) -> None:
        self.places = places
        self.machine = machine

    def list_complete(self) -> list[Manifest]:
        """List releases that could be started, newest first."""
        found = [read_manifest(path) for path in self._list_numbered()]
        return sorted((one for one in found if one), key=lambda one: one.release, reverse=True)

    def has(self, release: int) -> bool:
        """Tell whether this release is here, complete."""
        return self.find(release) is not None

    def find(self, release: int) -> Manifest | None:
        manifest = read_manifest(self.places.release(release)) if release else None
        return manifest if manifest and manifest.release == release else None

    @property
    def current(self) -> int:
        """The release that ``current`` points at; 0 when it points at none that is complete."""
        try:
            name = self.places.current.readlink().name
        except OSError:
            return 0
        if not _NUMBER.fullmatch(name):
            return 0
        return int(name) if self.has(int(name)) else 0

    @property
    def committed(self) -> int:
        return files.take_int(files.read_json(self.places.committed), "release")

    @property
    def previous(self) -> int:
        """The release that was committed before."""
        return files.take_int(files.read_json(self.places.committed), "previous")

    @property
    def committed_at_us(self) -> int:
        return files.take_int(files.read_json(self.places.committed), "at_us")

    def turn_to(self, release: int) -> None:
        """Let ``current`` point at a release: before or after, never in between."""
        part = self.places.current.with_name(".current-new")
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
        part.symlink_to(Path("releases") / str(release))
        part.replace(self.places.current)
        files.sync_folder(self.places.program)

    def read_pending(self) -> Pending | None:
        told = files.read_json(self.places.pending)
        release = files.take_int(told, "release")
        if release < 1:
            return None
        since = told.get("since_s")
        return Pending(
            release,
            files.take_int(told, "previous"),
            str(told.get("boot_id", "")),
            float(since) if isinstance(since, (int, float)) else 0.0,
            seconds=files.take_int(told, "seconds", 600),
            boots=files.take_int(told, "boots", 1),
        )

    def write_pending(self, pending: Pending) -> None:
        files.write_json(self.places.pending, asdict(pending))

    def begin_probation(self, release: int, *, previous: int, seconds: int) -> Pending:
        """Write down that a release is about to be tried."""
        machine = self.machine
        files.remove(self.places.look)
        pending = Pending(release, previous, machine.boot_id(), machine.boot_seconds(), seconds=seconds)
        self.write_pending(pending)
        return pending

    def end_probation(self) -> None:
        files.remove(self.places.pending)

    def commit(self, release: int) -> None:
        """Write down that a release has proven itself."""
        before = self.committed
        record = {
            "release": release,
            "previous": self.previous if before == release else before,
            "at_us": self.machine.clock.now_us(),
        }
        files.write_json(self.places.committed, record)
        self._forgive(release)

    def owe_restart(self, release: int) -> None:
        files.write_json(self.places.restart, {"release": release, "boot_id": self.machine.boot_id()})

    def owes_restart(self) -> bool:
        """Tell whether processes of another release than ``current`` may still run."""
        told = files.read_json(self.places.restart)
        is_this_boot = told.get("boot_id") == self.machine.boot_id()
        return is_this_boot and files.take_int(told, "release") == self.current != 0

    def pay_restart(self) -> None:
        files.remove(self.places.restart)

    def list_bad(self) -> dict[int, Bad]:
        """Give the releases that were rolled back, by number."""
        told = files.read_json(self.places.bad).get("releases")
        entries = told if isinstance(told, list) else []
        return {bad.release: bad for bad in map(_read_bad, entries) if bad is not None}

    def mark_bad(self, release: int, why: str, *, is_doubtful: bool) -> None:
        """Never take this release again; a doubtful one a few times more, an hour apart."""
        known = self.list_bad()
        before = known.pop(release, None)
        tries = before.tries + 1 if before else 1
        known[release] = Bad(release, why, self.machine.clock.now_us(), tries, is_doubtful)
        self._write_bad(known)

    def _forgive(self, release: int) -> None:
        """Forget that a release was rolled back: it has proven itself after all."""
        known = self.list_bad()
        if known.pop(release, None):
            self._write_bad(known)

    def _write_bad(self, known: dict[int, Bad]) -> None:
        kept = sorted(known.values(), key=lambda bad: bad.release)[-_KEPT_BAD:]
        files.write_json(self.places.bad, {"releases": [asdict(bad) for bad in kept]})

    def may_try(self, release: int) -> bool:
        """Tell whether a release was never rolled back, or deserves another try."""
        bad = self.list_bad().get(release)
        if bad is None:
            return True
        waited_us = self.machine.clock.now_us() - bad.at_us
        return bad.is_doubtful and bad.tries < _MAX_TRIES and waited_us >= _RETRY_SECONDS * 1_000_000

    def remove_parts(self) -> None:
        """Remove what a cut-short unpacking or pruning has left."""
        for path in [*self._list_parts(), self.places.current.with_name(".current-new")]:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def remove_damaged(self, release: int) -> None:
        """Make room for a release of which only a part is here."""
        path = self.places.release(release)
        if path.exists() and not self.has(release):
            _remove_whole(path)

    def prune(self, keep: set[int]) -> None:
        """Remove every release but these; each disappears as a whole."""
        for path in self._list_numbered():
            if int(path.name) not in keep:
                _remove_whole(path)
                with contextlib.suppress(OSError):
                    self.places.starts(int(path.name)).unlink()

    def count_starts(self, release: int) -> dict[str, int]:
        """Give how often the processes of a release were started, by their first letter."""
        try:
            letters = files.read_bounded(self.places.starts(release))
        except OSError:
            return {}
        return {letter: letters.count(letter.encode()) for letter in ("c", "u")}

    def forget_starts(self, release: int) -> None:
        with contextlib.suppress(OSError):
            self.places.starts(release).unlink()

    def _list_numbered(self) -> list[Path]:
        return [path for path in self._list() if _NUMBER.fullmatch(path.name) and path.is_dir()]

    def _list_parts(self) -> list[Path]:
        return [path for path in self._list() if path.name.startswith(PART_PREFIX)]

    def _list(self) -> Iterator[Path]:
        with contextlib.suppress(FileNotFoundError):
            yield from sorted(self.places.releases.iterdir())


def _remove_whole(path: Path) -> None:
    doomed = path.with_name(f"{PART_PREFIX}old-{path.name}")
    shutil.rmtree(doomed, ignore_errors=True)
    path.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def _read_bad(told: Any) -> Bad | None:
    if not isinstance(told, dict) or files.take_int(told, "release") < 1:
        return None
    return Bad(
        files.take_int(told, "release"),
        str(told.get("why", "")),
        files.take_int(told, "at_us"),
        files.take_int(told, "tries", 1),
        told.get("is_doubtful") is True,
    )
