"""Clients of ClickHouse, lent for one statement, for the embedded store and a server alike.

An embedded store serialises what one connection is asked, so statements at the same
time have a client each; the limits of a role belong to the connection. No other module of Teiten
imports ``clickhouse_connect``.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError, Error, OperationalError

from teiten.store import metrics
from teiten.store.config import Role, StoreConfig
from teiten.store.errors import BadQuery, LimitExceeded, StoreError, StoreMismatch, StoreUnavailable

#: Exact loading depends on these (store.md "Exactly once"); the rest keeps answers plain.
_SETTINGS: Mapping[str, int] = {
    "async_insert": 0,
    "insert_deduplicate": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "max_insert_threads": 1,
    # Roll-ups are pushed to side by side, each with its own token as before: a third less time for an insert.
    "parallel_view_processing": 1,
    "output_format_arrow_string_as_string": 1,
    "output_format_arrow_low_cardinality_as_dictionary": 0,
    "join_use_nulls": 0,
}
#: ClickHouse error codes: too many rows, time, too slow, memory, bytes, result, cancelled by a limit.
_LIMIT_CODES = frozenset({158, 159, 160, 241, 307, 396})
#: Network, timeout, too many parts or queries, no space, read-only, shutting down, cannot reserve, busy, a broken part.
_RETRY_CODES = frozenset(
    {74, 75, 76, 198, 202, 203, 209, 210, 228, 236, 242, 243, 246, 252, 279, 319, 373, 425, 439, 473}
)

#: Clients of a role that are kept when nobody uses them.
_IDLE_CLIENTS = 8

Parameters = Mapping[str, Any]


class Connections:
    """Opens clients lazily and closes them all at the end."""

    def __init__(self, config: StoreConfig) -> None:
        self._config = config
        self._lock = threading.Lock()
        #: Clients that nobody uses now, by role.
        self._idle: dict[Role, list[Client]] = {}
        self._closed = threading.Event()
        self._process_id = os.getpid()
        self._ownership: int | None = None

    @property
    def is_embedded(self) -> bool:
        return self._config.url is None

    def create_database(self) -> None:
        """Make the database unless it is there.

        Raises:
            StoreUnavailable: when the store cannot be opened.
        """
        with translate_errors(f"opening the store at {self.place}"):
            self._take_ownership()
            client = self._connect(None, self._config.limits_of("maintenance"))
            try:
                client.command(f"CREATE DATABASE IF NOT EXISTS {quote_identifier(self._config.database)}")
            finally:
                client.close()

    @property
    def place(self) -> str:
        """Where the store is, without a password, for messages."""
        if self._config.url is None:
            return str(self._config.path)
        return self._config.url.rpartition("@")[2]

    def command(self, sql: str, parameters: Parameters | None = None, *, role: Role) -> None:
        """Run one statement that gives no rows."""
        with translate_errors("a command"), self._borrow(role) as client:
            client.command(sql, parameters=dict(parameters or {}))

    def select(self, sql: str, parameters: Parameters | None = None, *, role: Role) -> pa.Table:
        """Run one query; text columns come as strings, addresses as 16 bytes."""
        with translate_errors("a query"), metrics.QUERY_SECONDS.labels(role).time():
            try:
                return self._ask(sql, parameters, role)
            except pa.ArrowInvalid:
                # Something that was written before the answer; the client is closed, and another one asks.
                return self._ask(sql, parameters, role)

    def _ask(self, sql: str, parameters: Parameters | None, role: Role) -> pa.Table:
        with self._borrow(role) as client:
            return client.query_arrow(sql, parameters=dict(parameters or {}))

    def insert(self, table: str, rows: pa.Table, *, token: str, role: Role = "loader") -> None:
        """Insert ``rows`` as one block under a deduplication token."""
        measured = metrics.INSERT_SECONDS.labels(table).time()
        with translate_errors(f"an insert into {table}"), measured, self._borrow(role) as client:
            client.insert_arrow(table, rows.combine_chunks(), settings={"insert_deduplication_token": token})

    def close(self) -> None:
        """Close all clients; those in use close when they are given back."""
        with self._lock:
            self._closed.set()
            clients = [client for idle in self._idle.values() for client in idle]
            self._idle.clear()
        for client in clients:
            client.close()
        if self._ownership is not None:
            os.close(self._ownership)
            self._ownership = None

    @contextmanager
    def _borrow(self, role: Role) -> Iterator[Client]:
        """Lend a client for one statement: threads come and go with requests, clients stay.

        One whose statement failed is closed: a connection of chDB that stopped in the middle of
        an answer gives what it had written of it to the next statement, before the answer.
        """
        if self._closed.is_set():
            raise StoreUnavailable(f"the store at {self.place} is closed in this process")
        if os.getpid() != self._process_id and self.is_embedded:
            raise StoreUnavailable("an embedded store cannot be used in a forked process; open it there")
        with self._lock:
            idle = self._idle.setdefault(role, [])
            found = idle.pop() if idle else None
        client = found or self._connect(self._config.database, self._config.limits_of(role))
        is_kept = False
        try:
            yield client
            with self._lock:
                is_kept = not self._closed.is_set() and len(idle) < _IDLE_CLIENTS
                if is_kept:
                    idle.append(client)
        finally:
            if not is_kept:
                client.close()

    def _take_ownership(self) -> None:
        """Hold a lock on the embedded store's folder, so that a second process is told plainly.

        Raises:
            StoreUnavailable: when another process has the store open.
        """
        if self._config.url is not None or self._config.path is None or self._ownership is not None:
            return
        folder = Path(self._config.path)
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder.with_name(f"{folder.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # Shared within a process: several stores may be databases of one folder.
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise StoreUnavailable(
                f"the store at {self.place} is in use by another process; stop it, or let it do the work"
            ) from error
        self._ownership = lock

    def _connect(self, database: str | None, limits: Mapping[str, int]) -> Client:
        settings = {**_SETTINGS, **limits}
        config = self._config
        if config.url is not None:
            return clickhouse_connect.get_client(
                dsn=config.url, database=database, settings=settings, autogenerate_session_id=False
            )
        if config.path is None:
            raise StoreMismatch("neither store.url nor store.path is set; set one of them")
        Path(config.path).mkdir(parents=True, exist_ok=True)
        return clickhouse_connect.get_client(
            interface="chdb", path=config.path, database=database, settings=settings
        )


@contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """Turn the driver's errors into the store's, by what the caller can do about them."""
    try:
        yield
    except ClickHouseError as error:
        translated = _translate(error, what)
        metrics.ERRORS.labels(type(translated).__name__).inc()
        raise translated from error
    except pa.ArrowInvalid as error:
        metrics.ERRORS.labels("StoreUnavailable").inc()
        raise StoreUnavailable(f"{what} gave an answer that nobody can read: {error}") from error
    except (OSError, RuntimeError) as error:
        metrics.ERRORS.labels("StoreUnavailable").inc()
        raise StoreUnavailable(f"{what} failed: {error}") from error


def quote_identifier(name: str) -> str:
    """Quote a database or table name."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _translate(error: ClickHouseError, what: str) -> StoreError:
    code = error.code if isinstance(error, Error) else None
    text = str(error).strip()[:2_000]
    if code in _LIMIT_CODES:
        return LimitExceeded(
            f"{what} needs more time or memory than it may use; narrow the period or the filter ({text})"
        )
    if code in _RETRY_CODES:
        return StoreUnavailable(f"{what} failed for now: {text}")
    if code is None and (isinstance(error, OperationalError) or not isinstance(error, DatabaseError)):
        return StoreUnavailable(f"{what} failed, the store does not answer: {text}")
    return BadQuery(f"{what} was refused by the store: {text}")
