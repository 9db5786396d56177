"""What most files here begin with: Django on an empty, migrated database, and the people of the tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from teiten.foundation.clock import FixedClock
from teiten.portal.testing import Cast, make_cast, migrated_database


@pytest.fixture
def database(postgres_server_url: str) -> Iterator[str]:
    """The URL of an empty, migrated database, with Django connected to it."""
    with migrated_database(postgres_server_url) as url:
        yield url


@pytest.fixture
def cast(database: str, clock: FixedClock) -> Cast:
    """The people, entered at the time of ``clock``."""
    return make_cast(clock.now())
