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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Write the requirements that a test proves into the JUnit report (``--junitxml``)."""
    for item in items:
        for mark in item.iter_markers("requirement"):
            item.user_properties.extend(("requirement", identifier) for identifier in mark.args)


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
