"""Fixtures that several rooms share: a real PostgreSQL, an empty database, a fixed clock."""

from __future__ import annotations

import gc
import itertools
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from teiten.foundation.clock import FixedClock

_numbers = itertools.count()
#: Where files lie in memory on Linux, and what must be free there before the tests use it.
_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 8 << 30
#: Folders in the order in which workers take their tests: long ones first, so that short ones fill the end.
_FOLDERS = ("torture", "acceptance", "packaging", "fuzz", "integration", "unit", "house")


def pytest_configure() -> None:
    """Let databases, stores and temporary folders of the tests lie in memory where there is room.

    What they prove is about processes that die, not about disks; a disk takes a quarter more of the processor.
    """
    if "TMPDIR" not in os.environ and _has_room(_MEMORY):
        os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)


def _has_room(folder: Path) -> bool:
    """Tell whether a folder in memory takes programs too, and both it and the machine have room."""
    try:
        state = os.statvfs(folder)
        told = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return False
    available = re.search(r"^MemAvailable: +(\d+) kB", told, re.MULTILINE)
    free_bytes = min(state.f_bavail * state.f_frsize, int(available[1]) * 1024 if available else 0)
    return os.access(folder, os.W_OK) and not state.f_flag & os.ST_NOEXEC and free_bytes >= _ROOM_BYTES


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Write proven requirements into the JUnit report; bring long tests to the front.

    The order within a folder stays the random one of pytest-randomly.
    """
    for item in items:
        for mark in item.iter_markers("requirement"):
            item.user_properties.extend(("requirement", identifier) for identifier in mark.args)
    yield
    items.sort(key=find_place)


def pytest_collection_finish() -> None:
    """Let the garbage collector look no more at six thousand tests: that took a seventh of the unit tests' time."""
    gc.collect()
    gc.freeze()


def find_place(item: pytest.Item) -> int:
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    return _FOLDERS.index(folder) if folder in _FOLDERS else -1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give whole groups to a worker each (``--dist loadgroup``).

    xdist 3.8 writes the group into an attribute that pytest 9.2 no longer reads, so that it
    groups nothing; and tests that share a module's fixture belong together without a mark.
    """
    if config.getoption("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class GroupScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return find_group(config.rootpath, nodeid)

    return GroupScheduling(config, log)


def find_group(root: Path, nodeid: str) -> str:
    """Name the group of a test: its file's mark, its file where a fixture is the module's, otherwise itself."""
    name = nodeid.partition("::")[0]
    return _group_of_file(root / name) or nodeid


@cache
def _group_of_file(path: Path) -> str | None:
    text = path.read_text(encoding="utf-8")
    mark = re.search(r'xdist_group\("(\w+)"\)', text)
    return mark[1] if mark else str(path) if 'scope="module"' in text else None


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime(2026, 11, 21, 3, 0, tzinfo=timezone.utc))


@pytest.fixture(scope="session")
def postgres_server_url() -> Iterator[str]:
    """One real PostgreSQL server for this test process; what it holds need not outlive the machine."""
    import psycopg

    from teiten.cli.embedded import EmbeddedPostgres

    folder = Path(tempfile.mkdtemp(prefix="teiten-pg-"))
    server = EmbeddedPostgres(folder / "pg")
    url = server.start()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("ALTER SYSTEM SET full_page_writes = off")
        connection.execute("SELECT pg_reload_conf()")
    yield url
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database_url(postgres_server_url: str) -> str:
    """An empty database of its own for one test."""
    from teiten.cli.embedded import create_database

    return create_database(postgres_server_url, f"test_{os.getpid()}_{next(_numbers)}")
