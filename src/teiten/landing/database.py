"""One connection to the ledger's database that comes back by itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import psycopg

from teiten.landing.errors import LandingUnavailable


class AsyncDatabase:
    """A connection for one event loop; users take turns."""

    def __init__(self, dsn: str, *, connect_seconds: int) -> None:
        self._dsn = dsn
        self._connect_seconds = connect_seconds
        self._connection: psycopg.AsyncConnection | None = None
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def use(self) -> AsyncIterator[psycopg.AsyncConnection]:
        """Give the connection; after a failure the next user gets a new one.

        Raises:
            LandingUnavailable: when the database does not answer, or went away meanwhile.
        """
        async with self._turn:
            try:
                yield await self._connect()
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                await self.close()
                raise LandingUnavailable(f"the ledger's database does not answer: {error}") from error
            except asyncio.CancelledError:
                # A statement may still be under way on it.
                await self.close()
                raise

    async def close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()

    async def _connect(self) -> psycopg.AsyncConnection:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(
                self._dsn, autocommit=True, connect_timeout=self._connect_seconds
            )
            await self._connection.execute("SET statement_timeout = '30s'")
        return self._connection


class Database:
    """The same for threads."""

    def __init__(self, dsn: str, *, connect_seconds: int) -> None:
        self._dsn = dsn
        self._connect_seconds = connect_seconds
        self._connection: psycopg.Connection | None = None
        self._turn = threading.RLock()
        #: Grows with every new connection: what a session held is gone then.
        self.sessions = 0

    @contextmanager
    def use(self) -> Iterator[psycopg.Connection]:
        """Give the connection; after a failure the next user gets a new one.

        Raises:
            LandingUnavailable: when the database does not answer, or went away meanwhile.
        """
        with self._turn:
            try:
                yield self._connect()
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                self.close()
                raise LandingUnavailable(f"the ledger's database does not answer: {error}") from error

    def close(self) -> None:
        with self._turn:
            if self._connection is not None:
                connection, self._connection = self._connection, None
                connection.close()

    def _connect(self) -> psycopg.Connection:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(
                self._dsn, autocommit=True, connect_timeout=self._connect_seconds
            )
            self.sessions += 1
        return self._connection
