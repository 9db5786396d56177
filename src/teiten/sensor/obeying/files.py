"""Small files that survive a crash, and reading what another user may have put there."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from teiten.sensor.errors import StateError


def write_durably(path: Path, text: bytes, *, mode: int = 0o600, group: int = -1) -> None:
    """Replace a file as a whole, and give it to a group; it is on the disk when this returns.

    Raises:
        StateError: when the disk refuses; what was there stands.
    """
    part = ""
    try:
        descriptor, part = tempfile.mkstemp(prefix=".part-", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            os.fchown(file.fileno(), -1, group)
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(part).replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        if part:
            with contextlib.suppress(OSError):
                Path(part).unlink()
        raise StateError(f"{path} cannot be written: {error.strerror}") from error


def make_folder(path: Path, *, mode: int = 0o700, group: int = -1) -> None:
    """Make a folder and those above it, and give it to a group.

    Raises:
        StateError: when it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        os.chown(path, -1, group)
        path.chmod(mode)
    except OSError as error:
        raise StateError(f"folder {path} cannot be made: {error.strerror}") from error


def read_bounded(path: Path, *, max_bytes: int, folder: int | None = None) -> bytes | None:
    """Read an ordinary file of bounded size, through no symbolic link; None when it is anything else.

    Args:
        path: where it is.
        max_bytes: of a longer file nothing is read.
        folder: the open folder that ``path`` is in; None: where ``path`` says.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, dir_fd=folder)
    except OSError:
        return None
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_size > max_bytes:
        os.close(descriptor)
        return None
    with os.fdopen(descriptor, "rb") as file:
        text = file.read(max_bytes + 1)
    return text if len(text) <= max_bytes else None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
