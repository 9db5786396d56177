"""`teiten host|alarm|canary …` as typed, over a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import pytest

from teiten.cli import alarm_commands, canary_commands, host_commands, parser
from teiten.cli.errors import CliError
from teiten.cli.installation import Installation as RealInstallation
from teiten.fleet.errors import FleetError
from teiten.foundation.clock import FixedClock
from teiten.foundation.settings import Source
from teiten.portal.testing import Cast

pytestmark = pytest.mark.requirement("R1.3", "R2.1")
Type = Callable[..., str]
MODULES = {
    "alarm_commands": alarm_commands,
    "canary_commands": canary_commands,
    "host_commands": host_commands,
}


@pytest.fixture
def type_words(
    clock: FixedClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Type:
    """Type a verb; its installation is the test's database and clock."""
    settings = RealInstallation(Source({"site": {"data_dir": str(tmp_path)}}, {}, "the test"), clock)

    class Installation(SimpleNamespace):
        def __init__(self, _source: object) -> None:
            super().__init__(clock=clock, section=settings.section, start_django=lambda: None)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            """Have nothing to close."""

    for module in MODULES.values():
        monkeypatch.setattr(module, "Installation", Installation)

    def type_them(*words: str) -> str:
        options = parser.build().parse_args(list(words))
        module, function = options.route.split(":")
        capsys.readouterr()
        assert getattr(MODULES[module], function)(Source({}, {}, "the test"), options) == 0
        return capsys.readouterr().out

    return type_them


@pytest.fixture
def sensor(cast: Cast, clock: FixedClock):
    from teiten.fleet import services
    from teiten.fleet.config import FleetConfig
    from teiten.fleet.models import ObservedAddress

    region = services.find_or_create_region(code="kanto", name_ja="関東", name_en="Kanto")
    made = services.create_sensor(
        name="TK-001",
        region=region,
        organisation=cast.alpha,
        dataset="live",
        act=services.Act(clock.now()),
        config=FleetConfig(),
    ).sensor
    made.state, made.enrolled_at = "active", clock.now()
    made.save()
    ObservedAddress.objects.create(
        sensor=made,
        local="192.0.2.7/32",
        public="192.0.2.7/32",
        valid_from=clock.now(),
        known_by="configured",
    )
    return made


def test_hosts(type_words: Type, sensor: object) -> None:
    said = type_words("host", "contact", "alpha", "--name", "NOC", "--mail", "noc@alpha.example")
    number = said.split()[1]
    assert type_words("host", "agree", "alpha", "--classes", "A,C", "--note", "mail of May") == (
        "alpha agrees to commands of class A, C\n"
    )
    shown = type_words("host", "show", "alpha")
    assert "1 sensors" in shown
    assert "A, C (since 2026-11-21 03:00:00 UTC: mail of May)" in shown
    assert "noc@alpha.example" in shown
    type_words("host", "contact", "alpha", "--remove", number)
    assert "noc@" not in type_words("host", "show", "alpha")
    assert "is suspended now" in type_words("host", "pause", "TK-001", "--reason", "move")
    assert "is active now" in type_words("host", "resume", "TK-001", "--reason", "back")
    assert "is revoked now" in type_words("host", "withdraw", "TK-001", "--reason", "gone")
    with pytest.raises(FleetError, match="no organisation 'nobody'"):
        type_words("host", "show", "nobody")


def test_alarms(type_words: Type, sensor: object, clock: FixedClock) -> None:
    from teiten.fleet.alarms.watching import watch_alarms
    from teiten.fleet.config import FleetConfig

    assert type_words("alarm", "list").count("\n") == 1
    clock.advance(200)
    watch_alarms(now=clock.now(), config=FleetConfig())
    line = type_words("alarm", "list").splitlines()[1].split("\t")
    assert (line[1], line[2], line[3], line[5]) == ("silent", "TK-001", "alpha", "-")
    assert "stays open until it is over" in type_words("alarm", "ack", line[0])
    assert type_words("alarm", "list", "--all", "--parts").count("\n") == 2
    with pytest.raises(FleetError, match="no alarm 999999"):
        type_words("alarm", "ack", "999999")


def test_canaries(type_words: Type, sensor: object, clock: FixedClock, tmp_path: Path) -> None:
    from teiten.fleet.canary import files
    from teiten.protocol import canary

    key, plan = tmp_path / "key.json", tmp_path / "plan.json"
    said = type_words("canary", "register", "lab", "--address", "203.0.113.9", "--output", str(key))
    assert files.read_key_file(key).key.hex() not in said
    with pytest.raises(CliError, match="is there already"):
        type_words("canary", "register", "b", "--address", "203.0.113.8", "--output", str(key))
    assert "1 addresses of 1 sensors" in type_words("canary", "plan", "lab", "--output", str(plan))
    held, made = files.read_key_file(key), files.read_plan(plan)
    slot = clock.now_us() // 900_000_000
    due = tuple(
        canary.list_probes(
            held.key, made.targets, slot=slot, tcp_ports=made.tcp_ports, udp_ports=made.udp_ports
        )
    )
    log = files.write_log(tmp_path, files.SentLog("lab", slot, due), key=held.key)
    assert "2 canaries of prober lab" in type_words("canary", "bring", str(log))
    assert "taken up before" in type_words("canary", "bring", "--delete", str(tmp_path))
    assert not log.exists()
    with pytest.raises(CliError, match="does its folder get here"):
        type_words("canary", "bring", str(tmp_path))
    said = type_words("canary", "status").splitlines()
    assert said[1].split("\t")[0] == "lab"
    assert said[1].split("\t")[3:5] == ["2", "0/0"]
    assert "tcp/445\t0\tlab" in said
    from teiten.fleet.models import Sensor

    assert type_words("canary", "reach").count("\n") == 1
    add_reach(Sensor.objects.get(), clock)
    assert "tcp/23\t9\t2\t7" in type_words("canary", "reach", "--sensor", "TK-001")
    type_words("canary", "revoke", "lab")
    assert "2026-11-21" in type_words("canary", "list").splitlines()[1].split("\t")[4]
    for words, rule in (
        (("--per-second", "0"), "--per-second"),
        (("--log", str(key)), "is no folder"),
    ):
        with pytest.raises(CliError, match=rule):
            type_words(
                "canary", "send", "--key", str(key), "--plan", str(plan), "--log", str(tmp_path), *words
            )


def add_reach(sensor, clock: FixedClock) -> None:
    from teiten.fleet.canary.models import Reach

    Reach.objects.create(
        sensor=sensor,
        address="192.0.2.7",
        protocol=6,
        port=23,
        arrived=2,
        lost=7,
        lost_in_row=7,
        lost_since=clock.now() - timedelta(days=4),
        last_tried_at=clock.now(),
    )
