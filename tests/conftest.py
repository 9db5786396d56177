"""Fixtures that several rooms share: a real PostgreSQL, an empty database, a fixed clock."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from teiten.foundation.clock import FixedClock

_numbers = itertools.count()
#: Folders in the order in which workers take their tests: long ones first, so that short ones fill the end.
_FOLDERS = ("torture", "acceptance", "integration", "unit", "house")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Write proven requirements into the JUnit report, and share the tests out among workers.

    Tests that share a module's fixture go to one worker, which builds it once. The
    order within a folder stays the random one of pytest-randomly.
    """
    for item in items:
        for mark in item.iter_markers("requirement"):
            item.user_properties.extend(("requirement", identifier) for identifier in mark.args)
        if item.get_closest_marker("xdist_group") is None and shares_module_fixture(item):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    yield
    items.sort(key=find_place)


def find_place(item: pytest.Item) -> int:
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    return _FOLDERS.index(folder) if folder in _FOLDERS else -1


def shares_module_fixture(item: pytest.Item) -> bool:
    definitions = item._fixtureinfo.name2fixturedefs  # pytest has no public way
    return any(found[-1].scope == "module" for found in definitions.values())


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime(2026, 11, 21, 3, 0, tzinfo=timezone.utc))


@pytest.fixture(scope="session")
def postgres_server_url() -> Iterator[str]:
    """One real PostgreSQL server for this test process."""
    from teiten.cli.embedded import EmbeddedPostgres

    folder = Path(tempfile.mkdtemp(prefix="teiten-pg-", dir="/tmp"))
    server = EmbeddedPostgres(folder / "pg")
    yield server.start()
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database_url(postgres_server_url: str) -> str:
    """An empty database of its own for one test."""
    from teiten.cli.embedded import create_database

    return create_database(postgres_server_url, f"test_{os.getpid()}_{next(_numbers)}")
