"""Small files that survive a power cut, and files of others that are read without trust."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_MAX_BYTES = 1 << 20


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Replace a file as a whole, durably, readable by everybody.

    Raises:
        OSError: when the disk refuses; the old file stands.
    """
    write_bytes(path, json.dumps(record, separators=(",", ":")).encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file as a whole, durably, readable by everybody."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        Path(part).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(part).unlink()
        raise
    sync_folder(path.parent)


def remove(path: Path) -> None:
    """Remove a file durably; one that is not there is fine."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Path) -> dict[str, Any]:
    """Read an object; empty when there is none, or none that can be read.

    The file may belong to the sensor's user: it is never followed elsewhere, waited for or read without end.
    """
    try:
        told = json.loads(read_bounded(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def read_bounded(path: Path) -> bytes:
    """Read at most 1 MiB of an ordinary file.

    Raises:
        OSError: when it is absent, a link, or no ordinary file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is no ordinary file")
        return os.read(descriptor, _MAX_BYTES)
    finally:
        os.close(descriptor)


def take_int(told: Mapping[str, Any], name: str, default: int = 0) -> int:
    """Give a whole number of a record that may hold anything."""
    value = told.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def take_object(told: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Give an object of a record that may hold anything."""
    value = told.get(name)
    return value if isinstance(value, dict) else {}
