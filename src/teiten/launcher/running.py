"""Start the sensor's program from the release in use: whatever happened to updates, capture starts.

This runs as the sensor's own user and changes nothing but its count of starts.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from teiten.launcher.config import LauncherConfig
from teiten.launcher.errors import NoReleaseError
from teiten.launcher.releases import Manifest, ReleaseShelf
from teiten.launcher.trying import PYTHON_OPTIONS, STARTER

_log = logging.getLogger(__name__)
#: What each unit runs.
ROLES = {"capture": "record", "upload": "upload", "obey": "obey"}
_COUNTED = ("capture", "upload")
#: More starts than this are not worth counting.
_MOST_STARTS = 4_096


def build_command(
    shelf: ReleaseShelf, config: LauncherConfig, *, role: str, words: Sequence[str]
) -> list[str]:
    """Choose the release, count the start, and give the command line that becomes this process.

    Raises:
        NoReleaseError: when no release here can be started by this Python.
    """
    release = choose_runnable(shelf, config)
    if role in _COUNTED:
        _count_start(shelf, release.release, role)
    lib = shelf.places.release(release.release) / "lib"
    settings = shelf.places.settings / "sensor.toml"
    given = [] if "--config" in words else ["--config", str(settings)]
    return [sys.executable, *PYTHON_OPTIONS, "-c", STARTER, str(lib), ROLES[role], *given, *words]


def choose_runnable(shelf: ReleaseShelf, config: LauncherConfig) -> Manifest:
    """Give the release in use, or, where it cannot be started (any more), the next best.

    Raises:
        NoReleaseError: when there is none.
    """
    machine = shelf.machine
    found = {one.release: one for one in shelf.list_complete()}
    fitting = {n: one for n, one in found.items() if (one.python, one.arch) == (machine.python, machine.arch)}
    bad = shelf.list_bad()
    wanted = [shelf.current, shelf.committed, shelf.previous, *(n for n in fitting if n not in bad), *fitting]
    given_up = _find_given_up(shelf, config)
    for release in [*(n for n in wanted if n != given_up), given_up]:
        if release in fitting:
            if release != shelf.current:
                _log.error("Another release than `current` is started", extra={"release": release})
            return fitting[release]
    others = ", ".join(f"{one.release} for Python {one.python} on {one.arch}" for one in found.values())
    raise NoReleaseError(
        f"no release in {shelf.places.releases} fits Python {machine.python} on {machine.arch} "
        f"(there: {others or 'none'}); install the launcher's package again"
    )


def _find_given_up(shelf: ReleaseShelf, config: LauncherConfig) -> int:
    """Name the release on probation when it has failed so often that not even the timer is waited for."""
    pending = shelf.read_pending()
    if pending is None or not pending.previous:
        return 0
    starts = max(shelf.count_starts(pending.release).values(), default=0)
    return pending.release if starts > 2 * config.max_starts else 0


def _count_start(shelf: ReleaseShelf, release: int, role: str) -> None:
    """Add one letter; a disk that refuses must not keep capture from starting."""
    path: Path = shelf.places.starts(release)
    with contextlib.suppress(OSError):
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o644)
        try:
            if os.fstat(descriptor).st_size < _MOST_STARTS:
                os.write(descriptor, role[0].encode())
        finally:
            os.close(descriptor)
