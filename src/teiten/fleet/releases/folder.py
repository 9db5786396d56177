"""The repository's files: the public part, drafts that wait for signatures, and the online keys.

::

    public/metadata/   1.root.json … N.root.json, N.targets.json, N.snapshot.json, timestamp.json
    public/targets/    <sha256>.operators.json, bundles/<sha256>.teiten-sensor-….tar.xz
    draft/             root.json, targets.json: not published, some signatures
    keys/              snapshot.pem, timestamp.pem (0600)

A file of the public part never changes, but ``timestamp.json``, which is replaced as a
whole and last: at every instant clients see one consistent repository.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp  # type: ignore[attr-defined]  # re-exported without __all__
from tuf.api.serialization import DeserializationError

from teiten.fleet.releases.errors import ReleaseError
from teiten.protocol import keys

DRAFTS = ("root", "targets")


class RepositoryFolder:
    """Reads and writes the files below ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metadata = path / "public/metadata"
        self.targets = path / "public/targets"
        self.drafts = path / "draft"
        self.keys = path / "keys"

    @property
    def is_made(self) -> bool:
        """Tell whether there is a repository, published or not."""
        return self.keys.exists()

    def make(self) -> None:
        for folder in (self.metadata, self.targets / "bundles", self.drafts):
            folder.mkdir(parents=True, exist_ok=True)
        self.keys.mkdir(mode=0o700, exist_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Let one process at a time write.

        Raises:
            ReleaseError: when there is no repository.
        """
        if not self.is_made:
            raise ReleaseError(f"there is no repository in {self.path}; run `teiten release init`")
        with _explained(self.path / "lock"):
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def read_root(self) -> Metadata[Root] | None:
        """Give the newest published root; None before the first."""
        version = self._newest("root")
        return self._read(self.metadata / f"{version}.root.json") if version else None

    def read_targets(self) -> Metadata[Targets] | None:
        """Give the published targets; None before the first."""
        snapshot = self.read_snapshot()
        if snapshot is None:
            return None
        return self._read(self.metadata / f"{snapshot.signed.meta['targets.json'].version}.targets.json")

    def read_snapshot(self) -> Metadata[Snapshot] | None:
        timestamp = self.read_timestamp()
        if timestamp is None:
            return None
        return self._read(self.metadata / f"{timestamp.signed.snapshot_meta.version}.snapshot.json")

    def read_timestamp(self) -> Metadata[Timestamp] | None:
        path = self.metadata / "timestamp.json"
        return self._read(path) if path.exists() else None

    def read_draft(self, role: str) -> Metadata[Any] | None:
        path = self.drafts / f"{role}.json"
        return self._read(path) if path.exists() else None

    def write_draft(self, metadata: Metadata[Any]) -> Path:
        path = self.drafts / f"{metadata.signed.type}.json"
        write_file(path, metadata.to_bytes())
        return path

    def drop_draft(self, role: str) -> None:
        (self.drafts / f"{role}.json").unlink(missing_ok=True)

    def write_public(self, metadata: Metadata[Any]) -> None:
        """Publish one file of metadata."""
        signed = metadata.signed
        name = "timestamp.json" if signed.type == "timestamp" else f"{signed.version}.{signed.type}.json"
        write_file(self.metadata / name, metadata.to_bytes(), mode=0o644)

    def keep_target(self, source: Path, *, target: str, sha256: str) -> None:
        """Copy a target's content to where clients will look for it."""
        folder = (self.targets / target).parent
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{sha256}.{Path(target).name}"
        if path.exists():
            return
        part = path.with_name(f".{path.name}.part")
        with _explained(path), _swept(part):
            shutil.copyfile(source, part)
            part.chmod(0o644)
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.replace(path)

    def read_target(self, target: str, *, sha256: str) -> bytes | None:
        """Give a target's content; None when it is not here."""
        path = (self.targets / target).parent / f"{sha256}.{Path(target).name}"
        return path.read_bytes() if path.is_file() else None

    def drop_unlisted(self, listed: set[str]) -> int:
        """Remove contents that no published or drafted target names; gives how many."""
        found = [path for path in self.targets.rglob("*") if path.is_file()]
        unlisted = [path for path in found if str(path.relative_to(self.targets)) not in listed]
        for path in unlisted:
            path.unlink()
        return len(unlisted)

    def make_online_keys(self) -> None:
        for role in ("snapshot", "timestamp"):
            if not (self.keys / f"{role}.pem").exists():
                keys.save_private(keys.generate_key(), self.keys / f"{role}.pem")

    def replace_online_keys(self) -> None:
        """Put new keys beside the old ones; :meth:`use_new_online_keys` makes them count."""
        for role in ("snapshot", "timestamp"):
            (self.keys / f"{role}.new.pem").unlink(missing_ok=True)
            keys.save_private(keys.generate_key(), self.keys / f"{role}.new.pem")

    def use_new_online_keys(self) -> None:
        for role in ("snapshot", "timestamp"):
            fresh = self.keys / f"{role}.new.pem"
            if fresh.exists():
                fresh.replace(self.keys / f"{role}.pem")

    def _newest(self, role: str) -> int:
        names = (path.name.partition(".")[0] for path in self.metadata.glob(f"*.{role}.json"))
        return max((int(name) for name in names if name.isdecimal()), default=0)

    @staticmethod
    def _read(path: Path) -> Metadata[Any]:
        return read_metadata(path)


def read_metadata(path: Path) -> Metadata[Any]:
    """Read a file of metadata.

    Raises:
        ReleaseError: when it is none.
    """
    try:
        return Metadata.from_bytes(path.read_bytes())
    except OSError as error:
        raise ReleaseError(f"{path} cannot be read: {error.strerror}") from error
    except DeserializationError as error:
        raise ReleaseError(f"{path} holds no TUF metadata") from error


def write_file(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace a file as a whole, durably.

    Raises:
        ReleaseError: when the disk or its owner refuses; what was there stands.
    """
    with _explained(path):
        descriptor, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with _swept(Path(part)):
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            Path(part).replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Say which file could not be written, and what helps."""
    try:
        yield
    except PermissionError as error:
        raise ReleaseError(
            f"{path} cannot be written ({error.strerror}): run this as the user whom Teiten runs as"
        ) from error
    except OSError as error:
        raise ReleaseError(
            f"{path} cannot be written: {error.strerror}; make room and do it again"
        ) from error


@contextlib.contextmanager
def _swept(part: Path) -> Iterator[None]:
    """Leave no half-written file behind."""
    try:
        yield
    except BaseException:
        part.unlink(missing_ok=True)
        raise
