"""`teiten command|rollout|audit …` as typed, over a real PostgreSQL."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import psycopg
import pytest

from teiten.cli import audit_commands, audit_doors, command_commands, parser, rollout_commands
from teiten.cli.errors import CliError
from teiten.cli.installation import Installation as RealInstallation
from teiten.fleet.errors import FleetError
from teiten.foundation.clock import FixedClock
from teiten.foundation.settings import Source
from teiten.portal.testing import Cast
from teiten.protocol import command_testing as testing
from teiten.protocol import commands as wire
from teiten.protocol.commands import Targets

sys.path.insert(0, str(Path(__file__).parent))
from command_fixtures import enter_sensors, make_content, make_result, payload_of, seconds

pytestmark = pytest.mark.requirement("R1.3", "R2.1")
Type = Callable[..., str]


@pytest.fixture
def type_words(
    cast: Cast,
    clock: FixedClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Type:
    """Type a verb; its installation is the test's database and clock."""
    settings = RealInstallation(Source({"site": {"data_dir": str(tmp_path)}}, {}, "the test"), clock)

    class Installation(SimpleNamespace):
        def __init__(self, _source: object) -> None:
            super().__init__(
                clock=clock, section=settings.section, audit_dir=settings.audit_dir, start_django=lambda: None
            )

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            """Have nothing to close."""

    for module in (audit_commands, command_commands, rollout_commands):
        monkeypatch.setattr(module, "Installation", Installation)
    modules = {
        "audit_commands": audit_commands,
        "command_commands": command_commands,
        "rollout_commands": rollout_commands,
    }

    def type_them(*words: str, code: int = 0) -> str:
        options = parser.build().parse_args(list(words))
        module, function = options.route.split(":")
        capsys.readouterr()
        assert getattr(modules[module], function)(Source({}, {}, "the test"), options) == code
        said = capsys.readouterr()
        return said.out + said.err

    return type_them


@pytest.fixture
def sensors(cast: Cast, clock: FixedClock, type_words: Type, tmp_path: Path) -> list[int]:
    path = tmp_path / "operators.json"
    path.write_bytes(testing.make_operators(seconds(clock)).to_json())
    said = type_words("command", "operators", str(path))
    assert "eve\t" in said
    assert "withdrawn" in said
    return enter_sensors(cast, clock, 200)


def test_it_works(type_words: Type, clock: FixedClock, sensors: list[int], tmp_path: Path) -> None:
    from teiten.fleet.commands.answering import Told, take_results
    from teiten.fleet.commands.models import Command

    said = type_words(
        "command",
        "preview",
        "--selector",
        "org = alpha and version < 1.4",
        "--output",
        str(tmp_path / "t.json"),
    )
    assert said.startswith(f"199 sensors, sha256 {wire.digest_of_sensors(sensors[1:]).hex()}")
    assert "TK-00010 and 189 more" in said
    printed = json.loads(type_words("command", "targets", "org = alpha and version < 1.4"))
    assert printed["sensors"][0] == {"number": sensors[1], "name": "TK-00001"}
    assert printed == json.loads((tmp_path / "t.json").read_text())
    targets = Targets(
        selector="org = alpha", max_sensors=500, resolved_sha256=wire.digest_of_sensors(sensors[1:])
    )
    path = tmp_path / "c.json"
    path.write_bytes(make_content([], clock, "alice", verb="restart", targets=targets))

    dry = type_words("command", "submit", str(path), "--targets", str(tmp_path / "t.json"), "--dry-run")
    assert "199 sensors (org = alpha)" in dry
    assert "by region: kanto 199" in dry
    assert Command.objects.count() == 0
    assert "1 of 2 persons" in type_words(
        "command", "submit", str(path), "--targets", str(tmp_path / "t.json")
    )
    path.write_bytes(make_content([], clock, "bob", verb="restart", targets=targets))
    said = type_words("command", "submit", str(path), "--start", "--stages", "1,100", "--yes")
    assert "has begun with 2 sensors" in said

    command = Command.objects.get()
    first = command.rollout.targets.filter(state="released").first().sensor
    take_results(
        [Told(first.pk, command.pk, *make_result(command.pk, first.pk, payload_of(command)))], at=clock.now()
    )
    assert "1 done" in type_words("command", "show", command.pk[:20])
    assert "all is well" in type_words("command", "show", command.pk, "--sensor", first.name)
    assert "queued" in type_words("command", "show", command.pk, "--results")
    assert command.pk in type_words("command", "list")
    assert "1 %\t1 ok, 1 released" in type_words("rollout", "show", str(command.rollout.pk))
    assert "paused" in type_words("rollout", "pause", str(command.rollout.pk), "--reason", "look")
    assert "\tpaused\t" in type_words("rollout", "list")
    type_words("rollout", "resume", str(command.rollout.pk), "--reason", "fine")
    assert "198 sensors never get it" in type_words("command", "stop", command.pk, "--reason", "enough")
    assert command.pk in type_words("rollout", "list", "--all")
    assert command.pk not in type_words("rollout", "list")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("command", "preview", "--selector", "colour = red"), "a field is wanted"),
        (("command", "submit", "nowhere.json"), "cannot be read"),
        (("command", "show", "XYZ"), "there is no command"),
        (("command", "stop", "", "--reason", "x"), "there is no command"),
        (("rollout", "stop", "99", "--reason", "x"), "there is no roll-out 99"),
        (("audit", "verify", "--from", "0"), "number of a record"),
        (("audit", "verify", "--key", "zz"), "64 hexadecimal digits"),
    ],
)
def test_mistakes_are_told(
    type_words: Type, sensors: list[int], words: tuple[str, ...], message: str
) -> None:
    with pytest.raises((CliError, FleetError), match=message):
        type_words(*words)


def test_files_that_are_none_are_told(
    type_words: Type, clock: FixedClock, sensors: list[int], tmp_path: Path
) -> None:
    good, bad = tmp_path / "c.json", tmp_path / "bad.json"
    good.write_bytes(make_content(sensors[:1], clock))
    bad.write_text('{"sensors": ["x"]}')
    worse = tmp_path / "worse.json"
    worse.write_text('{"sensors": 7}')

    with pytest.raises(CliError, match="list of numbers"):
        type_words("command", "submit", str(good), "--targets", str(bad))
    with pytest.raises(CliError, match="no targets file"):
        type_words("command", "submit", str(good), "--targets", str(worse))
    with pytest.raises(FleetError, match="no list of operators"):
        type_words("command", "operators", str(bad))
    with pytest.raises(CliError, match="percentages"):
        type_words("command", "submit", str(good), "--start", "--yes", "--stages", "few")
    with pytest.raises(CliError, match="nobody can be asked"):
        type_words("command", "start", make_id(clock), "--stages", "100")


def test_what_slips_is_said(type_words: Type, clock: FixedClock, sensors: list[int], tmp_path: Path) -> None:
    from teiten.fleet.commands.errors import CommandStateError
    from teiten.fleet.models import Sensor, SensorHealth

    with pytest.raises(CliError, match="'region = nowhere' means nobody"):
        type_words("command", "preview", "--selector", "region = nowhere", "--output", str(tmp_path / "t"))
    assert not (tmp_path / "t").exists()
    with pytest.raises(CliError, match="means nobody"):
        type_words("command", "targets", "region = nowhere")
    Sensor.objects.filter(pk=sensors[0]).update(state="suspended")
    SensorHealth.objects.filter(pk__in=sensors[:2]).update(heartbeat_at=clock.now() - timedelta(hours=1))
    said = type_words("command", "preview", "--selector", "region != kantoo")
    assert "these are ALL sensors that there are" in said
    assert "2 of them are silent now" in said
    assert "1 of them are suspended" in said
    assert "ALL" not in type_words("command", "preview", "--selector", "org = alpha")

    half = tmp_path / "half.json"
    half.write_bytes(make_content(sensors, clock, "alice", verb="restart"))
    said = type_words("command", "submit", str(half), "--start", "--yes", code=1)
    assert "1 of 2 persons have validly signed" in said
    assert "it was not started" in said
    command_id = said.partition(":")[0]
    with pytest.raises(
        CommandStateError, match="is signed, not approved; hand it in again with the signatures"
    ):
        type_words("command", "start", command_id, "--yes")
    half.write_bytes(make_content(sensors, clock, "alice", "bob", verb="restart"))
    with pytest.raises(FleetError, match="the rate must be 1 to 10000 sensors a minute, not 0"):
        type_words("command", "submit", str(half), "--start", "--yes", "--per-minute", "0")


def make_id(clock: FixedClock) -> str:
    return testing.make_command(now_s=seconds(clock)).command_id


def test_the_chain_is_checked_and_its_heads_are_kept(
    type_words: Type, database: str, clock: FixedClock, sensors: list[int], tmp_path: Path
) -> None:
    from teiten.accounts import audit
    from teiten.automation import jobs

    heads = audit_doors.AuditHeads(tmp_path / "audit")
    context = jobs.Context(clock=clock, audit=heads)
    path = tmp_path / "c.json"
    path.write_bytes(make_content(sensors[:3], clock))
    type_words("command", "submit", str(path), "--start", "--yes")
    elsewhere = tmp_path / "elsewhere.jsonl"
    elsewhere.write_text(type_words("audit", "head"))
    last = audit.read_head(at=clock.now()).number
    assert jobs.get_job("audit.head").run(context) == {"number": last}
    # A crash in the middle of a line takes nothing else with it.
    with heads.path.open("a") as file:
        file.write('{"number":')
    jobs.get_job("audit.head").run(context)

    said = type_words("audit", "verify", "--heads", str(elsewhere))
    assert "3 signed heads compared" in said
    assert "the chain holds" in said
    lines = type_words("audit", "export", "--from", "2").splitlines()
    assert json.loads(json.loads(lines[0])["content"])["number"] == 2
    type_words("audit", "export", "--output", str(tmp_path / "all.jsonl"))
    assert len((tmp_path / "all.jsonl").read_text().splitlines()) == last

    with psycopg.connect(database) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("DELETE FROM accounts_auditrecord WHERE number = %s", [last])
    said = type_words("audit", "verify", code=1)
    assert f"BROKEN at record {last}: a signed head names it" in said
    with pytest.raises(Exception, match="not by the expected one"):
        type_words("audit", "verify", "--heads", str(elsewhere), "--key", "00" * 32)


def test_rollouts_go_on_by_the_clocks_job(
    type_words: Type, clock: FixedClock, sensors: list[int], tmp_path: Path
) -> None:
    from teiten.automation import jobs

    path = tmp_path / "c.json"
    path.write_bytes(make_content(sensors, clock))
    type_words("command", "submit", str(path), "--start", "--yes", "--stages", "100", "--per-minute", "50")
    clock.advance(61)

    facts = jobs.get_job("fleet.rollouts").run(jobs.Context(clock=clock))
    assert facts == {"released": 50, "halted": 0}
