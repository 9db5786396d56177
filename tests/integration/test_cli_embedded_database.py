"""The embedded PostgreSQL after kills: it comes back, whatever its files look like."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from teiten.cli.embedded import EmbeddedPostgres


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="teiten-pg-"))
    made.chmod(0o755)
    yield made / "pg"
    shutil.rmtree(made, ignore_errors=True)


def ask(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT 1").fetchone()
    return int(row[0]) if row else 0


def kill_server(folder: Path) -> None:
    pid = int((folder / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    while Path(f"/proc/{pid}").exists() and "(postgres) Z" not in Path(f"/proc/{pid}/stat").read_text():
        time.sleep(0.02)


def test_a_killed_server_is_started_again(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    url = server.start()
    try:
        assert not server.revive()
        kill_server(folder)

        assert server.revive()
        assert ask(url) == 1
    finally:
        server.stop()


def test_a_pid_file_that_names_another_program_or_is_torn_does_not_keep_the_server_down(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    url = server.start()
    server.stop()
    for text in (f"{os.getpid()}\n{folder}\n1795232810\n5432\n{folder}\n\n1 2\nready\n", "4194303\n/x\n"):
        (folder / "postmaster.pid").write_text(text)
        server = EmbeddedPostgres(folder)
        assert server.start() == url
        assert ask(url) == 1
        server.stop()


def test_a_folder_whose_making_was_interrupted_is_made_anew(folder: Path) -> None:
    folder.mkdir()
    (folder / "PG_VERSION").write_text("18\n")
    folder.with_name("pg.making").write_text("unfinished\n")
    server = EmbeddedPostgres(folder)
    try:
        assert ask(server.start()) == 1
        assert folder.with_name("pg.making").stat().st_size == 0
    finally:
        server.stop()
