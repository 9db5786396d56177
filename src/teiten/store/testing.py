"""A real embedded store for tests: one folder per process, one database per test.

chDB opens one path per process, so every room's tests share this one.
"""

from __future__ import annotations

import atexit
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from teiten.foundation.clock import Clock
from teiten.store.config import StoreConfig
from teiten.store.connections import quote_identifier
from teiten.store.service import Store

_numbers = itertools.count(1)


@cache
def shared_folder() -> str:
    """Give the folder in which this process's test databases lie; it goes when the process ends."""
    folder = tempfile.mkdtemp(prefix="teiten-store-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@contextmanager
def temporary_store(clock: Clock | None = None, *, zone: str = "Asia/Tokyo") -> Iterator[Store]:
    """Open a migrated store in a database of its own, and drop that at the end."""
    config = StoreConfig(path=shared_folder(), database=f"test_{next(_numbers)}", zone=zone)
    store = Store.open(config, clock)
    try:
        yield store
    finally:
        store.command(f"DROP DATABASE {quote_identifier(config.database)} SYNC")
        store.close()
