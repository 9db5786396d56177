"""Alarms are raised for what is wrong, once, tell who must know, and end by themselves."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from teiten.fleet.config import FleetConfig
from teiten.foundation.clock import FixedClock, SystemClock
from teiten.foundation.errors import SettingsError
from teiten.gateway import tls
from teiten.portal.testing import Cast

pytestmark = pytest.mark.requirement("R1.3", "R2.1")
CONFIG = FleetConfig()


def make_sensors(cast: Cast, clock: FixedClock, *names: str, organisation=None, asn: int = 0) -> list[Any]:
    from teiten.fleet import services
    from teiten.fleet.models import SensorHealth
    from teiten.fleet.services import Act
    from teiten.fleet.sites import Site

    region = services.find_or_create_region(code="kanto", name_ja="関東", name_en="Kanto")
    made = []
    for name in names:
        sensor = services.create_sensor(
            name=name,
            region=region,
            organisation=organisation or cast.alpha,
            dataset="live",
            act=Act(clock.now()),
            config=CONFIG,
            site=Site(asn=asn),
        ).sensor
        sensor.state, sensor.enrolled_at = "active", clock.now()
        sensor.save()
        SensorHealth.objects.create(
            sensor=sensor,
            heartbeat_at=clock.now(),
            counter=1,
            boot_id="a",
            booted_at=clock.now(),
            software="1",
        )
        made.append(sensor)
    return made


def watch(clock: FixedClock, config: FleetConfig = CONFIG) -> dict[str, int]:
    from teiten.fleet.alarms.watching import watch_alarms

    return watch_alarms(now=clock.now(), config=config)


def beat(clock: FixedClock, *sensors: Any, **said: Any) -> None:
    from teiten.fleet.models import SensorHealth

    pks = [sensor.pk for sensor in sensors]
    SensorHealth.objects.filter(pk__in=pks).update(heartbeat_at=clock.now(), **said)


def kinds(viewer: Any = None, **how: Any) -> list[tuple[str, str]]:
    from teiten.fleet.alarms.selectors import alarms_visible_to

    found = alarms_visible_to(viewer, **how)
    return sorted((one.kind, one.sensor.name if one.sensor else one.group) for one in found)


def test_it_works(cast: Cast, clock: FixedClock) -> None:
    first, second = make_sensors(cast, clock, "TK-001", "TK-002")
    (other,) = make_sensors(cast, clock, "OS-001", organisation=cast.beta)
    assert watch(clock) == {"opened": 0, "closed": 0, "groups": 0}

    clock.advance(160)
    beat(clock, second, other)
    assert watch(clock) == {"opened": 1, "closed": 0, "groups": 0}
    assert watch(clock) == {"opened": 0, "closed": 0, "groups": 0}, "told once"
    assert kinds() == kinds(cast.alice) == kinds(cast.ann) == [("silent", "TK-001")]
    assert kinds(cast.charlie) == [], "what is another's concerns nobody else"

    beat(clock, first, recent_captured=90, recent_drops=10, clock_offset_us=5_000_000)
    beat(clock, other, ring_fill_permille=900, disk_free_bytes=5, update_state="rolled_back")
    assert watch(clock) == {"opened": 5, "closed": 1, "groups": 0}
    assert kinds(cast.bob) == [("dropping", "TK-001"), ("skewed", "TK-001")]
    assert [kind for kind, _ in kinds(cast.charlie)] == ["disk_low", "ring_full", "update_failed"]
    assert len(kinds(open_only=False)) == 6


def test_what_was_planned_and_what_nobody_lets_in_is_no_alarm(cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet import hosting, maintaining, services
    from teiten.fleet.services import Act

    planned, paused, cloned = make_sensors(cast, clock, "TK-001", "TK-002", "TK-003")
    act = Act(clock.now(), cast.alice)
    maintaining.plan_maintenance(
        planned, start=clock.now(), end=clock.now() + timedelta(hours=1), reason="router", act=act
    )
    hosting.pause_sensor(paused, reason="move", act=act)
    services.quarantine_sensor(cloned.pk, at=clock.now(), why="test")

    clock.advance(300)
    beat(clock, cloned)
    watch(clock)
    assert kinds() == [("cloned", "TK-003")]
    clock.advance(3600)
    beat(clock, cloned)
    watch(clock)
    assert kinds() == [("cloned", "TK-003"), ("silent", "TK-001")], "it should be back by now"


def test_many_at_once_are_one_alarm_for_operators_and_own_sensors_for_hosts(
    cast: Cast, clock: FixedClock
) -> None:
    from teiten.fleet.alarms.models import Alarm

    away = make_sensors(cast, clock, *(f"A-{n:02}" for n in range(12)), asn=64_500)
    theirs = make_sensors(cast, clock, "B-01", organisation=cast.beta, asn=64_500)
    rest = make_sensors(cast, clock, *(f"C-{n:02}" for n in range(20)), organisation=cast.beta, asn=64_501)

    clock.advance(200)
    beat(clock, *rest)
    watch(clock)

    assert kinds() == kinds(cast.ann) == [("mass_silence", "asn 64500")]
    assert Alarm.objects.get(kind="mass_silence").detail == {"sensors": 13, "expected": 13}
    assert kinds(cast.charlie) == [("silent", "B-01")], "a host is told of its own, and of no AS of others"
    assert len(kinds(cast.alice)) == 12
    assert len(kinds(with_parts=True)) == 14

    clock.advance(30)
    beat(clock, *rest, *away[1:], *theirs)
    watch(clock)
    assert watch(clock) == {"opened": 0, "closed": 0, "groups": 0}
    assert kinds() == [("silent", "A-00")], "whoever stays silent is a thing of its own then"


def test_whoever_follows_joins_the_group(cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet.alarms.models import Alarm

    away = make_sensors(cast, clock, *(f"A-{n:02}" for n in range(14)), asn=64_500)
    rest = make_sensors(cast, clock, *(f"C-{n:02}" for n in range(40)), organisation=cast.beta)
    clock.advance(100)
    beat(clock, away[0], *rest)
    clock.advance(60)
    watch(clock)
    clock.advance(100)
    beat(clock, *rest)
    watch(clock)

    assert kinds() == [("mass_silence", "org alpha")] or kinds() == [("mass_silence", "asn 64500")]
    assert Alarm.objects.get(kind="mass_silence").detail["sensors"] == 14


def test_what_happened_stays_until_somebody_has_seen_it(cast: Cast, clock: FixedClock) -> None:
    from teiten.accounts.models import AuditRecord
    from teiten.fleet import journal
    from teiten.fleet.alarms import services
    from teiten.fleet.alarms.models import Alarm
    from teiten.fleet.alarms.services import AlarmError
    from teiten.fleet.models import SensorEventKind
    from teiten.fleet.services import Act

    (sensor,) = make_sensors(cast, clock, "TK-001")
    for kind in (SensorEventKind.TOKEN_REUSED, SensorEventKind.CHAIN_BROKEN, SensorEventKind.TOKEN_REUSED):
        journal.record_event(kind, sensor, at=clock.now())
    watch(clock)
    clock.advance(60)
    beat(clock, sensor)
    watch(clock)
    assert kinds() == [("chain_broken", "TK-001"), ("token_reused", "TK-001")]

    reused = Alarm.objects.get(kind="token_reused")
    with pytest.raises(AlarmError, match="there is no alarm"):
        services.acknowledge(reused, act=Act(clock.now(), cast.charlie))
    with pytest.raises(AlarmError, match="is for the operators"):
        services.acknowledge(reused, act=Act(clock.now(), cast.alice))
    assert services.acknowledge(reused, act=Act(clock.now(), cast.dana)).closed_at == clock.now()
    with pytest.raises(AlarmError, match="has been over since"):
        services.acknowledge(reused, act=Act(clock.now(), cast.dana))
    watch(clock)
    assert kinds() == [("chain_broken", "TK-001")]
    assert AuditRecord.objects.get(kind="alarm.acknowledged").actor == "dana"

    clock.advance(1)
    journal.record_event(SensorEventKind.TOKEN_REUSED, sensor, at=clock.now())
    watch(clock)
    assert len(kinds()) == 2, "a second time is a second alarm"


def test_a_thousand_alarms_cost_few_statements(cast: Cast, clock: FixedClock) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    make_sensors(cast, clock, *(f"A-{n:02}" for n in range(12)), asn=64_500)
    clock.advance(200)

    with CaptureQueriesContext(connection) as queries:
        watch(clock)

    assert len(queries) < 25


TO_OPERATORS: dict[str, Any] = {
    "alarm_mail_from": "teiten@observatory.example",
    "alarm_mail_to": ("ops@observatory.example",),
    "smtp_host": "127.0.0.1",
}


class MailServer:
    """Speaks just enough SMTP (RFC 5321) to take mails."""

    def __init__(
        self, *, refuses: str = "", login: tuple[str, str] | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        """Refuse recipients that ``refuses`` ends, ask for a ``login``, speak ``tls`` from the first byte."""
        self.mails: list[str] = []
        self.recipients: list[str] = []
        self.refuses = refuses
        self._login = login
        self._tls = tls
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                talk, _ = self._socket.accept()
            except OSError:
                return
            with suppress(OSError), talk:
                spoken = talk if self._tls is None else self._tls.wrap_socket(talk, server_side=True)
                with spoken, spoken.makefile("rwb") as stream:
                    self._talk(stream)

    def _talk(self, stream: Any) -> None:
        def say(line: str) -> None:
            stream.write(line.encode() + b"\r\n")
            stream.flush()

        say("220 mail.example")
        is_known = self._login is None
        while line := stream.readline().decode().strip():
            verb = line[:4].upper()
            if verb == "EHLO" and not is_known:
                say("250-mail.example\r\n250 AUTH PLAIN")
            elif verb == "AUTH":
                is_known = base64.b64decode(line.split()[2]).decode().split("\0")[1:] == list(
                    self._login or ()
                )
                say("235 welcome" if is_known else "535 no")
            elif not is_known and verb == "MAIL":
                say("530 say who you are")
            elif verb == "DATA":
                say("354 go on")
                self.mails.append(b"".join(iter(stream.readline, b".\r\n")).decode())
                say("250 ok")
            elif verb == "RCPT" and self.refuses and self.refuses in line:
                say("550 no such user")
            else:
                if verb == "RCPT":
                    self.recipients.append(line.partition("<")[2].rstrip(">"))
                say("221 bye" if verb == "QUIT" else "250 ok")
            if verb == "QUIT":
                return


def test_those_whom_it_concerns_get_mail(cast: Cast, clock: FixedClock) -> None:
    from email import message_from_string

    from teiten.fleet import hosting
    from teiten.fleet.alarms import mailing, services
    from teiten.fleet.alarms.models import Alarm
    from teiten.fleet.services import Act

    make_sensors(cast, clock, "TK-001")
    make_sensors(cast, clock, "OS-001", organisation=cast.beta)
    act = Act(clock.now())
    hosting.add_contact(cast.alpha, name="N", mail="noc@alpha.example", language="en", act=act)
    clock.advance(200)
    watch(clock)
    hers = Alarm.objects.get(organisation=cast.alpha)
    # That somebody of the host takes note hides nothing from the operators.
    services.acknowledge(hers, act=Act(clock.now(), cast.alice))
    server = MailServer()
    config = replace(
        CONFIG,
        alarm_mail_from="teiten@observatory.example",
        alarm_mail_to=("ops@observatory.example",),
        smtp_host="127.0.0.1",
        smtp_port=server.port,
    )
    try:
        refusing = MailServer(refuses="example")
        assert (
            mailing.send_mails(now=clock.now(), config=replace(config, smtp_port=refusing.port))["mails"] == 0
        )
        refusing.close()
        assert mailing.send_mails(now=clock.now(), config=config) == {"mails": 2, "mails_failed": 0}
        assert mailing.send_mails(now=clock.now(), config=config) == {"mails": 0, "mails_failed": 0}, "once"
    finally:
        server.close()

    assert server.recipients == ["ops@observatory.example", "noc@alpha.example"]
    texts = [message_from_string(mail).get_payload(decode=True).decode() for mail in server.mails]
    assert "TK-001" in texts[0]
    assert "OS-001" in texts[0]
    assert "TK-001  Sensor silent" in texts[1]
    assert "OS-001" not in server.mails[1]
    assert mailing.send_mails(now=clock.now(), config=CONFIG) == {}, "without settings there is no mail"


def test_a_contact_whom_the_mail_server_refuses_holds_up_nobody(cast: Cast, clock: FixedClock) -> None:
    """Whoever of a host enters a wrong address would have operators mailed every minute."""
    from teiten.fleet import hosting
    from teiten.fleet.alarms import mailing
    from teiten.fleet.services import Act

    make_sensors(cast, clock, "TK-001")
    hosting.add_contact(
        cast.alpha, name="N", mail="gone@alpha.example", language="ja", act=Act(clock.now(), cast.alice)
    )
    clock.advance(200)
    watch(clock)
    server = MailServer(refuses="alpha.example")
    config = replace(CONFIG, **TO_OPERATORS, smtp_port=server.port)
    try:
        told = [mailing.send_mails(now=clock.now(), config=config) for _ in range(2)]
    finally:
        server.close()

    assert told == [{"mails": 1, "mails_failed": 1}, {"mails": 0, "mails_failed": 0}]
    assert server.recipients == ["ops@observatory.example"]


def test_a_mail_server_that_asks_for_a_password_gets_it_under_tls_alone(
    cast: Cast, clock: FixedClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from teiten.fleet.alarms import mailing

    certificate, key = tls.make_self_signed(tmp_path, host="localhost", now=SystemClock().now())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    make_sensors(cast, clock, "TK-001")
    clock.advance(200)
    watch(clock)
    server = MailServer(login=("teiten", "s3cret"), tls=context)
    config = replace(
        CONFIG,
        **{**TO_OPERATORS, "smtp_host": "localhost"},
        smtp_port=server.port,
        smtp_tls=True,
        smtp_user="teiten",
        smtp_password="s3cret",
    )
    try:
        told = [mailing.send_mails(now=clock.now(), config=config)["mails"]]
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        told += [
            mailing.send_mails(now=clock.now(), config=replace(config, smtp_password="wrong"))["mails"],
            mailing.send_mails(now=clock.now(), config=config)["mails"],
        ]
    finally:
        server.close()

    assert told == [0, 0, 1], "an unknown certificate, a wrong password, and then"
    assert "s3cret" not in repr(config)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"smtp_tls": True, "smtp_starttls": True}, "not both"),
        ({"smtp_user": "teiten"}, "go together"),
        ({"smtp_user": "teiten", "smtp_password": "x", "smtp_host": "mail.example"}, "in the clear"),
    ],
)
def test_settings_of_mail_that_cannot_be_meant_stop_the_start(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        FleetConfig(**settings)


def test_while_the_base_is_away_hosts_are_left_in_peace(cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet import hosting
    from teiten.fleet.alarms import mailing
    from teiten.fleet.services import Act

    sensors = make_sensors(cast, clock, *(f"A-{n:02}" for n in range(12)))
    hosting.add_contact(cast.alpha, name="N", mail="noc@alpha.example", language="ja", act=Act(clock.now()))
    server = MailServer()
    config = replace(
        CONFIG,
        alarm_mail_from="teiten@observatory.example",
        alarm_mail_to=("ops@observatory.example",),
        smtp_host="127.0.0.1",
        smtp_port=server.port,
    )
    try:
        clock.advance(200)
        watch(clock)
        assert kinds() == [("mass_silence", "fleet")]
        mailing.send_mails(now=clock.now(), config=config)
        assert server.recipients == ["ops@observatory.example"]
        clock.advance(60)
        beat(clock, *sensors[1:])
        watch(clock)
        mailing.send_mails(now=clock.now(), config=config)
    finally:
        server.close()
    assert server.recipients == ["ops@observatory.example"] * 2 + ["noc@alpha.example"], (
        "then whoever is left"
    )
