"""What hurried people do on the fleet's pages, and the database going away under them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from teiten.foundation.clock import FixedClock
from teiten.portal.testing import Cast, client_of, make_cast, migrated_database

sys.path.insert(0, str(Path(__file__).parent))
from command_fixtures import enter_sensors, know_operators, make_content

pytestmark = pytest.mark.requirement("R1.3", "R3.1")

ENGLISH = {"accept-language": "en"}


@pytest.fixture
def cast(postgres_server_url: str, clock: FixedClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cast]:
    with migrated_database(postgres_server_url):
        from teiten.portal import middleware

        monkeypatch.setattr(middleware, "clock", clock)
        yield make_cast(clock.now())


def path_of(name: str, **gaps: Any) -> str:
    from django.urls import reverse

    return reverse(name, kwargs=gaps)


def take_the_database_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every statement from now on find nobody."""
    from django.db import OperationalError
    from django.db.backends.postgresql.base import DatabaseWrapper

    def refuse(*_given: Any, **_named: Any) -> Any:
        raise OperationalError("the server closed the connection unexpectedly")

    monkeypatch.setattr(DatabaseWrapper, "cursor", refuse)


def quiet_client_of(user: Any = None) -> Any:
    client = client_of(user)
    client.raise_request_exception = False
    return client


def test_a_stranger_is_told_that_nothing_is_there_without_the_database(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = quiet_client_of()
    take_the_database_away(monkeypatch)

    answer = client.get("/no/such/page/", headers=ENGLISH)

    assert answer.status_code == 404
    assert "Not found" in answer.content.decode()


def test_whoever_is_signed_in_gets_a_whole_page_that_says_the_database_is_away(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = quiet_client_of(cast.dana)
    client.cookies["teiten_theme"] = "dark"
    take_the_database_away(monkeypatch)

    for path in ("/operations/alarms/", "/no/such/page/"):
        answer = client.get(path, headers=ENGLISH)
        page = answer.content.decode()
        assert (answer.status_code, answer["Retry-After"]) == (503, "30")
        assert "parts.css" in page
        assert 'data-theme="dark"' in page
        assert f'href="{path}">Try again' in page
        assert "Content-Security-Policy" in answer


def test_a_refusal_is_a_refusal_though_nobody_can_count_alarms_any_more(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session is read, then the database goes away: the frame must not turn a 404 into a fault."""
    from django.db import OperationalError

    from teiten.portal import frame

    def refuse(*_given: Any, **_named: Any) -> Any:
        raise OperationalError("the server closed the connection unexpectedly")

    monkeypatch.setattr(frame, "alarms_visible_to", refuse)
    client = quiet_client_of(cast.alice)

    missing = client.get("/no/such/page/", headers=ENGLISH)
    forbidden = client.get(path_of("audit"), headers=ENGLISH)

    assert (missing.status_code, forbidden.status_code) == (404, 403)
    assert "Alice" not in missing.content.decode()
    assert "Not allowed" in forbidden.content.decode()


def test_even_a_fault_in_the_frame_leaves_words(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    from teiten.portal.templatetags import frame as tag

    monkeypatch.setattr(tag, "describe_frame", lambda _request: 1 // 0)
    monkeypatch.setattr(tag, "describe_bare_frame", lambda _request: 1 // 0)

    answer = quiet_client_of(cast.dana).get(path_of("alarms"), headers=ENGLISH)

    assert answer.status_code == 500
    assert "It has been logged" in answer.content.decode()


def test_the_drawer_gets_a_part_and_no_page_within_itself(cast: Cast) -> None:
    answer = quiet_client_of(cast.dana).get("/no/such/page/", headers={**ENGLISH, "HX-Request": "true"})

    page = answer.content.decode()
    assert answer.status_code == 404
    assert "<html" not in page
    assert "There is no page at this address" in page
    assert "HX-Request" in answer["Vary"]


def test_going_back_to_a_form_leads_to_its_page(cast: Cast) -> None:
    client = client_of(cast.dana)

    def lead(name: str, **gaps: Any) -> str:
        return str(client.get(path_of(name, **gaps))["Location"])

    assert lead("acknowledge-alarm", number=1) == path_of("alarms")
    assert lead("start-command", command_id="X") == path_of("command", command_id="X")
    assert lead("stop-command", command_id="X") == path_of("command", command_id="X")
    assert lead("move-rollout", number=7) == path_of("rollout", number=7)
    assert lead("agree-classes", code="alpha") == path_of("host", code="alpha")
    assert client.put(path_of("acknowledge-alarm", number=1)).status_code == 405


def test_a_page_that_was_left_open_says_that_the_sensor_is_no_longer_so(
    cast: Cast, clock: FixedClock
) -> None:
    from teiten.fleet import services
    from teiten.fleet.models import Sensor
    from teiten.fleet.services import Act

    number = enter_sensors(cast, clock)[1]
    address = path_of("act-on-sensor", sensor=number, action="suspend")
    client = client_of(cast.dana)
    assert client.get(address).context["fits"]
    services.revoke_sensor(Sensor.objects.get(pk=number), reason="sold", act=Act(clock.now(), cast.ann))

    late = client.post(address, {"reason": "too much noise"}, headers=ENGLISH)
    again = client.get(address, headers=ENGLISH)

    assert (late.status_code, again.status_code) == (400, 200)
    assert late.context["sensor"].state == "revoked"
    assert "cannot be done now" in again.content.decode()
    assert 'type="submit">Suspend' not in again.content.decode()


def test_two_operators_acknowledge_at_once(cast: Cast, clock: FixedClock) -> None:
    from teiten.accounts.models import AuditRecord
    from teiten.fleet.alarms.models import Alarm

    number = enter_sensors(cast, clock)[1]
    alarm, over = (
        Alarm.objects.create(
            kind=kind, sensor_id=number, organisation=cast.alpha, opened_at=clock.now(), detail={}
        )
        for kind in ("silent", "gapped")
    )
    Alarm.objects.filter(pk=over.pk).update(closed_at=clock.now())

    def acknowledge(user: Any, one: Alarm) -> Any:
        return client_of(user).post(path_of("acknowledge-alarm", number=one.pk), headers=ENGLISH)

    assert [acknowledge(user, alarm).status_code for user in (cast.dana, cast.alice)] == [302, 302]
    alarm.refresh_from_db()
    assert alarm.acknowledged_by == cast.dana, "the first one stays"
    assert AuditRecord.objects.filter(kind="alarm.acknowledged").count() == 1
    late = acknowledge(cast.dana, over)
    assert late.status_code == 409
    assert "Nothing was changed" in late.content.decode()
    assert "has been over since" in late.content.decode()


def test_what_operators_look_after_has_no_button_for_members(cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet.alarms.models import Alarm

    number = enter_sensors(cast, clock)[1]
    Alarm.objects.create(
        kind="token_reused", sensor_id=number, organisation=cast.alpha, opened_at=clock.now(), detail={}
    )

    buttons = [
        line["may_acknowledge"]
        for user in (cast.alice, cast.dana)
        for line in client_of(user).get(path_of("alarms")).context["lines"]
    ]

    assert buttons == [False, True]


def test_two_operators_start_one_command_at_once(cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet.commands import services
    from teiten.fleet.rollouts.models import Rollout
    from teiten.fleet.services import Act

    know_operators(clock)
    sensors = enter_sensors(cast, clock)
    command, _ = services.submit(make_content(sensors, clock, "alice"), act=Act(clock.now(), cast.dana))
    start = path_of("start-command", command_id=command.pk)
    given = {"stages": "50,100", "per_minute": "60"}

    first, second = (client_of(cast.dana).post(start, given, headers=ENGLISH) for _ in range(2))

    assert (first.status_code, second.status_code) == (302, 400)
    assert "not approved" in second.content.decode(), "the form is gone, what it refused is not"
    assert Rollout.objects.count() == 1


@pytest.mark.parametrize(
    "content",
    [b"\x89PNG\r\n\x1a\n" + b"\0" * 64, b"{}", b"", b"[" * 20_000, json.dumps({"sensors": [7]}).encode(), b"\xff" * 9],
    ids=["picture", "empty object", "nothing", "deep", "targets", "no text"],
)  # fmt: skip
def test_another_file_in_place_of_the_command_is_refused_in_words(
    cast: Cast, clock: FixedClock, content: bytes
) -> None:
    know_operators(clock)
    for more in ({}, {"check": "1"}):
        answer = client_of(cast.dana).post(
            path_of("submit-command"), {"envelope": SimpleUploadedFile("holiday.png", content), **more}
        )
        assert answer.status_code == 400
        assert answer.context["form"].errors


def test_the_names_of_ten_thousand_sensors_are_taken_from_operators_only(cast: Cast) -> None:
    from django.conf import settings

    from teiten.portal import bodies
    from teiten.portal.large_bodies import MOST_BYTES, most_bytes_of
    from teiten.portal.operations.command_forms import MAX_ENVELOPE_BYTES, MAX_TARGETS_BYTES

    listed = [{"number": number, "name": "n" * 63} for number in range(1, 10_001)]
    targets = json.dumps({"selector": "all", "sensors": listed}, indent=1).encode()

    def ask(user: Any, path: str, method: str = "POST") -> int | None:
        cookie = client_of(user).cookies.get(settings.SESSION_COOKIE_NAME) if user else None
        headers = [(b"cookie", f"{settings.SESSION_COOKIE_NAME}={cookie.value}".encode())] if cookie else []
        return asyncio.run(most_bytes_of({"method": method, "path": path, "headers": headers}))

    submit = path_of("submit-command")
    assert bodies.MOST_BYTES < len(targets) < MAX_TARGETS_BYTES
    assert MAX_TARGETS_BYTES + MAX_ENVELOPE_BYTES < MOST_BYTES
    assert ask(cast.dana, submit) == MOST_BYTES
    assert [ask(user, submit) for user in (cast.ann, cast.alice, None)] == [None, None, None]
    assert [ask(cast.dana, "/sign-in/"), ask(cast.dana, submit, "GET")] == [None, None]


@pytest.mark.parametrize(
    ("reason", "status"),
    [("🚧 設備更新のため", 302), ("a" * 200, 302), ("a" * 201, 400), (" \u3000\n", 400), ("x\0y", 400), ("\x1b[2Jx", 400), ("\u202egnp.exe", 400)],
)  # fmt: skip
def test_strange_reasons_are_kept_or_refused_whole(
    cast: Cast, clock: FixedClock, reason: str, status: int
) -> None:
    number = enter_sensors(cast, clock)[1]
    address = path_of("act-on-sensor", sensor=number, action="suspend")

    answer = client_of(cast.dana).post(address, {"reason": reason})

    assert answer.status_code == status
    if status == 400:
        assert "reason" in answer.context["form"].errors
    assert client_of(cast.dana).get(path_of("audit")).status_code == 200


def test_strange_questions_are_no_faults(cast: Cast) -> None:
    client = client_of(cast.dana)

    for path, asked in (
        ("audit", {"subject": "sensor:\0"}),
        ("alarms", {"kind": "\0", "page": "-1"}),
        ("alarms", {"kind": "silent' OR 1=1", "page": "9" * 40}),
        ("hosts", {"q": "%_\\"}),
        ("preview-selector", {"selector": "\0"}),
    ):
        assert client.get(path_of(path), asked).status_code in (200, 400), (path, asked)
    for number in (0, 1 << 40, 10**30):
        assert client.get(f"/operations/rollouts/{number}/").status_code == 404
        assert client.post(f"/operations/alarms/{number}/acknowledge/").status_code == 404


def test_where_there_is_nothing_the_pages_say_what_comes_next(cast: Cast) -> None:
    client = client_of(cast.dana)

    def page(name: str) -> str:
        return client.get(path_of(name), headers=ENGLISH).content.decode()

    assert f'href="{path_of("make-sensors")}">Make sensors' in page("alarms")
    assert "teiten-operator" in page("commands")
    assert "teiten release init" in page("releases")
    assert "No alarm is open" not in page("alarms")
