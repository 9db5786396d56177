"""What is typed and what is answered: examples that can be typed, errors from outside in words, nobody's folder but one's own."""

from __future__ import annotations

import argparse
import errno
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from teiten.cli import files, installation, making_commands, parser, words
from teiten.cli import main as cli_main
from teiten.cli.errors import CliError
from teiten.cli.examples import EXAMPLES
from teiten.cli.explaining import explain
from teiten.cli.installation import Installation
from teiten.fleet.errors import FleetInputError
from teiten.fleet.installing import NewFiles
from teiten.foundation.settings import Source

pytestmark = pytest.mark.requirement("R1.3", "R1.4")
#: Groups of verbs about the fleet; each verb shows an example.
GROUPS = ("sensor", "release", "command", "rollout", "audit", "alarm")


def list_verbs(
    given: argparse.ArgumentParser, path: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    choices = [one.choices for one in given._actions if isinstance(one, argparse._SubParsersAction)]
    if not choices:
        yield path, given
    for name, below in (item for found in choices for item in found.items()):
        yield from list_verbs(below, f"{path} {name}".strip())


def test_every_verb_about_the_fleet_shows_an_example_that_can_be_typed() -> None:
    verbs = {path: one for path, one in list_verbs(parser.build()) if path.split(" ")[0] in GROUPS}
    assert sorted(verbs) == sorted(EXAMPLES)
    for path, example in EXAMPLES.items():
        typed = shlex.split(example.partition(" >")[0])
        assert typed[0] == "teiten"
        assert parser.build().parse_args(typed[1:]).route == verbs[path].get_default("route"), path
        assert example in verbs[path].format_help()


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5", "9" * 30, ""])
def test_a_number_out_of_range_is_wrong_usage(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parser.build().parse_args(["rollout", "show", text])
    assert caught.value.code == 2
    assert "must be a whole number from 1" in capsys.readouterr().err
    assert words.whole(1)("7") == 7


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/srv/x"), "/srv/x: No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", "/srv/x"), "as the user whom Teiten runs as"),
        (EOFError(), "nobody could be asked"),
        (
            psycopg.OperationalError("connection refused\nmore"),
            "does not answer (connection refused); is Post",
        ),
        (psycopg.errors.UndefinedTable("no such table"), "run `teiten migrate` first"),
        (psycopg.errors.DiskFull("full"), "make room"),
        (psycopg.errors.ReadOnlySqlTransaction("no"), "refuses to be changed"),
        (psycopg.ProgrammingError('missing "=" in connection info string'), "database.url cannot be read"),
        (psycopg.errors.UniqueViolation("a fault of ours"), None),
        (ValueError("a fault of ours"), None),
    ],
)
def test_what_comes_from_outside_is_told_in_words(error: Exception, said: str | None) -> None:
    told = explain(error)
    assert told is None if said is None else said in str(told)


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (OSError(errno.EROFS, "Read-only file system", "/srv"), 1, "teiten: /srv: Read-only file system\n"),
        (KeyboardInterrupt(), 130, "teiten: interrupted; what was not finished was not begun\n"),
    ],
)
def test_a_verb_that_fails_says_one_line(
    raised: BaseException,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> int:
        raise raised

    monkeypatch.setattr(cli_main, "_verb_of", lambda _: fail)
    monkeypatch.setattr("teiten.foundation.logs.set_up", lambda **_: None)
    assert cli_main.main(["sensor", "list"]) == code
    assert capsys.readouterr().err == said
    raised = ValueError("a fault of ours")
    monkeypatch.setattr(cli_main, "_verb_of", lambda _: lambda *_: (_ for _ in ()).throw(ValueError("ours")))
    with pytest.raises(ValueError, match="ours"):
        cli_main.main(["sensor", "list"])


def test_nobody_works_in_anothers_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source({"site": {"data_dir": str(tmp_path)}}, {}, "the test")
    assert Installation(source).data_dir == tmp_path
    monkeypatch.setattr(installation.os, "geteuid", lambda: 0)
    owner = tmp_path.stat().st_uid or 54321
    if tmp_path.stat().st_uid == 0:
        os.chown(tmp_path, owner, -1)
    with pytest.raises(CliError, match=rf"belongs to user .*{owner}.*sudo -u"):
        assert Installation(source).data_dir
    os.chown(tmp_path, os.getuid(), -1)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("TK;rm",), "NAME 'TK;rm' must begin with a letter"),
        (("TK\n",), "NAME 'TK"),
        (("TK", "--region", "KANTO xx"), "--region 'KANTO xx' must be a code"),
        (("TK", "--region", ""), "--region '' must be a code"),
        (("TK", "--org", "Example"), "--org 'Example' must be a code"),
        (("TK", "--count", "5"), "name the folder"),
        (("TK", "--output", "o", "--bundle", "b"), "--bundle is for one sensor"),
    ],
)
def test_words_that_cannot_name_a_sensor_are_refused_first(typed: tuple[str, ...], said: str) -> None:
    options = parser.build().parse_args(["sensor", "create", "--region", "kanto", *typed])
    with pytest.raises(CliError, match=said.replace("(", r"\(")):
        making_commands.create(Source({}, {}, "the test"), options)


def test_a_folder_of_scripts_is_looked_at_before_sensors_are_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(FleetInputError, match="it is no folder; nothing was made"),
        NewFiles(tmp_path / "file"),
    ):
        pass
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "TK-0002.user-data.yaml").write_text("holds a token")
    with (
        pytest.raises(FleetInputError, match=r"TK-0002\.user-data\.yaml is there already.*Nothing was made"),
        NewFiles(folder, ["TK-0001", "TK-0002"]),
    ):
        pass


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "kanto.json"
    files.write_new(path, b"one")
    with pytest.raises(CliError, match="File exists; name another"):
        files.write_new(path, b"two")
    with pytest.raises(CliError, match="cannot be written: No such file"):
        files.replace_file(tmp_path / "no" / "x", b"")
    with pytest.raises(CliError, match="cannot be read: Is a directory"):
        files.read_file(tmp_path)
    with pytest.raises(CliError, match="more than 2 bytes"):
        files.read_file(path, max_bytes=2)
    with pytest.raises(CliError, match="is no JSON"):
        files.read_json(path)
    assert [one.name for one in tmp_path.iterdir()] == ["kanto.json"]


def test_the_launcher_says_that_it_wants_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from teiten.launcher import main as launcher

    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", "/var/lib/teiten-launcher/lock")

    monkeypatch.setattr(launcher.os, "open", refuse)
    monkeypatch.setattr("teiten.foundation.logs.set_up", lambda **_: None)
    assert launcher.main(["--root", str(tmp_path), "commit-check"]) == 1
    said = capsys.readouterr().err
    assert said == "teiten-launcher: /var/lib/teiten-launcher/lock: Permission denied; run it as root\n"
