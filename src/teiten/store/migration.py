"""Numbered forward migrations: ``migrations/NNNN_what.sql``, applied in order, each once.

Every statement is idempotent, so a migration cut short is simply run again. A file
that has been applied must not change any more; its digest is recorded and compared.
``-- blocking: yes`` on the first line marks one that rewrites data: it runs only when
it is asked for. ``-- rebuild: days`` there marks one after which the days that are
stored need their roll-ups made again (:mod:`teiten.store.backfill`). ``$zone`` stands for
the installation's zone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from string import Template

import pyarrow as pa

from teiten.foundation.clock import Clock, from_us
from teiten.store.connections import Connections
from teiten.store.errors import StoreMismatch

_FILE = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_RECORD = """
CREATE TABLE IF NOT EXISTS schema_migrations
(number UInt32, name String, digest String, applied_at DateTime64(6, 'UTC'))
ENGINE = ReplacingMergeTree ORDER BY number
"""
_META = """
CREATE TABLE IF NOT EXISTS store_meta
(name String, value String)
ENGINE = ReplacingMergeTree ORDER BY name
"""


@dataclass(frozen=True)
class Migration:
    """One file of the folder ``migrations``."""

    number: int
    name: str
    text: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def is_blocking(self) -> bool:
        return self.text.startswith("-- blocking: yes")

    @property
    def needs_rebuild(self) -> bool:
        return self.text.startswith("-- rebuild: days")

    def statements(self, zone: str) -> list[str]:
        """Give the single statements, without comment lines, with the zone filled in."""
        plain = re.sub(r"^\s*--.*$", "", self.text, flags=re.MULTILINE)
        filled = Template(plain).substitute(zone=zone)
        return [part.strip() for part in re.split(r";\s*(?:\n|$)", filled) if part.strip()]


def list_migrations() -> list[Migration]:
    """Read all migrations of the package in order."""
    found = []
    for entry in resources.files("teiten.store").joinpath("migrations").iterdir():
        match = _FILE.fullmatch(entry.name)
        if match:
            found.append(Migration(int(match[1]), match[2], entry.read_text(encoding="utf-8")))
    return sorted(found, key=lambda migration: migration.number)


def list_pending(connections: Connections) -> list[Migration]:
    """Give the migrations that this store has not seen.

    Raises:
        StoreMismatch: when an applied one has changed or this program does not know it.
    """
    applied = _applied(connections)
    known = {migration.number: migration for migration in list_migrations()}
    for number, (name, digest) in applied.items():
        if number not in known:
            raise StoreMismatch(
                f"the store has migration {number:04} ({name}), which this program does not know;"
                " it was written by a newer version: install that or a later one"
            )
        if known[number].digest != digest:
            raise StoreMismatch(
                f"migration {number:04} ({name}) was applied with another text than this program has;"
                " applied migrations must not change: restore the file and add a new one"
            )
    return [migration for number, migration in known.items() if number not in applied]


def migrate(
    connections: Connections,
    zone: str,
    clock: Clock,
    *,
    up_to: int | None = None,
    allow_blocking: bool = False,
    announce: Callable[[str], None] | None = None,
) -> list[int]:
    """Bring the schema forward and give the numbers applied.

    Raises:
        StoreMismatch: as :func:`list_pending` does, or when a blocking one is not allowed.
    """
    create_records(connections)
    done = []
    for migration in list_pending(connections):
        if up_to is not None and migration.number > up_to:
            break
        if migration.is_blocking and not allow_blocking:
            raise StoreMismatch(
                f"migration {migration.number:04} ({migration.name}) rewrites stored data and may take long;"
                " run it when the loader may stand still, with --blocking"
            )
        if announce is not None:
            announce(f"migration {migration.number:04} {migration.name}")
        for statement in migration.statements(zone):
            connections.command(statement, role="maintenance")
        _record(connections, migration, clock)
        done.append(migration.number)
    return done


def create_records(connections: Connections) -> None:
    """Make the tables in which the store describes itself."""
    connections.command(_RECORD, role="maintenance")
    connections.command(_META, role="maintenance")


def describe_pending(connections: Connections, zone: str) -> str:
    """Give the SQL that :func:`migrate` would run (``--dry-run``)."""
    create_records(connections)
    parts = []
    for migration in list_pending(connections):
        parts.append(f"-- {migration.number:04} {migration.name}")
        parts.extend(f"{statement};" for statement in migration.statements(zone))
    return "\n\n".join(parts)


def _applied(connections: Connections) -> dict[int, tuple[str, str]]:
    rows = connections.select(
        "SELECT number, name, digest FROM schema_migrations FINAL ORDER BY number", role="maintenance"
    ).to_pylist()
    return {row["number"]: (row["name"], row["digest"]) for row in rows}


def _record(connections: Connections, migration: Migration, clock: Clock) -> None:
    row = {
        "number": [migration.number],
        "name": [migration.name],
        "digest": [migration.digest],
        "applied_at": [from_us(clock.now_us())],
    }
    connections.insert(
        "schema_migrations",
        pa.table(row),
        token=f"migration-{migration.number}-{migration.digest}",
        role="maintenance",
    )
