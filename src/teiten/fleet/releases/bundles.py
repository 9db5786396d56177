"""Bundles: one release of the sensor's program for one Python and one processor (see docs/operating.md).

``teiten-sensor-<release>-py3XX-<arch>.tar.xz`` holds ``RELEASE.json`` and ``lib/``. The
launcher refuses what breaks the rules; :func:`inspect_bundle` refuses it before it is signed.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from teiten.fleet.releases.errors import ReleaseError

MAX_RELEASE = (1 << 31) - 1
_NAME = re.compile(r"teiten-sensor-([1-9][0-9]{0,9})-py3([0-9]{1,2})-([a-z0-9_]{1,16})\.tar\.xz")
_MAX_UNPACKED, _MAX_ENTRIES, _MAX_MANIFEST = 300_000_000, 20_000, 65_536
_MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Bundle:
    """A bundle that keeps the rules."""

    path: Path
    release: int
    #: The program's version, for people.
    version: str
    #: For example ``3.11``.
    python: str
    arch: str
    #: Lowest release that may go to this one directly.
    min_from: int
    size_bytes: int
    unpacked_bytes: int
    sha256: str

    @property
    def target(self) -> str:
        """Name among the targets."""
        return f"bundles/{self.path.name}"

    @property
    def custom(self) -> dict[str, Any]:
        """What is signed beside length and hash."""
        return {
            "release": self.release,
            "python": self.python,
            "arch": self.arch,
            "min_from": self.min_from,
            "version": self.version,
            "unpacked_bytes": self.unpacked_bytes,
        }


def inspect_bundle(path: Path) -> Bundle:
    """Read a bundle and check every rule that the launcher checks.

    Raises:
        ReleaseError: naming the rule.
    """
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise ReleaseError(
            f"{path.name} must be named teiten-sensor-<release>-py3XX-<arch>.tar.xz (see scripts/make-bundle)"
        )
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        manifest, unpacked = _walk(path)
    except (OSError, tarfile.TarError, lzma.LZMAError, EOFError, ValueError) as error:
        raise ReleaseError(f"{path.name} is no bundle: {error}") from error
    if size > _MAX_BYTES:
        raise ReleaseError(f"{path.name} has {size:,} bytes; sensors take {_MAX_BYTES:,}")
    release, python, arch = int(match[1]), f"3.{match[2]}", match[3]
    if (manifest.get("release"), manifest.get("python"), manifest.get("arch")) != (release, python, arch):
        raise ReleaseError(f"{path.name}: its RELEASE.json says something else than its name")
    min_from = manifest.get("min_from", 0)
    if release > MAX_RELEASE or not isinstance(min_from, int) or not 0 <= min_from < release:
        raise ReleaseError(f"{path.name}: min_from must be below the release, which is at most {MAX_RELEASE}")
    return Bundle(
        path,
        release=release,
        python=python,
        arch=arch,
        version=str(manifest.get("version", "")),
        min_from=min_from,
        size_bytes=size,
        unpacked_bytes=unpacked,
        sha256=digest,
    )


def _walk(path: Path) -> tuple[dict[str, Any], int]:
    manifest: dict[str, Any] = {}
    unpacked = 0
    with tarfile.open(path, "r:xz") as archive:
        for count, member in enumerate(archive, start=1):
            _check(member, count)
            unpacked += member.size
            if unpacked > _MAX_UNPACKED:
                raise ReleaseError(f"{path.name} unpacks to more than {_MAX_UNPACKED:,} bytes")
            if member.name == "RELEASE.json":
                content = archive.extractfile(member)
                told = json.loads(content.read(_MAX_MANIFEST)) if content else {}
                manifest = told if isinstance(told, dict) else {}
    if not manifest:
        raise ReleaseError(f"{path.name} holds no RELEASE.json")
    return manifest, unpacked


def _check(member: tarfile.TarInfo, count: int) -> None:
    parts = member.name.split("/")
    if count > _MAX_ENTRIES:
        raise ReleaseError(f"it holds more than {_MAX_ENTRIES:,} files")
    if not (member.isreg() or member.isdir()):
        raise ReleaseError(f"{member.name!r} in it is no ordinary file or folder")
    if any(part in ("", ".", "..") for part in parts) or (parts[0] != "lib" and parts != ["RELEASE.json"]):
        raise ReleaseError(f"{member.name!r} in it is neither RELEASE.json nor below lib/")


def pack_folder(folder: Path, into: Path, *, preset: Literal[0, 6, 9] = 6) -> Path:
    """Pack a folder with ``RELEASE.json`` and ``lib/``; the same folder gives the same bytes.

    Raises:
        ReleaseError: when the folder is no release.
    """
    try:
        told = json.loads((folder / "RELEASE.json").read_bytes())
        name = f"teiten-sensor-{told['release']}-py{told['python'].replace('.', '')}-{told['arch']}.tar.xz"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReleaseError(f"{folder} holds no RELEASE.json of a release") from error
    path = into / name
    with tarfile.open(path, "w:xz", preset=preset, format=tarfile.PAX_FORMAT) as archive:
        for entry in sorted(folder.rglob("*")):
            if entry.is_symlink() or "__pycache__" in entry.parts:
                continue
            archive.add(entry, str(entry.relative_to(folder)), recursive=False, filter=_make_plain)
    return path


def _make_plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 0
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    member.pax_headers = {}
    return member
