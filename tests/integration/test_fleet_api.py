"""The fleet over the API: page by page, read-only, and to members only what concerns their own sensors."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from teiten.foundation.clock import FixedClock
from teiten.portal.testing import Cast, client_of, make_cast, migrated_database

sys.path.insert(0, str(Path(__file__).parent))
from command_fixtures import enter_sensors, know_operators, make_result, payload_of, start_command

pytestmark = pytest.mark.requirement("R2.4")


@pytest.fixture
def cast(postgres_server_url: str, clock: FixedClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cast]:
    with migrated_database(postgres_server_url):
        from teiten.portal import middleware
        from teiten.portal.api import guard

        monkeypatch.setattr(middleware, "clock", clock)
        monkeypatch.setattr(guard, "limit", guard.RateLimit(guard.CALLS_PER_MINUTE))
        yield make_cast(clock.now())


@pytest.fixture
def sensors(cast: Cast, clock: FixedClock) -> list[int]:
    """Give a sensor of beta and four of alpha."""
    return enter_sensors(cast, clock, 5)


def call(user: Any, name: str, **parameters: Any) -> Any:
    return client_of(user).get(f"/api/v1/fleet/{name}", parameters)


def read_all(user: Any, name: str, key: str, **parameters: Any) -> list[dict[str, Any]]:
    """Read every page of two; the last one says that it is the last."""
    found, page = [], None
    for _ in range(10):
        answer = call(user, name, limit=2, **parameters, **({"page": page} if page else {})).json()
        found += answer[key]
        page = answer["next_page"]
        if page is None:
            return found
    raise AssertionError("the pages do not end")


def test_sensors_come_page_by_page_with_their_states(
    cast: Cast, sensors: list[int], clock: FixedClock
) -> None:
    from teiten.fleet.models import SensorHealth

    SensorHealth.objects.filter(sensor=sensors[3]).update(
        heartbeat_at=clock.now() - timedelta(hours=1), clock_offset_us=9_000_000
    )

    whole = read_all(cast.ann, "sensors", "sensors")
    own = read_all(cast.alice, "sensors", "sensors")
    silent = read_all(cast.ann, "sensors", "sensors", state="silent")

    assert [one["sensor"] for one in whole] == sensors
    assert [one["sensor"] for one in own] == sensors[1:]
    assert [(one["sensor"], one["states"]) for one in silent] == [(sensors[3], ["silent", "skewed"])]
    assert {one["organisation"] for one in own} == {"alpha"}
    assert whole[0]["heartbeat_at"].endswith("Z")
    assert call(cast.ann, "sensors", organisation="beta").json()["sensors"][0]["sensor"] == sensors[0]
    assert call(cast.alice, "sensors", organisation="beta").json() == {"sensors": [], "next_page": None}
    assert call(cast.alice, f"sensors/{sensors[1]}").json()["name"] == "TK-00001"
    assert [call(cast.alice, f"sensors/{number}").status_code for number in (sensors[0], 0, 10**30)] == [
        404
    ] * 3


def test_alarms_and_events_are_those_of_the_caller(cast: Cast, sensors: list[int], clock: FixedClock) -> None:
    from teiten.fleet import services
    from teiten.fleet.alarms.models import Alarm
    from teiten.fleet.models import Sensor
    from teiten.fleet.services import Act

    for place, number in enumerate(sensors):
        Alarm.objects.create(
            kind="silent", sensor_id=number, organisation_id=Sensor.objects.get(pk=number).organisation_id,
            opened_at=clock.now(), closed_at=clock.now() if place == 4 else None, detail={"heard_at": None},
        )  # fmt: skip
    Alarm.objects.create(kind="mass_silence", group="asn 64512", opened_at=clock.now(), detail={"sensors": 9})
    services.suspend_sensor(
        Sensor.objects.get(pk=sensors[0]), reason="noise", act=Act(clock.now(), cast.dana)
    )
    services.suspend_sensor(
        Sensor.objects.get(pk=sensors[1]), reason="noise", act=Act(clock.now(), cast.dana)
    )

    assert [one["sensor"] for one in read_all(cast.alice, "alarms", "alarms")] == [
        sensors[3],
        sensors[2],
        sensors[1],
    ]
    assert len(read_all(cast.alice, "alarms", "alarms", all="true")) == 4
    assert len(read_all(cast.ann, "alarms", "alarms")) == 5
    assert [one["group"] for one in read_all(cast.ann, "alarms", "alarms", kind="mass_silence")] == [
        "asn 64512"
    ]
    assert call(cast.alice, "alarms", sensor=sensors[0]).json()["alarms"] == []
    (event,) = read_all(cast.alice, "events", "events")
    assert (event["kind"], event["sensor"], event["by"]) == ("suspended", sensors[1], "dana")


def test_commands_tell_members_of_their_own_sensors_only(
    cast: Cast, sensors: list[int], clock: FixedClock
) -> None:
    from teiten.fleet.commands.models import CommandResult

    know_operators(clock)
    command = start_command(sensors, clock, cast)
    for number in sensors[:2]:
        body, signature = make_result(command.pk, number, payload_of(command), output=f"of {number}")
        CommandResult.objects.create(
            command=command, sensor_id=number, state="done", reason="", key_no=1, body=body,
            signature=signature if number == sensors[1] else b"\0" * 64,
            started_at=clock.now(), ended_at=clock.now(), received_at=clock.now(),
        )  # fmt: skip

    (whole,), (own,) = (read_all(user, "commands", "commands") for user in (cast.ann, cast.alice))
    results = {
        user.user_id: read_all(user, f"commands/{command.pk}/results", "results")
        for user in (cast.ann, cast.alice)
    }
    (rollout,) = read_all(cast.alice, "rollouts", "rollouts", kind="command")
    targets = read_all(cast.alice, f"rollouts/{command.rollout_id}/sensors", "sensors")

    assert (sum(whole["sensors"].values()), sum(own["sensors"].values())) == (5, 4)
    assert [(one["sensor"], one["output"]) for one in results["alice"]] == [(sensors[1], f"of {sensors[1]}")]
    assert [one["output"] for one in results["ann"]] == [None, f"of {sensors[1]}"], (
        "a forged answer tells nothing"
    )
    assert results["ann"][0]["forgery"]
    assert sum(rollout["sensors"].values()) == 4
    assert "total" not in rollout
    assert {one["sensor"] for one in targets} == set(sensors[1:])
    assert call(cast.bob, f"commands/{command.pk}/results").status_code == 200
    lone = enter_lone_host(cast)
    for path in (f"commands/{command.pk}/results", f"rollouts/{command.rollout_id}/sensors"):
        assert call(lone, path).status_code == 404


def test_lists_cost_the_same_however_long(cast: Cast, sensors: list[int], clock: FixedClock) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from teiten.fleet.rollouts import services
    from teiten.fleet.services import Act

    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert call(cast.ann, "rollouts").json()["rollouts"]
            assert call(cast.ann, "commands").status_code == 200
        return len(queries)

    act = Act(clock.now(), cast.dana)
    services.start_rollout(kind="update", subject="1", sensors=sensors, per_minute=60, act=act)
    before = count()
    for subject in "234":
        services.start_rollout(kind="update", subject=subject, sensors=sensors, per_minute=60, act=act)

    assert count() == before


def enter_lone_host(cast: Cast) -> Any:
    """Give a member of the observatory, which houses no sensor."""
    cast.ann.role = "member"
    cast.ann.save(update_fields=["role"])
    return cast.ann


def test_reach_is_told_of_own_sensors(cast: Cast, sensors: list[int], clock: FixedClock) -> None:
    from teiten.fleet.canary.models import Reach

    for number in sensors[:2]:
        Reach.objects.create(
            sensor_id=number,
            address="192.0.2.1",
            protocol=6,
            port=23,
            arrived=3,
            lost=1,
            last_tried_at=clock.now(),
        )

    assert call(cast.alice, "reach", sensor=sensors[1]).json()["ports"][0]["protocol"] == "tcp"
    assert call(cast.alice, "reach", sensor=sensors[0]).json() == {"ports": []}


@pytest.mark.parametrize(
    ("name", "parameters", "field"),
    [
        ("sensors", {"state": "fine"}, "state"),
        ("sensors", {"page": "-1"}, "page"),
        ("sensors", {"page": str(1 << 63)}, "page"),
        ("sensors", {"limit": "0"}, "limit"),
        ("sensors", {"limit": "1001"}, "limit"),
        ("sensors", {"stat": "silent"}, "stat"),
        ("sensors", {"dataset": "import:x"}, "dataset"),
        ("alarms", {"kind": "loud"}, "kind"),
        ("commands", {"page": "\0"}, "page"),
        ("reach", {}, "sensor"),
    ],
)
def test_what_makes_no_sense_names_its_parameter(
    cast: Cast, name: str, parameters: dict[str, str], field: str
) -> None:
    answer = call(cast.ann, name, **parameters)

    assert (answer.status_code, answer.json()["error"], answer.json()["field"]) == (400, "bad_query", field)


def test_a_token_needs_the_scope_of_sensors_and_nothing_can_be_written(cast: Cast, clock: FixedClock) -> None:
    from teiten.accounts.tokens import issue_token

    def headers(*scopes: str) -> dict[str, str]:
        _, text = issue_token(
            user=cast.alice,
            name="t",
            scopes=scopes,
            expires_at=clock.now() + timedelta(days=9),
            now=clock.now(),
        )
        return {"authorization": f"Bearer {text}"}

    client = client_of()
    for name in ("sensors", "alarms", "events", "commands", "rollouts", "reach?sensor=1"):
        path = f"/api/v1/fleet/{name}"
        assert client.get(path).status_code == 401
        assert client.get(path, headers=headers("search", "export")).json()["error"] == "missing_scope"
        assert client.get(path, headers=headers("sensors")).status_code == 200
        assert client.post(path, headers=headers("sensors")).status_code == 405


def test_every_call_is_described(cast: Cast) -> None:
    described = client_of(cast.ann).get("/api/v1/openapi.json").json()["paths"]

    fleet = {path: told["get"] for path, told in described.items() if "/fleet/" in path}
    assert len(fleet) == 9
    assert all(told["summary"] and told["description"] for told in fleet.values())
