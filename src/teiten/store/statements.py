"""Run statements on one store: what its screens, its writer and its maintenance have in common."""

from __future__ import annotations

import threading

import pyarrow as pa

from teiten.foundation.clock import Clock, SystemClock
from teiten.store import queries
from teiten.store.config import Role, StoreConfig
from teiten.store.connections import Connections, Parameters


class StatementRunner:
    """Clients, settings and named queries of one store."""

    def __init__(self, config: StoreConfig, clock: Clock | None = None) -> None:
        self.config = config
        self.clock: Clock = SystemClock() if clock is None else clock
        self.connections = Connections(config)
        self._queries = queries.read_queries()
        #: Held while a block is written, while a day's roll-ups are replaced, while rows are moved or removed.
        self.writing = threading.RLock()
        #: Held during a whole exclusion, return or erasure; taken before :attr:`writing`, which is let go between days.
        self.changing = threading.RLock()

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
