"""The store as other rooms use it: open, ask, close.

The constructor does nothing; :meth:`Store.open` connects, brings the schema forward
and checks that data, zone and program fit. An embedded store belongs to one process;
open it after forking, never before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import pyarrow as pa

from teiten.foundation.clock import Clock, SystemClock
from teiten.store import migration, queries, schema, zone
from teiten.store.config import Role, StoreConfig
from teiten.store.connections import Connections, Parameters


class Store:
    """One observation store, embedded or on a server."""

    def __init__(self, config: StoreConfig, clock: Clock | None = None) -> None:
        self.config = config
        self.clock: Clock = SystemClock() if clock is None else clock
        self.connections = Connections(config)
        self._queries = queries.read_queries()
        #: Held while a block is written, and while a day's roll-ups are replaced.
        self.writing = threading.RLock()

    @classmethod
    def open(
        cls,
        config: StoreConfig,
        clock: Clock | None = None,
        *,
        allow_blocking: bool = False,
        announce: Callable[[str], None] | None = None,
    ) -> Store:
        """Connect, migrate and check.

        Args:
            allow_blocking: also run migrations that rewrite stored data.
            announce: told of each migration before it runs.

        Raises:
            StoreUnavailable: when the store cannot be reached or another process owns it.
            StoreMismatch: when zone, schema or version do not fit; nothing was changed by then
                but what earlier migrations did.
        """
        store = cls(config, clock)
        try:
            store.connect()
            store.migrate(allow_blocking=allow_blocking, announce=announce)
        except BaseException:
            store.close()
            raise
        return store

    def connect(self) -> None:
        """Reach the store and settle its zone, without touching the schema."""
        zone.check_name(self.config.zone)
        self.connections.create_database()
        migration.create_records(self.connections)
        zone.settle(self.connections, self.config.zone)

    def migrate(
        self, *, allow_blocking: bool = False, announce: Callable[[str], None] | None = None
    ) -> list[int]:
        """Bring the schema forward, check it, and give the numbers applied."""
        done = migration.migrate(
            self.connections,
            self.config.zone,
            self.clock,
            allow_blocking=allow_blocking,
            announce=announce,
        )
        schema.check_packets(self.connections)
        return done

    def describe_pending(self) -> str:
        """Give the SQL that :meth:`migrate` would run."""
        return migration.describe_pending(self.connections, self.config.zone)

    def query(self, name: str, parameters: Parameters | None = None, *, role: Role = "screen") -> pa.Table:
        """Run the named query of ``store/queries``.

        Raises:
            BadQuery: when there is no such query, or the store refuses it.
            LimitExceeded, StoreUnavailable: as :meth:`select` does.
        """
        return self.select(queries.get_query(self._queries, name).sql, parameters, role=role)

    def select(self, sql: str, parameters: Parameters | None = None, *, role: Role = "screen") -> pa.Table:
        """Run a query that was composed from declared identifiers; values go in ``parameters``.

        Text comes as string columns (cast bytes that may be no UTF-8 with ``hex``),
        addresses as 16-byte binaries.

        Raises:
            LimitExceeded: when it needs more than its role may use.
            BadQuery: when the store refuses it.
            StoreUnavailable: when the store does not answer.
        """
        return self.connections.select(sql, parameters, role=role)

    def command(self, sql: str, parameters: Parameters | None = None, *, role: Role = "maintenance") -> None:
        """Run one statement that gives no rows."""
        self.connections.command(sql, parameters, role=role)

    def close(self) -> None:
        """Close all clients; the store may be opened again by another object or process."""
        self.connections.close()
