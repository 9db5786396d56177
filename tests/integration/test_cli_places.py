"""What `teiten sensor place|address|maintenance|configure` and `teiten rules` do and say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import pytest

from teiten.cli import parser, place_commands, rules_commands, sensor_verbs
from teiten.fleet.config import FleetConfig
from teiten.foundation.clock import FixedClock
from teiten.foundation.errors import TeitenError
from teiten.foundation.settings import Source
from teiten.loader.reference import ReferenceBook
from teiten.portal.testing import migrated_database

pytestmark = pytest.mark.requirement("R1.1", "R2.1")


class Installation:
    """What the verbs use of an installation."""

    clock: FixedClock
    site = SimpleNamespace(zone="Asia/Tokyo")
    place_dir: Path

    def __init__(self, _source: object) -> None:
        """Take the settings of the test."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Have nothing to close."""

    def start_django(self) -> None:
        """Be set up already."""


@pytest.fixture
def run(
    postgres_server_url: str,
    clock: FixedClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Callable[[str], str]]:
    for module in (place_commands, rules_commands):
        monkeypatch.setattr(module, "Installation", Installation)
    monkeypatch.setattr(Installation, "clock", clock, raising=False)
    monkeypatch.setattr(Installation, "place_dir", tmp_path / "reference", raising=False)
    modules = {"place_commands": place_commands, "rules_commands": rules_commands}

    def type_words(words: str) -> str:
        options = parser.build().parse_args(words.split())
        module, function = options.route.split(":")
        getattr(modules[module], function)(Source({}, {}, "the test"), options)
        return capsys.readouterr().out

    with migrated_database(postgres_server_url):
        sensor_verbs.create_sensor(name="TK-1", region="kanto", clock=clock, config=FleetConfig())
        clock.advance(3600)
        yield type_words


def test_it_works(run: Callable[[str], str], clock: FixedClock) -> None:
    moved = run(
        "sensor place TK-1 --region kansai --kind isp --country JP --asn 64500 --provider Example --mode answering"
    )
    clock.advance(60)
    run("sensor place TK-1 --mode silent --from 2026-11-21T13:00:30")

    listed = run("sensor place TK-1").splitlines()

    assert "kansai\tisp\tanswering\tJP\t64500\tExample" in moved
    assert [line.split("\t")[3:] for line in listed] == [
        ["region", "kind", "mode", "country", "AS", "provider"],
        ["kansai", "isp", "silent", "JP", "64500", "Example"],
        ["kansai", "isp", "answering", "JP", "64500", "Example"],
        ["kanto", "other", "silent", "-", "-", "-"],
    ]


def test_addresses_are_entered_ended_and_listed(run: Callable[[str], str]) -> None:
    run("sensor address TK-1 --public 203.0.113.7 --local 10.0.0.5 --from 2026-11-21")
    entry = (
        run("sensor address TK-1 --public 203.0.113.9 --local 10.0.0.5 --note moved")
        .splitlines()[1]
        .split("\t")[0]
    )
    run(f"sensor address TK-1 --end {entry} --to 2026-11-21T13:30")

    listed = [line.split("\t") for line in run("sensor address TK-1").splitlines()[1:]]

    assert [(row[1], row[2], *row[3:]) for row in listed] == [
        (
            "2026-11-21 04:00:00 UTC",
            "2026-11-21 04:30:00 UTC",
            "203.0.113.9",
            "10.0.0.5",
            "configured",
            "moved",
        ),
        ("2026-11-20 15:00:00 UTC", "2026-11-21 04:00:00 UTC", "203.0.113.7", "10.0.0.5", "configured", "-"),
    ]


def test_maintenance_is_planned_listed_and_cancelled(run: Callable[[str], str]) -> None:
    planned = run("sensor maintenance TK-1 --from 2026-11-22T01:00 --to 2026-11-22T03:00 --reason router")
    assert "router" in planned
    entry = planned.splitlines()[1].split("\t")[0]

    run(f"sensor maintenance TK-1 --cancel {entry}")

    assert run("sensor maintenance TK-1").splitlines() == ["entry\tfrom\tto\treason"]


def test_payload_is_switched_off(run: Callable[[str], str]) -> None:
    assert "payload_bytes 0, examples_per_window as it is set" in run("sensor configure TK-1 --payload 0")


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ("sensor place TK-9", "no sensor 'TK-9'"),
        ("sensor place TK-1 --region kansai --from 2027-01-01", "lies in the future"),
        ("sensor place TK-1 --country japan", "^country: "),
        ("sensor address TK-1 --local 10.0.0.5", "--public is missing"),
        ("sensor address TK-1 --public 10.0.0.5", "cannot be reached"),
        ("sensor address TK-1 --public 203.0.113.7 --from yesterday", "--from: 'yesterday' is no instant"),
        ("sensor maintenance TK-1 --from 2026-11-22", "--from and --to is missing"),
        ("sensor maintenance TK-1 --from 2026-11-23 --to 2026-11-22 --reason x", "not after it starts"),
        ("sensor maintenance TK-1 --cancel 99", "no maintenance 99"),
        ("sensor configure TK-1 --payload 5000", "payload_bytes"),
    ],
)
def test_what_is_refused_says_why(run: Callable[[str], str], words: str, rule: str) -> None:
    with pytest.raises(TeitenError, match=rule):
        run(words)


def test_rule_files_are_checked_then_used(run: Callable[[str], str], tmp_path: Path) -> None:
    path = tmp_path / "bogons.csv"
    path.write_text(
        "network,valid_from,valid_to,source,reason\n198.18.0.0/15,2000-01-01,,RFC 2544,benchmarks\n"
    )

    assert "1 bogon networks; nothing was changed" in run(f"rules check bogons {path}")
    used = run(f"rules use bogons {path}")
    book = ReferenceBook(tmp_path / "reference")
    assert book.current_version() in used
    assert len(book.open(book.current_version()).bogons.rows) == 1
    run("rules use bogons")
    assert len(book.open(book.current_version()).bogons.rows) > 10, "what ships with Teiten again"


@pytest.mark.parametrize(
    ("kind", "line", "rule"),
    [
        ("bogons", "0.0.0.0/0,2000-01-01,,RFC,all", "line 2: .*0.0.0.0/0 is too broad"),
        ("bogons", "198.18.0.0/33,2000-01-01,,RFC,x", "line 2: .*is no IPv4 or IPv6 prefix"),
        ("bogons", "198.18.0.0/15,2001-01-01,2000-01-01,RFC,x", "line 2: valid_to .* is not after"),
        ("bogons", "198.18.0.0/15,2000-01-01,,RFC", "line 2: 4 fields"),
        ("probes", "x y,udp,53,prefix,00 00,,me", "line 2: label 'x y'"),
        ("probes", "dns-x,udp,99999,prefix,00 00,,me", "line 2: port 99999"),
        ("probes", "dns-x,udp,53,prefix,zz,,me", "line 2: pattern has 'zz'"),
    ],
)
def test_a_file_with_an_error_changes_nothing(
    run: Callable[[str], str], tmp_path: Path, kind: str, line: str, rule: str
) -> None:
    heads = {
        "bogons": "network,valid_from,valid_to,source,reason",
        "probes": "label,protocol,port,match,pattern,trigger,source",
    }
    path = tmp_path / f"{kind}.csv"
    path.write_text(f"{heads[kind]}\n{line}\n")

    for verb in ("check", "use"):
        with pytest.raises(TeitenError, match=rule):
            run(f"rules {verb} {kind} {path}")

    assert not (tmp_path / "reference").exists()
