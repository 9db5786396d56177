"""What a simulated fleet must remember between two starts, in one SQLite file.

Packets need no spool: they can be made again to the bit. So for each batch the
ledger holds, *before* it is sent, its number, window and header; after the receipt
only the window remains, merged with its neighbours. Whatever was interrupted is
sent again under the same number with the same bytes; the gateway then answers with
the receipt that it gave, or takes it for the first time.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from teiten.protocol.header import LostBatch
from teiten.simulators.errors import FleetStateError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS fleet (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS sensor (
    name TEXT PRIMARY KEY, number INTEGER NOT NULL, key_no INTEGER NOT NULL, epoch INTEGER NOT NULL,
    gateway_keys TEXT NOT NULL, last_seq INTEGER NOT NULL DEFAULT 0, last_beat INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS pending (
    name TEXT NOT NULL, seq INTEGER NOT NULL, start_us INTEGER NOT NULL, end_us INTEGER NOT NULL,
    header TEXT NOT NULL, PRIMARY KEY (name, seq)
) STRICT;
CREATE TABLE IF NOT EXISTS covered (
    name TEXT NOT NULL, start_us INTEGER NOT NULL, end_us INTEGER NOT NULL, PRIMARY KEY (name, start_us)
) STRICT;
CREATE TABLE IF NOT EXISTS tombstone (
    name TEXT NOT NULL, seq INTEGER NOT NULL, start_us INTEGER NOT NULL, end_us INTEGER NOT NULL,
    PRIMARY KEY (name, seq)
) STRICT;
"""


@dataclass(frozen=True)
class Standing:
    """What enrolment made of a sensor."""

    number: int
    key_no: int
    epoch: int
    #: ``id=base64url`` of each gateway key, separated by spaces.
    gateway_keys: str


@dataclass(frozen=True)
class PendingBatch:
    """A batch that has its number but no receipt."""

    seq: int
    start_us: int
    end_us: int
    #: The facts of its header, JSON.
    header: str


class Ledger:
    """The memory of a simulated fleet; one process at a time, any of its threads.

    Raises:
        FleetStateError: when the file cannot be used, or another process uses it.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._path = path
        try:
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0.5)
            self._database.execute("PRAGMA journal_mode = WAL")
            # A lost tail after a power cut only means sending the same bytes again.
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        except sqlite3.Error as error:
            raise FleetStateError(
                f"ledger {path} cannot be used ({error}); is another simulated fleet running on it?"
            ) from error

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def keep(self, name: str, value: int) -> int:
        """Give what was kept under ``name``; ``value`` is kept when nothing was."""
        with self._write() as database:
            database.execute("INSERT INTO fleet VALUES (?, ?) ON CONFLICT DO NOTHING", [name, value])
            return int(database.execute("SELECT value FROM fleet WHERE name = ?", [name]).fetchone()[0])

    def find_standing(self, name: str) -> Standing | None:
        with self._write() as database:
            row = database.execute(
                "SELECT number, key_no, epoch, gateway_keys FROM sensor WHERE name = ?", [name]
            ).fetchone()
        return Standing(*row) if row else None

    def add_sensor(self, name: str, standing: Standing) -> None:
        with self._write() as database:
            database.execute(
                "INSERT INTO sensor (name, number, key_no, epoch, gateway_keys) VALUES (?, ?, ?, ?, ?)",
                [name, standing.number, standing.key_no, standing.epoch, standing.gateway_keys],
            )

    def next_beat(self, name: str) -> int:
        """Give the next heartbeat counter; it never repeats."""
        with self._write() as database:
            row = database.execute(
                "UPDATE sensor SET last_beat = last_beat + 1 WHERE name = ? RETURNING last_beat", [name]
            ).fetchone()
        return int(row[0])

    def last_seq(self, name: str) -> int:
        with self._write() as database:
            row = database.execute("SELECT last_seq FROM sensor WHERE name = ?", [name]).fetchone()
        return int(row[0])

    def begin(self, name: str, batch: PendingBatch) -> None:
        """Take a number for a batch that will now be sent."""
        with self._write() as database:
            database.execute("UPDATE sensor SET last_seq = ? WHERE name = ?", [batch.seq, name])
            database.execute(
                "INSERT INTO pending VALUES (?, ?, ?, ?, ?)",
                [name, batch.seq, batch.start_us, batch.end_us, batch.header],
            )

    def finish(self, name: str, batch: PendingBatch) -> None:
        """Note the receipt: the window is covered, and what its header told of losses is known."""
        with self._write() as database:
            database.execute("DELETE FROM pending WHERE name = ? AND seq = ?", [name, batch.seq])
            database.execute("DELETE FROM tombstone WHERE name = ? AND seq < ?", [name, batch.seq])
            _cover(database, name, batch.start_us, batch.end_us)

    def lose(self, name: str, seq: int, start_us: int, end_us: int) -> None:
        """Use up a number for a window that will never be sent."""
        with self._write() as database:
            database.execute("UPDATE sensor SET last_seq = ? WHERE name = ?", [seq, name])
            database.execute("INSERT INTO tombstone VALUES (?, ?, ?, ?)", [name, seq, start_us, end_us])
            _cover(database, name, start_us, end_us)

    def list_pending(self, name: str) -> list[PendingBatch]:
        with self._write() as database:
            rows = database.execute(
                "SELECT seq, start_us, end_us, header FROM pending WHERE name = ? ORDER BY seq", [name]
            ).fetchall()
        return [PendingBatch(*row) for row in rows]

    def list_covered(self, name: str) -> list[tuple[int, int]]:
        """Give the windows that are receipted or begun, in order."""
        with self._write() as database:
            return database.execute(
                "SELECT start_us, end_us FROM covered WHERE name = ?1 "
                "UNION SELECT start_us, end_us FROM pending WHERE name = ?1 ORDER BY start_us",
                [name],
            ).fetchall()

    def list_tombstones(self, name: str) -> tuple[LostBatch, ...]:
        with self._write() as database:
            rows = database.execute(
                "SELECT seq, seq, start_us, end_us FROM tombstone WHERE name = ? ORDER BY seq LIMIT 200",
                [name],
            ).fetchall()
        return tuple(LostBatch(*row) for row in rows)

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """Run one transaction; threads take turns.

        Raises:
            FleetStateError: when the file cannot be written.
        """
        with self._lock:
            try:
                self._database.execute("BEGIN")
                yield self._database
                self._database.execute("COMMIT")
            except BaseException as error:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise FleetStateError(f"ledger {self._path} cannot be written: {error}") from error
                raise


def _cover(database: sqlite3.Connection, name: str, start_us: int, end_us: int) -> None:
    """Add a window, merging it with the ones it touches."""
    before = database.execute(
        "SELECT start_us FROM covered WHERE name = ? AND end_us = ?", [name, start_us]
    ).fetchone()
    after = database.execute(
        "SELECT end_us FROM covered WHERE name = ? AND start_us = ?", [name, end_us]
    ).fetchone()
    if after:
        database.execute("DELETE FROM covered WHERE name = ? AND start_us = ?", [name, end_us])
        end_us = after[0]
    if before:
        database.execute(
            "UPDATE covered SET end_us = ? WHERE name = ? AND start_us = ?", [end_us, name, before[0]]
        )
    else:
        database.execute("INSERT OR REPLACE INTO covered VALUES (?, ?, ?)", [name, start_us, end_us])
