"""What bundles and packages are made of: locked wheels for another machine, unpacked, trimmed, packed the same way each time.

Nothing of the machine that builds goes in: wheels come by the hashes of ``requirements/*.txt``
for the Python and processor that the sensor has, times and owners are fixed, and entries
are sorted. Two runs over the same sources give the same bytes.
"""

from __future__ import annotations

import json
import lzma
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
ARCHITECTURES = ("x86_64", "aarch64")
#: glibc of RHEL 8, the oldest system that is served, and everything before it.
_PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
#: Every entry's time: 2020-01-01T00:00:00Z. A package's own time would change its bytes.
EPOCH_S = 1_577_836_800
#: Preset 6 unpacks in 9 MiB of memory; 9 saves 2 % and needs 65 MiB.
_XZ_PRESET = 6

#: What a running sensor never reads: headers, stubs, sources of extensions, tests, build tools.
_UNUSED_SUFFIXES = (".pyi", ".pxd", ".pyx", ".h", ".c", ".a", ".lib", ".pyc")
_UNUSED_FOLDERS = frozenset({"tests", "__pycache__", "include", "f2py", "distutils", "_pyinstaller"})
_UNUSED_FILES = frozenset(
    {"RECORD", "INSTALLER", "REQUESTED", "testing.py", "conftest.py", "command_testing.py"}
)


@dataclass(frozen=True)
class Target:
    """A Python and a processor that something is built for."""

    #: ``3.10`` to ``3.13``.
    python: str
    #: As ``platform.machine()`` names it.
    arch: str

    @property
    def tag(self) -> str:
        return f"py{self.python.replace('.', '')}-{self.arch}"

    @property
    def environment(self) -> dict[str, str]:
        """What markers of requirements are asked about; the patch level is any."""
        return {
            "python_version": self.python,
            "python_full_version": f"{self.python}.1",
            "platform_machine": self.arch,
            "platform_python_implementation": "CPython",
            "implementation_name": "cpython",
            "sys_platform": "linux",
            "platform_system": "Linux",
            "os_name": "posix",
        }


def choose_requirements(
    locked: str, target: Target, *, only: frozenset[str] | None = None, without: frozenset[str] = frozenset()
) -> str:
    """Give the entries of a locked file that hold for ``target``, with their hashes and without markers.

    pip would judge markers by the Python that runs it, which is another one.
    """
    chosen = []
    for entry in re.split(r"\n(?=\S)", "\n".join(_without_comments(locked))):
        head, _, hashes = entry.partition("\\\n")
        if not head.strip():
            continue
        requirement = Requirement(head.strip())
        name = requirement.name.lower()
        if requirement.marker is not None and not requirement.marker.evaluate(target.environment):
            continue
        if name in without or (only is not None and name not in only):
            continue
        chosen.append(f"{requirement.name}{requirement.specifier} \\\n{hashes.rstrip()}")
    return "\n".join(chosen) + "\n"


def download_wheels(locked: Path, target: Target, folder: Path, **choice: frozenset[str]) -> list[Path]:
    """Fetch the wheels of a locked file for ``target`` into ``folder``; give them by name."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = folder / "requirements.txt"
    text = choose_requirements(locked.read_text(encoding="utf-8"), target, **choice)
    if not (wanted.exists() and wanted.read_text(encoding="utf-8") == text):
        for old in folder.glob("*.whl"):
            old.unlink()
        platforms = [f"--platform={name}_{target.arch}" for name in _PLATFORMS]
        part = folder / "requirements.part"
        part.write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--no-deps", "--require-hashes", "--only-binary=:all:", "--implementation=cp"]
        command += [f"--python-version={target.python}", *platforms, "-d", str(folder), "-r", str(part)]
        subprocess.run(command, check=True)
        part.replace(wanted)
    return sorted(folder.glob("*.whl"))


def unpack_wheels(wheels: Sequence[Path], folder: Path) -> None:
    """Unpack what a running program needs of ``wheels`` into one flat folder of modules."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                inner = _inside(name)
                if inner is not None and not name.endswith("/"):
                    _write(folder / inner, archive.read(name))


def copy_rooms(rooms: Sequence[str], folder: Path) -> None:
    """Copy rooms of ``src/teiten`` as they stand."""
    source = ROOT / "src/teiten"
    for path in [source / "__init__.py", *(one for room in rooms for one in (source / room).rglob("*"))]:
        inner = path.relative_to(source.parent)
        if path.is_file() and is_used(inner.as_posix()):
            _write(folder / inner, path.read_bytes())


def is_used(name: str) -> bool:
    """Tell whether a running program may read a file of this name."""
    *folders, last = name.split("/")
    return not (
        last in _UNUSED_FILES or last.endswith(_UNUSED_SUFFIXES) or _UNUSED_FOLDERS.intersection(folders)
    )


def write_release(folder: Path, target: Target, *, release: int, version: str, min_from: int) -> None:
    """Write ``RELEASE.json`` of a bundle."""
    said = {
        "v": 1,
        "release": release,
        "version": version,
        "python": target.python,
        "arch": target.arch,
        "min_from": min_from,
    }
    _write(folder / "RELEASE.json", json.dumps(said).encode() + b"\n")


def pack(folder: Path, bundle: Path) -> int:
    """Pack ``folder`` into a tar.xz, the same bytes for the same files; give the bundle's bytes."""
    bundle.parent.mkdir(parents=True, exist_ok=True)
    part = bundle.with_suffix(".part")
    with lzma.open(part, "wb", preset=_XZ_PRESET) as stream:
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for name in _walk(folder):
                _add(archive, folder / name, name)
    part.replace(bundle)
    return bundle.stat().st_size


def read_version() -> str:
    """Give the version that ``pyproject.toml`` states."""
    found = re.search(
        r'^version = "([^"]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE
    )
    if found is None:
        raise SystemExit("pyproject.toml states no version")
    return found[1]


def empty(folder: Path) -> Path:
    """Give ``folder`` with nothing in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def settle_times(folder: Path) -> None:
    """Give every file and folder the one time that all packages have."""
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (EPOCH_S, EPOCH_S), follow_symlinks=False)


def _without_comments(locked: str) -> Iterator[str]:
    return (line for line in locked.splitlines() if not line.lstrip().startswith("#"))


def _inside(name: str) -> str | None:
    """Give where a wheel's file goes; None when it is not wanted (PEP 427: data go elsewhere)."""
    parts = name.split("/")
    if parts[0].endswith(".data"):
        if len(parts) < 3 or parts[1] not in ("purelib", "platlib"):
            return None
        name = "/".join(parts[2:])
    if name.startswith("/") or ".." in parts:
        raise SystemExit(f"a wheel holds a file that leads out of its folder: {name}")
    return name if is_used(name) else None


def _walk(folder: Path) -> list[str]:
    found = []
    for path, folders, files in os.walk(folder):
        inner = Path(path).relative_to(folder)
        found += [(inner / name).as_posix() for name in (*folders, *files)]
    return sorted(found)


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    member = tarfile.TarInfo(name)
    member.mtime = EPOCH_S
    if path.is_dir():
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(member)
        return
    member.mode, member.size = 0o644, path.stat().st_size
    with path.open("rb") as content:
        archive.addfile(member, content)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
