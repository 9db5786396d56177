"""The store as other rooms use it: open, ask, close.

The constructor does nothing; :meth:`Store.open` connects, brings the schema forward
and checks that data, zone and program fit. An embedded store belongs to one process;
open it after forking, never before.
"""

from __future__ import annotations

from collections.abc import Callable

from teiten.foundation.clock import Clock
from teiten.store import backfill, migration, schema, zone
from teiten.store.config import StoreConfig
from teiten.store.statements import StatementRunner


class Store(StatementRunner):
    """One observation store, embedded or on a server."""

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
        """Bring schema and roll-ups forward, check the schema, and give the numbers applied."""
        done = migration.migrate(
            self.connections,
            self.config.zone,
            self.clock,
            allow_blocking=allow_blocking,
            announce=announce,
        )
        schema.check_packets(self.connections)
        backfill.fill_days(self, announce)
        return done

    def describe_pending(self) -> str:
        """Give the SQL that :meth:`migrate` would run."""
        return migration.describe_pending(self.connections, self.config.zone)

    def close(self) -> None:
        """Close all clients; the store may be opened again by another object or process."""
        self.connections.close()
