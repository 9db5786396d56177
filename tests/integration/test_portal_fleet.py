"""The fleet's pages: who may open what, what the forms do, and that nothing of another organisation leaks."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from teiten.foundation.clock import FixedClock
from teiten.portal.testing import Cast, client_of, make_cast, migrated_database

sys.path.insert(0, str(Path(__file__).parent))
from command_fixtures import enter_sensors, know_operators, make_content

pytestmark = pytest.mark.requirement("R1.2", "R1.3", "R1.4", "R3.1")

#: Route → gaps, and the least role that gets in; a member gets in only to see their own.
OPEN: dict[str, tuple[dict[str, Any], str]] = {
    "alarms": ({}, "member"),
    "commands": ({}, "member"),
    "releases": ({}, "analyst"),
    "make-sensors": ({}, "operator"),
    "audit": ({}, "operator"),
    "submit-command": ({}, "operator"),
    "preview-selector": ({}, "operator"),
}


@pytest.fixture
def cast(postgres_server_url: str, clock: FixedClock) -> Iterator[Cast]:
    with migrated_database(postgres_server_url):
        from teiten.portal import middleware, services

        before, middleware.clock = middleware.clock, clock
        yield make_cast(clock.now())
        middleware.clock = before
        services._make_kit = services._releases_dir = None


@pytest.fixture
def sensors(cast: Cast, clock: FixedClock) -> list[int]:
    """Give a sensor of beta and two of alpha."""
    return enter_sensors(cast, clock)


def path_of(name: str, **gaps: Any) -> str:
    from django.urls import reverse

    return reverse(name, kwargs=gaps)


def get_sensor(number: int) -> Any:
    from teiten.fleet.models import Sensor

    return Sensor.objects.get(pk=number)


@pytest.mark.parametrize("name", OPEN)
def test_each_page_opens_to_its_roles(cast: Cast, name: str) -> None:
    gaps, least = OPEN[name]
    ranks = ["member", "analyst", "operator"]
    address = path_of(name, **gaps)

    for user in (cast.alice, cast.ann, cast.dana):
        wanted = 200 if ranks.index(user.role) >= ranks.index(least) else 403
        assert client_of(user).get(address).status_code == wanted, (name, user.role)
    assert client_of().get(address).status_code == 302


def test_an_operator_suspends_and_resumes(cast: Cast, sensors: list[int]) -> None:
    client, number = client_of(cast.dana), sensors[1]
    suspend = path_of("act-on-sensor", sensor=number, action="suspend")

    refused = client.post(suspend, {"reason": ""})
    done = client.post(suspend, {"reason": "its host asked"})

    assert refused.status_code == 400
    assert done.status_code == 302
    assert get_sensor(number).state == "suspended"
    resume = path_of("act-on-sensor", sensor=number, action="resume")
    assert client.post(resume, {"reason": "it is well"}).status_code == 302
    assert get_sensor(number).state == "active"


def test_an_act_that_the_state_forbids_says_why(cast: Cast, sensors: list[int]) -> None:
    answer = client_of(cast.dana).post(
        path_of("act-on-sensor", sensor=sensors[1], action="release"), {"reason": "because"}
    )

    assert answer.status_code == 400
    assert "nothing of sensor" in answer.content.decode()


def test_a_recovery_token_is_shown_once_and_kept_nowhere(cast: Cast, sensors: list[int]) -> None:
    address = path_of("act-on-sensor", sensor=sensors[1], action="recover")
    wrong = client_of(cast.dana).post(address, {"reason": "lost its disk", "cidr": "nonsense"})

    answer = client_of(cast.dana).post(address, {"reason": "lost its disk", "cidr": "192.0.2.0/24"})

    assert wrong.status_code == 400
    assert "cidr" in wrong.context["form"].errors
    assert "tr1_" in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]


def test_a_host_withdraws_by_name_and_an_operator_takes_it_back(cast: Cast, sensors: list[int]) -> None:
    from teiten.fleet.models import Sensor

    path = path_of("act-on-sensor", sensor=sensors[1], action="withdraw")
    name = Sensor.objects.get(pk=sensors[1]).name
    host, operator = client_of(cast.bob), client_of(cast.dana)

    slip = host.post(path, {"name": "another", "reason": "we move"})
    assert slip.status_code == 400
    assert name in slip.content.decode()
    assert Sensor.objects.get(pk=sensors[1]).state == "active"
    assert host.post(path, {"name": name, "reason": "we move"}).status_code == 302
    assert Sensor.objects.get(pk=sensors[1]).state == "revoked"

    back = operator.post(
        path_of("act-on-sensor", sensor=sensors[1], action="recover"), {"reason": "asked them", "cidr": ""}
    )
    assert b"tr1_" in back.content


def test_a_host_pauses_its_own_and_nobody_elses(cast: Cast, sensors: list[int]) -> None:
    client = client_of(cast.alice)
    pause = {"reason": "the room is painted"}

    own = client.post(path_of("act-on-sensor", sensor=sensors[1], action="pause"), pause)
    foreign = client.post(path_of("act-on-sensor", sensor=sensors[0], action="pause"), pause)
    too_much = client.post(path_of("act-on-sensor", sensor=sensors[1], action="revoke"), pause)
    analyst = client_of(cast.ann).post(path_of("act-on-sensor", sensor=sensors[2], action="pause"), pause)

    assert (own.status_code, foreign.status_code, too_much.status_code) == (302, 404, 403)
    assert analyst.status_code == 403
    assert [get_sensor(number).state for number in sensors] == ["active", "suspended", "active"]


def test_maintenance_is_the_walls_clock_and_its_order_is_checked(cast: Cast, sensors: list[int]) -> None:
    from teiten.fleet.models import Maintenance

    client = client_of(cast.alice)
    address = path_of("act-on-sensor", sensor=sensors[1], action="maintenance")
    given = {"start": "2026-12-01T09:00", "end": "2026-12-01T08:00", "reason": "new cable"}

    reversed_one = client.post(address, given)
    done = client.post(address, {**given, "end": "2026-12-01T18:00"})

    assert (reversed_one.status_code, done.status_code) == (400, 302)
    planned = Maintenance.objects.get()
    assert (planned.end_at - planned.start_at).total_seconds() == 9 * 3600


def test_planned_maintenance_is_cancelled_before_and_ended_after_it_has_begun(
    cast: Cast, sensors: list[int], clock: FixedClock
) -> None:
    from teiten.fleet import maintaining
    from teiten.fleet.models import Maintenance
    from teiten.fleet.services import Act

    act, hour = Act(clock.now(), cast.dana), timedelta(hours=1)
    begun, later = (
        maintaining.plan_maintenance(
            get_sensor(sensors[1]), start=clock.now() + start * hour, end=clock.now() + (start + 2) * hour, reason="x", act=act
        )
        for start in (-1, 5)
    )  # fmt: skip

    def address(planned: Any) -> str:
        return path_of("cancel-maintenance", sensor=sensors[1], number=planned.pk)

    host = client_of(cast.alice)
    assert client_of(cast.charlie).post(address(begun)).status_code == 404
    assert client_of(cast.ann).get(address(begun)).status_code == 404
    assert host.get(address(begun)).context["has_begun"]
    assert [host.post(address(planned)).status_code for planned in (begun, later)] == [302, 302]
    begun.refresh_from_db()
    assert begun.end_at == clock.now()
    assert list(Maintenance.objects.all()) == [begun]
    # A second press, and a page that was left open: nothing happens, and it says so.
    assert host.post(address(begun)).status_code == 400
    assert host.get(address(begun)).context["is_over"]
    assert host.post(address(later)).status_code == 404


def test_a_sensor_of_another_data_set_is_shown_as_what_it_is(
    cast: Cast, sensors: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from teiten.fleet.models import Sensor
    from teiten.portal import services
    from teiten.search.config import SearchConfig

    without_data = SimpleNamespace(datasets=lambda _viewer: (), config=SearchConfig())
    monkeypatch.setattr(services, "_search", without_data)
    Sensor.objects.filter(pk=sensors[1]).update(dataset="simulated")

    moved = client_of(cast.alice).get(
        path_of("sensor", sensor=sensors[1]), {"dataset": "live", "period": "7d"}
    )

    assert moved.status_code == 302
    assert "dataset=simulated" in moved["Location"]
    assert "period=7d" in moved["Location"]


def test_a_command_is_checked_submitted_started_and_stopped(
    cast: Cast, sensors: list[int], clock: FixedClock
) -> None:
    from teiten.fleet.commands.models import Command

    know_operators(clock)
    client = client_of(cast.dana)
    content = make_content(sensors, clock, "alice")

    def upload(**more: str) -> Any:
        file = SimpleUploadedFile("x.command.json", content)
        return client.post(path_of("submit-command"), {"envelope": file, **more})

    checked = upload(check="1")
    assert checked.status_code == 200
    assert Command.objects.count() == 0
    assert upload().status_code == 302
    command = Command.objects.get()
    shown = client.get(path_of("command", command_id=command.pk))
    assert shown.context["may_start"]
    start = path_of("start-command", command_id=command.pk)
    assert client.post(start, {"stages": "ten", "per_minute": "5"}).status_code == 400
    assert client.post(start, {"stages": "50,100", "per_minute": "60"}).status_code == 302
    command.refresh_from_db()
    assert command.state == "started"
    running = client.get(path_of("command", command_id=command.pk))
    assert running.context["progress"]["rings"]
    move = path_of("move-rollout", number=command.rollout_id)
    assert client.post(move, {"move": "pause", "reason": ""}).status_code == 400
    assert client.post(move, {"move": "pause", "reason": "wait"}).status_code == 302
    assert client.post(move, {"move": "stop", "reason": "enough"}).status_code == 302
    command.rollout.refresh_from_db()
    assert command.rollout.state == "stopped"


def test_a_file_that_is_no_command_is_refused_at_its_field(cast: Cast, clock: FixedClock) -> None:
    know_operators(clock)
    client = client_of(cast.dana)

    def upload(content: bytes, targets: bytes | None = None) -> Any:
        files = {"envelope": SimpleUploadedFile("x.command.json", content)}
        if targets is not None:
            files["targets"] = SimpleUploadedFile("x.targets.json", targets)
        return client.post(path_of("submit-command"), files)

    assert upload(b"{}").status_code == 400
    assert "envelope" in upload(b"").context["form"].errors
    assert "targets" in upload(b"{}", b'{"sensors": ["7"]}').context["form"].errors
    assert "targets" in upload(b"{}", b"[" * 5000).context["form"].errors


def test_a_member_sees_of_a_command_its_own_sensors_only(
    cast: Cast, sensors: list[int], clock: FixedClock
) -> None:
    from teiten.fleet.commands import services
    from teiten.fleet.services import Act

    know_operators(clock)
    act = Act(clock.now(), cast.dana)
    command, _ = services.submit(make_content(sensors[1:], clock, "alice"), act=act)
    services.start(command, act=act, per_minute=60)
    address = path_of("command", command_id=command.pk)

    assert client_of(cast.alice).get(address).status_code == 200
    assert client_of(cast.charlie).get(address).status_code == 404
    for route in ("start-command", "stop-command"):
        denied = client_of(cast.alice).post(path_of(route, command_id=command.pk), {"reason": "x"})
        assert denied.status_code == 403


def test_a_selector_is_previewed_and_downloaded(cast: Cast, sensors: list[int]) -> None:
    client = client_of(cast.dana)
    address = path_of("preview-selector")

    found = client.get(address, {"selector": 'region = "kanto"'})
    file = client.get(address, {"selector": 'region = "kanto"', "download": "1"})
    wrong = client.get(address, {"selector": "region ="})

    assert list(found.context["found"].sensors) == sensors
    assert [one["number"] for one in file.json()["sensors"]] == sensors
    assert wrong.status_code == 400


def test_alarms_go_to_their_host_and_are_acknowledged(
    cast: Cast, sensors: list[int], clock: FixedClock
) -> None:
    from teiten.fleet.alarms.models import Alarm

    own = Alarm.objects.create(
        kind="silent", sensor_id=sensors[1], organisation=cast.alpha, opened_at=clock.now()
    )
    foreign = Alarm.objects.create(
        kind="silent", sensor_id=sensors[0], organisation=cast.beta, opened_at=clock.now()
    )
    client = client_of(cast.alice)

    page = client.get(path_of("alarms"))

    assert [line["alarm"].pk for line in page.context["lines"]] == [own.pk]
    assert client.post(path_of("acknowledge-alarm", number=foreign.pk)).status_code == 404
    assert client.post(path_of("acknowledge-alarm", number=own.pk)).status_code == 302
    own.refresh_from_db()
    assert own.acknowledged_by == cast.alice


def test_the_audit_log_shows_a_broken_chain(cast: Cast, sensors: list[int], clock: FixedClock) -> None:
    from django.db import connection

    from teiten.fleet import services
    from teiten.fleet.services import Act

    services.suspend_sensor(get_sensor(sensors[1]), reason="look", act=Act(clock.now(), cast.dana))
    services.resume_sensor(get_sensor(sensors[1]), reason="fine", act=Act(clock.now(), cast.dana))
    client = client_of(cast.dana)
    whole = client.get(path_of("audit"))

    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("UPDATE accounts_auditrecord SET content = replace(content, 'look', 'lock')")
        cursor.execute("SET session_replication_role = origin")
    broken = client.get(path_of("audit"))

    assert whole.context["flaw"] is None
    assert whole.context["checked"] >= 2
    assert broken.context["flaw"] is not None


def test_sensors_are_made_and_their_scripts_given_once(cast: Cast, sensors: list[int]) -> None:
    from teiten.fleet.installing import Kit
    from teiten.fleet.models import EnrolmentToken, Sensor
    from teiten.portal import services

    services.set_fleet(
        releases_dir=Path("/nonexistent"),
        make_kit=lambda _exec: Kit("https://gateway.example:8443", {"authority": '"gateway.example"'}),
    )
    client = client_of(cast.dana)
    given = {"name": "kyoto", "count": "2", "region": "kanto", "organisation": "beta", "dataset": "live",
             "kind": "university", "mode": "silent", "cidr": "192.0.2.0/24", "needs_approval": "on"}  # fmt: skip

    wrong = client.post(path_of("make-sensors"), {**given, "cidr": "192.0.2.1.1"})
    many = client.post(path_of("make-sensors"), {**given, "count": "201"})
    assert Sensor.objects.filter(name__startswith="kyoto").count() == 0
    made = client.post(path_of("make-sensors"), given)

    assert "cidr" in wrong.context["form"].errors
    assert "--count 201" in many.content.decode()
    assert made["Content-Type"] == "application/zip"
    assert "no-store" in made["Cache-Control"]
    names = zipfile.ZipFile(io.BytesIO(made.content)).namelist()
    assert "teiten-sensors/kyoto-0001.install.sh" in names
    assert "teiten-sensors/kyoto-0002.user-data.yaml" in names
    assert list(Sensor.objects.filter(name__startswith="kyoto").values_list("needs_approval", flat=True)) == [
        True,
        True,
    ]
    assert EnrolmentToken.objects.count() == 2
    again = client.post(path_of("make-sensors"), given)
    assert again.status_code == 400
