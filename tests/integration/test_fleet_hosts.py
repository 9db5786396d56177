"""What an organisation that houses sensors may do with its own, and cannot do with another's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from teiten.fleet.config import FleetConfig
from teiten.foundation.clock import FixedClock
from teiten.portal.testing import Cast

sys.path.insert(0, str(Path(__file__).parent))
from command_fixtures import enter_sensors, know_operators, make_content

pytestmark = pytest.mark.requirement("R1.3", "R2.1")


@pytest.fixture
def sensor(cast: Cast, clock: FixedClock):
    from teiten.fleet import services

    region = services.find_or_create_region(code="kanto", name_ja="関東", name_en="Kanto")
    made = services.create_sensor(
        name="TK-001",
        region=region,
        organisation=cast.alpha,
        dataset="live",
        act=act(clock),
        config=FleetConfig(),
    ).sensor
    made.state, made.enrolled_at = "active", clock.now()
    made.save()
    return made


def act(clock: FixedClock, actor=None):
    from teiten.fleet.services import Act

    return Act(clock.now(), actor)


def test_it_works(cast: Cast, clock: FixedClock, sensor) -> None:
    from teiten.accounts.auditing import verify_chain
    from teiten.accounts.models import AuditRecord
    from teiten.fleet import hosting, selectors

    mine = act(clock, cast.alice)
    first = hosting.add_contact(
        cast.alpha, name="Night shift", mail="noc@alpha.example", language="ja", act=mine
    )
    hosting.add_contact(cast.alpha, name="Boss", mail="boss@alpha.example", language="en", act=mine)
    hosting.agree_classes(cast.alpha, ["C", "A", "A"], note="contract 12", act=mine)

    host = hosting.find_host(cast.alpha)
    assert ([one.name for one in host.contacts], host.command_classes) == (
        ["Boss", "Night shift"],
        ("A", "C"),
    )
    assert (host.sensors, host.note, host.agreed_at) == (1, "contract 12", clock.now())
    hosting.remove_contact(cast.alpha, first.pk, act=mine)
    assert hosting.pause_sensor(sensor, reason="audit", act=mine).state == "suspended"
    (row,) = selectors.sensor_states(cast.bob, now=clock.now(), config=FleetConfig())
    assert row.condition.value == "paused"
    assert hosting.resume_sensor(sensor, reason="audit over", act=act(clock, cast.bob)).state == "active"
    assert hosting.withdraw_sensor(sensor, name=sensor.name, reason="we move", act=mine).state == "revoked"
    (row,) = selectors.sensor_states(cast.alice, now=clock.now(), config=FleetConfig())
    assert row.condition.value == "withdrawn"
    kinds = set(AuditRecord.objects.values_list("kind", flat=True))
    assert {"host.contact_added", "host.contact_removed", "host.agreed", "sensor.suspended"} <= kinds
    assert AuditRecord.objects.get(kind="host.agreed").actor == "alice"
    events = sensor.events.filter(kind__in=["suspended", "resumed", "withdrawn"]).order_by("pk")
    assert [(one.kind, one.detail.get("by")) for one in events] == [
        ("suspended", "host"), ("resumed", None), ("withdrawn", "host")
    ]  # fmt: skip
    assert verify_chain().broken is None


def recover(issued, now):
    from teiten.fleet import recovering
    from teiten.protocol import enrolment, keys, recovery

    token = enrolment.parse_token(issued.text, prefix=enrolment.RECOVER_PREFIX)
    request = recovery.make_request(
        token, keys.generate_key(), sensor=None, created_s=int(now.timestamp()), nonce="n" * 22
    )
    return recovering.recover_sensor(request, peer="192.0.2.9", now=now)


def test_a_withdrawal_counts_at_once_is_noticed_and_can_be_taken_back(
    cast: Cast, clock: FixedClock, sensor
) -> None:
    from teiten.fleet import hosting, recovering, services
    from teiten.fleet.alarms import mailing, watching
    from teiten.fleet.alarms import services as alarms
    from teiten.fleet.alarms.models import Alarm
    from teiten.fleet.errors import FleetInputError, SensorStateError

    mine, theirs = act(clock, cast.alice), act(clock, cast.dana)
    for name in ("night", "day"):
        hosting.add_contact(cast.alpha, name=name, mail=f"{name}@alpha.example", language="ja", act=mine)
    with pytest.raises(FleetInputError, match="type the sensor's name, TK-001"):
        hosting.withdraw_sensor(sensor, name="TK-002", reason="a grudge", act=mine)
    assert hosting.withdraw_sensor(sensor, name="TK-001", reason="a grudge", act=mine).state == "revoked"

    watching.watch_alarms(now=clock.now(), config=FleetConfig())
    alarm = Alarm.objects.get(closed_at=None)
    assert alarm.kind == "withdrawn"
    with pytest.raises(alarms.AlarmError, match="is for the operators"):
        alarms.acknowledge(alarm, act=mine)
    told = [letter.to for letter in mailing.list_letters([alarm], ["ops@observatory.example"])]
    assert told == [("ops@observatory.example",), ("night@alpha.example",), ("day@alpha.example",)]
    assert alarms.acknowledge(alarm, act=theirs).closed_at is not None

    with pytest.raises(SensorStateError):
        services.resume_sensor(sensor, reason="x", act=theirs)
    issued = recovering.issue_recovery(sensor, reason="asked the host", act=theirs, config=FleetConfig())
    sensor.refresh_from_db()
    assert sensor.state == "revoked", "until the new key is there"
    back = recover(issued, clock.now())
    sensor.refresh_from_db()
    assert (sensor.state, sensor.stopped_by, back.epoch, back.standing) == ("active", "", 2, None)


def test_what_an_operator_revokes_or_nobody_approved_does_not_come_back_by_a_withdrawal(
    cast: Cast, clock: FixedClock, sensor
) -> None:
    from teiten.fleet import hosting, journal, recovering, services
    from teiten.fleet.errors import SensorStateError
    from teiten.fleet.models import SensorEventKind

    theirs, config = act(clock, cast.dana), FleetConfig()
    journal.record_event(SensorEventKind.ENROLLED, sensor, at=clock.now(), state="pending_approval")
    sensor.state = "pending_approval"
    sensor.save()
    hosting.withdraw_sensor(sensor, name="TK-001", reason="x", act=act(clock, cast.alice))
    recover(recovering.issue_recovery(sensor, reason="x", act=theirs, config=config), clock.now())
    sensor.refresh_from_db()
    assert sensor.state == "pending_approval"

    hosting.withdraw_sensor(sensor, name="TK-001", reason="x", act=act(clock, cast.alice))
    services.revoke_sensor(sensor, reason="stolen", act=theirs)
    with pytest.raises(SensorStateError, match="is revoked"):
        recovering.issue_recovery(sensor, reason="x", act=theirs, config=config)


def test_one_person_of_a_host_silences_and_floods_nobody(
    cast: Cast, clock: FixedClock, sensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from teiten.fleet import hosting
    from teiten.fleet.errors import FleetInputError, HostBusyError

    mine, theirs = act(clock, cast.alice), act(clock, cast.dana)
    for start, days in ((0, 32), (80, 13)):
        begin = clock.now() + timedelta(days=start)
        period = {"start": begin, "end": begin + timedelta(days=days), "reason": "x"}
        with pytest.raises(FleetInputError, match="at most 31 days at once, and 92 days ahead"):
            hosting.plan_maintenance(sensor, **period, act=mine)
        hosting.plan_maintenance(sensor, **period, act=theirs)
    monkeypatch.setattr(hosting, "MOST_CONTACTS", 2)
    for number in range(2):
        hosting.add_contact(cast.alpha, name="x", mail=f"{number}@alpha.example", language="ja", act=mine)
    with pytest.raises(FleetInputError, match="all it may have"):
        hosting.add_contact(cast.alpha, name="x", mail="3@alpha.example", language="ja", act=mine)
    monkeypatch.setattr(hosting, "MOST_ACTS_AN_HOUR", 4)
    hosting.pause_sensor(sensor, reason="x", act=mine)
    hosting.resume_sensor(sensor, reason="x", act=mine)
    with pytest.raises(HostBusyError):
        hosting.pause_sensor(sensor, reason="x", act=mine)
    hosting.pause_sensor(sensor, reason="x", act=act(clock, cast.bob))
    clock.advance(3601)
    hosting.resume_sensor(sensor, reason="x", act=act(clock, cast.alice))


ACTS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "pause": lambda hosting, sensor, doing: hosting.pause_sensor(sensor, reason="x", act=doing),
    "resume": lambda hosting, sensor, doing: hosting.resume_sensor(sensor, reason="x", act=doing),
    "withdraw": lambda hosting, sensor, doing: hosting.withdraw_sensor(
        sensor, name=sensor.name, reason="x", act=doing
    ),
    "plan": lambda hosting, sensor, doing: hosting.plan_maintenance(
        sensor, start=doing.at, end=doing.at + timedelta(hours=1), reason="x", act=doing
    ),
    "cancel": lambda hosting, sensor, doing: hosting.cancel_maintenance(sensor, 1, act=doing),
    "agree": lambda hosting, sensor, doing: hosting.agree_classes(
        sensor.organisation, "AB", note="x", act=doing
    ),
    "contact": lambda hosting, sensor, doing: hosting.add_contact(
        sensor.organisation, name="x", mail="x@alpha.example", language="ja", act=doing
    ),
    "remove": lambda hosting, sensor, doing: hosting.remove_contact(sensor.organisation, 1, act=doing),
}


@pytest.mark.parametrize("name", ACTS)
@pytest.mark.parametrize("who", ["charlie", "ann"])
def test_nobody_touches_anothers(cast: Cast, clock: FixedClock, sensor, name: str, who: str) -> None:
    from teiten.accounts.models import AuditRecord
    from teiten.fleet import hosting
    from teiten.fleet.errors import HostForbiddenError
    from teiten.fleet.models import HostAgreement, HostContact

    before = AuditRecord.objects.count()

    with pytest.raises(HostForbiddenError):
        ACTS[name](hosting, sensor, act(clock, getattr(cast, who)))

    sensor.refresh_from_db()
    assert (sensor.state, sensor.maintenances.count()) == ("active", 0)
    assert not HostContact.objects.exists()
    assert not HostAgreement.objects.exists()
    assert AuditRecord.objects.count() == before


def test_who_paused_decides_who_may_resume(cast: Cast, clock: FixedClock, sensor) -> None:
    from teiten.fleet import hosting, services
    from teiten.fleet.errors import SensorStateError

    host, operator = act(clock, cast.alice), act(clock, cast.dana)
    services.suspend_sensor(sensor, reason="we look at it", act=operator)
    with pytest.raises(SensorStateError, match="not by its host"):
        hosting.resume_sensor(sensor, reason="no", act=host)
    services.resume_sensor(sensor, reason="fine", act=operator)

    hosting.pause_sensor(sensor, reason="move", act=host)
    assert services.resume_sensor(sensor, reason="operators may", act=operator).stopped_by == ""

    hosting.pause_sensor(sensor, reason="again", act=host)
    services.suspend_sensor(sensor, reason="and we too", act=operator)
    with pytest.raises(SensorStateError, match="not by its host"):
        hosting.resume_sensor(sensor, reason="no", act=host)
    with pytest.raises(SensorStateError, match="cannot become suspended"):
        hosting.pause_sensor(sensor, reason="no", act=host)


def test_a_pause_lifts_no_quarantine(cast: Cast, clock: FixedClock, sensor) -> None:
    from teiten.fleet import hosting, services
    from teiten.fleet.errors import SensorStateError

    services.quarantine_sensor(sensor.pk, at=clock.now(), why="test")
    with pytest.raises(SensorStateError):
        hosting.resume_sensor(sensor, reason="it is fine", act=act(clock, cast.alice))
    hosting.pause_sensor(sensor, reason="x", act=act(clock, cast.alice))
    assert hosting.resume_sensor(sensor, reason="x", act=act(clock, cast.alice)).state == "quarantined"


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"mail": "nobody"}, "mail: "),
        ({"name": " "}, "name: "),
        ({"language": "fr"}, "language: "),
        ({"mail": "a" * 250 + "@alpha.example"}, "mail: "),
    ],
)
def test_a_contact_is_checked(cast: Cast, clock: FixedClock, values: dict, rule: str) -> None:
    from teiten.fleet import hosting
    from teiten.fleet.errors import FleetInputError

    given = {"name": "N", "mail": "n@alpha.example", "language": "en", **values}
    with pytest.raises(FleetInputError, match=rule):
        hosting.add_contact(cast.alpha, **given, act=act(clock))
    hosting.add_contact(cast.alpha, name="N", mail="n@alpha.example", language="en", act=act(clock))
    with pytest.raises(FleetInputError, match="a contact of alpha already"):
        hosting.add_contact(cast.alpha, name="M", mail="n@alpha.example", language="en", act=act(clock))
    with pytest.raises(FleetInputError, match="E is no class"):
        hosting.agree_classes(cast.alpha, ["A", "E"], note="x", act=act(clock))
    with pytest.raises(FleetInputError, match="grounds"):
        hosting.agree_classes(cast.alpha, ["A"], note=" ", act=act(clock))


def test_a_command_that_a_host_has_not_agreed_to_is_refused_naming_its_sensors(
    cast: Cast, clock: FixedClock
) -> None:
    from teiten.fleet import hosting
    from teiten.fleet.commands import services
    from teiten.fleet.commands.errors import CommandRefusedError, CommandStateError

    know_operators(clock)
    sensors = enter_sensors(cast, clock)
    assert hosting.find_unagreed(sensors, "B") == []
    assert hosting.find_unagreed(sensors, "C") == sensors
    hosting.agree_classes(cast.alpha, ["A"], note="less", act=act(clock, cast.alice))
    content = make_content(sensors, clock, "alice", "bob", verb="restart")

    with pytest.raises(CommandRefusedError, match="have not agreed to commands of class B") as refused:
        services.submit(content, act=act(clock, cast.dana))
    assert refused.value.reason == "class_unagreed"

    hosting.agree_classes(cast.alpha, ["A", "B"], note="more", act=act(clock, cast.alice))
    command, _ = services.submit(content, act=act(clock, cast.dana))
    hosting.agree_classes(cast.alpha, [], note="nothing", act=act(clock, cast.alice))
    with pytest.raises(CommandStateError, match="have not agreed"):
        services.start(command, act=act(clock, cast.dana), per_minute=10)
