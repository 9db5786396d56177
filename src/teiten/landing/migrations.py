"""Bring the schema ``landing`` up to date: numbered SQL files, each applied once, in order."""

from __future__ import annotations

import re
from importlib import resources

import psycopg

from teiten.landing.errors import LandingUnavailable, MigrationError

_NAME = re.compile(r"([0-9]{4})_[a-z0-9_]+\.sql")
#: Taken by whoever migrates, so that two processes that start together do not both do it.
_LOCK = 7_265_101

_PREPARE = """
CREATE SCHEMA IF NOT EXISTS landing;
CREATE TABLE IF NOT EXISTS landing.migrations (
    number integer PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


def list_migrations() -> list[tuple[int, str, str]]:
    """List number, file name and SQL of every migration, in order."""
    found = []
    for entry in resources.files("teiten.landing").joinpath("sql").iterdir():
        match = _NAME.fullmatch(entry.name)
        if match is not None:
            found.append((int(match[1]), entry.name, entry.read_text(encoding="utf-8")))
    return sorted(found)


def migrate(dsn: str) -> list[str]:
    """Apply what is missing, and give the names of what was applied.

    Raises:
        LandingUnavailable: when the database does not answer.
        MigrationError: when a migration fails; those before it stay applied.
    """
    try:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
            try:
                connection.execute(_PREPARE)
                return _apply_missing(connection)
            finally:
                connection.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])
    except psycopg.OperationalError as error:
        raise LandingUnavailable(f"the ledger's database does not answer: {error}") from error


def _apply_missing(connection: psycopg.Connection) -> list[str]:
    done = {row[0] for row in connection.execute("SELECT number FROM landing.migrations")}
    applied = []
    for number, name, text in list_migrations():
        if number in done:
            continue
        try:
            with connection.transaction():
                connection.execute(text.encode())
                connection.execute(
                    "INSERT INTO landing.migrations (number, name) VALUES (%s, %s)", [number, name]
                )
        except psycopg.Error as error:
            raise MigrationError(f"landing migration {name} failed: {error}") from error
        applied.append(name)
    return applied
