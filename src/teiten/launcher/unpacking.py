"""Unpack a bundle as if a stranger had made it: bounded, and nothing outside its folder.

A bundle is a tar, xz-compressed, of ordinary files and folders: ``RELEASE.json`` and
``lib/…``. Links, devices, absolute paths, ``..`` and doubled names are refused, and
neither memory nor disk grows beyond what the settings allow.
"""

from __future__ import annotations

import io
import lzma
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from teiten.launcher import files
from teiten.launcher.errors import UpdateBlocked

_READ_BYTES = 1 << 16
#: ``xz -9`` needs 65 MiB to unpack; a stream that asks for more is refused.
_MEMORY_BYTES = 96 * 1024 * 1024
_NAME_BYTES = 250
_DEPTH = 24


@dataclass(frozen=True)
class Bounds:
    """What a bundle may grow to."""

    max_bytes: int
    max_entries: int


def unpack(bundle: Path, folder: Path, bounds: Bounds) -> None:
    """Unpack into a new folder, durably.

    Raises:
        UpdateBlocked: ``bundle`` when it breaks a rule; what was written stands half-done.
        OSError: when the disk refuses.
    """
    folder.mkdir(parents=True)
    stream = None
    try:
        with bundle.open("rb") as file:
            stream = _Bounded(file, bounds.max_bytes)
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                _write_all(archive, folder, bounds)
    except (tarfile.TarError, lzma.LZMAError, EOFError, UnicodeError, ValueError) as error:
        raise UpdateBlocked("bundle", f"{bundle.name} is no bundle: {error}") from error
    for path, _folders, _files in os.walk(folder):
        files.sync_folder(Path(path))


def _write_all(archive: tarfile.TarFile, folder: Path, bounds: Bounds) -> None:
    for count, member in enumerate(archive, start=1):
        if count > bounds.max_entries:
            raise UpdateBlocked("bundle", f"it holds more than {bounds.max_entries} files")
        parts = _check(member)
        path = folder.joinpath(*parts)
        if member.isdir():
            _make_folder(path)
            continue
        _make_folder(path.parent)
        content = archive.extractfile(member)
        if content is None:
            raise UpdateBlocked("bundle", f"{member.name!r} has no content")
        _write(path, content, is_executable=bool(member.mode & 0o100))


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UpdateBlocked("bundle", f"{path.name!r} stands in it twice") from error


def _check(member: tarfile.TarInfo) -> tuple[str, ...]:
    """Give the parts of a member's name, when it is one that a bundle may have."""
    name = member.name
    parts = tuple(name.split("/"))
    if not (member.isreg() or member.isdir()) or member.issparse():
        raise UpdateBlocked("bundle", f"{name!r} is no ordinary file or folder")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise UpdateBlocked("bundle", f"{name!r} leads out of its folder")
    if len(parts) > _DEPTH or len(os.fsencode(name)) > _NAME_BYTES:
        raise UpdateBlocked("bundle", f"{name[:80]!r}… is too long a name")
    if parts[0] != "lib" and parts != ("RELEASE.json",):
        raise UpdateBlocked("bundle", f"{name!r} is neither RELEASE.json nor below lib/")
    return parts


def _write(path: Path, content: IO[bytes], *, is_executable: bool) -> None:
    mode = 0o755 if is_executable else 0o644
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise UpdateBlocked("bundle", f"{path.name!r} stands in it twice") from error
    with os.fdopen(descriptor, "wb") as file:
        while chunk := content.read(_READ_BYTES):
            file.write(chunk)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())


class _Bounded(io.RawIOBase):
    """The unpacked bytes of an xz stream, up to a number."""

    def __init__(self, file: IO[bytes], max_bytes: int) -> None:
        self._file = file
        self._left = max_bytes
        self._xz = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_MEMORY_BYTES)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Give up to ``size`` bytes; fewer only at the end."""
        wanted = _READ_BYTES if size < 0 else size
        chunks = bytearray()
        while len(chunks) < wanted and not self._xz.eof:
            chunks += self._unpack(wanted - len(chunks))
        self._left -= len(chunks)
        if self._left < 0:
            raise UpdateBlocked("bundle", "it unpacks to more than it may")
        return bytes(chunks)

    def _unpack(self, wanted: int) -> bytes:
        if not self._xz.needs_input:
            return self._xz.decompress(b"", wanted)
        packed = self._file.read(_READ_BYTES)
        if not packed:
            raise EOFError("it ends early")
        return self._xz.decompress(packed, wanted)
