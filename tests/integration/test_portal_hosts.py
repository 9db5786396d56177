"""The pages of hosts: whom to tell, what may be commanded, and that each organisation sees its own only."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from teiten.foundation.clock import FixedClock
from teiten.portal.testing import Cast, client_of, make_cast, migrated_database

sys.path.insert(0, str(Path(__file__).parent))
from command_fixtures import enter_sensors

pytestmark = pytest.mark.requirement("R1.3", "R3.1")


@pytest.fixture
def cast(postgres_server_url: str, clock: FixedClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cast]:
    with migrated_database(postgres_server_url):
        from teiten.portal import middleware

        monkeypatch.setattr(middleware, "clock", clock)
        yield make_cast(clock.now())


def path_of(name: str, **gaps: Any) -> str:
    from django.urls import reverse

    return reverse(name, kwargs=gaps)


def find_host(organisation: Any) -> Any:
    from teiten.fleet import hosting

    return hosting.find_host(organisation)


CONTACT = {"name": "受付", "mail": "noc@alpha.example", "language": "ja"}


def test_a_host_names_its_contacts_and_takes_them_away(cast: Cast) -> None:
    client, add = client_of(cast.alice), path_of("add-contact", code="alpha")

    wrong = client.post(add, {**CONTACT, "mail": "no address"})
    done = [client.post(add, CONTACT).status_code for _ in range(2)]

    assert "mail" in wrong.context["contact_form"].errors
    assert done == [302, 400], "the second press of the button enters nobody twice"
    (contact,) = find_host(cast.alpha).contacts
    remove = path_of("remove-contact", code="alpha", number=contact.pk)
    assert [client.post(remove).status_code for _ in range(2)] == [302, 302], "gone is gone"
    assert find_host(cast.alpha).contacts == ()


def test_what_the_fleet_refuses_is_said_on_the_page(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    from teiten.fleet import hosting
    from teiten.fleet.errors import FleetError

    def refuse(*_given: Any, **_named: Any) -> None:
        raise FleetError("too much within one hour")

    client = client_of(cast.alice)
    client.post(path_of("add-contact", code="alpha"), CONTACT)
    (contact,) = find_host(cast.alpha).contacts
    monkeypatch.setattr(hosting, "remove_contact", refuse)

    answer = client.post(path_of("remove-contact", code="alpha", number=contact.pk))

    assert answer.status_code == 400
    assert "too much within one hour" in answer.content.decode()


def test_a_host_agrees_to_classes_and_says_why(cast: Cast) -> None:
    client, agree = client_of(cast.alice), path_of("agree-classes", code="alpha")

    silent = client.post(agree, {"classes": ["A", "C"], "note": " "})
    unknown = client.post(agree, {"classes": ["E"], "note": "contract 7"})
    done = client.post(agree, {"classes": ["A", "C"], "note": "contract 7"})

    assert "note" in silent.context["agreement_form"].errors
    assert "classes" in unknown.context["agreement_form"].errors
    assert done.status_code == 302
    assert find_host(cast.alpha).command_classes == ("A", "C")
    assert client.post(agree, {"note": "no more commands"}).status_code == 302
    assert find_host(cast.alpha).command_classes == ()


@pytest.mark.parametrize("route", ["host", "add-contact", "agree-classes"])
def test_another_organisation_is_as_unknown_as_none(cast: Cast, route: str) -> None:
    for user in (cast.charlie, cast.ann):
        client = client_of(user)
        act = client.get if route == "host" else client.post
        assert act(path_of(route, code="alpha")).status_code == 404
        assert act(path_of(route, code="nobody")).status_code == 404
    assert client_of(cast.dana).get(path_of("host", code="alpha")).status_code == 200


def test_operators_see_all_hosts_and_who_has_nobody_to_be_told(cast: Cast, clock: FixedClock) -> None:
    enter_sensors(cast, clock)
    client_of(cast.alice).post(path_of("add-contact", code="alpha"), CONTACT)
    client = client_of(cast.dana)

    page = client.get(path_of("hosts"), headers={"accept-language": "en"})
    found = client.get(path_of("hosts"), {"q": "BET"})

    counted = {line["host"].code: (line["host"].sensors_housed, line["host"].contacts_named) for line in page.context["lines"]}  # fmt: skip
    assert counted == {"alpha": (2, 1), "beta": (1, 0), "observatory": (0, 0)}
    assert page.content.decode().count("nobody is told") == 1
    assert [line["host"].code for line in found.context["lines"]] == ["beta"]
    assert client.get(path_of("hosts"), {"q": "\0"}).status_code == 200
    own = client_of(cast.alice).get(path_of("hosts"))
    assert own["Location"] == path_of("host", code="alpha")


def test_the_list_costs_the_same_however_many_hosts(cast: Cast) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client = client_of(cast.dana)
    with CaptureQueriesContext(connection) as queries:
        client.get(path_of("hosts"))

    about_hosts = [one for one in queries if "fleet_hostcontact" in one["sql"]]
    assert len(about_hosts) == 1


def test_a_sensors_own_page_shows_which_ports_the_world_reaches(
    cast: Cast, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from teiten.fleet.canary.models import Reach
    from teiten.portal import frame
    from teiten.portal.sensors import reach

    own, theirs = enter_sensors(cast, clock)[1], enter_sensors_of_beta()
    for sensor in (own, theirs):
        for protocol, port, arrived, lost in ((6, 445, 0, 9), (6, 23, 98, 2), (17, 53, 5, 1)):
            Reach.objects.create(
                sensor_id=sensor, address="192.0.2.7", protocol=protocol, port=port, arrived=arrived, lost=lost,
                lost_in_row=lost if port != 23 else 0, last_tried_at=clock.now(),
                last_arrived_at=clock.now() if arrived else None, lost_since=clock.now() if port != 23 else None,
            )  # fmt: skip
    monkeypatch.setattr(reach, "_MOST_TILES", 2)

    drawn = reach.describe_reach(own, cast.alice, frame.instants())

    assert (drawn.reached, drawn.total, drawn.left_out) == (1, 3, 1), "what is in order is left out first"
    assert [(band.protocol, [tile.port for tile in band.tiles]) for band in drawn.bands] == [
        ("TCP", [445]),
        ("UDP", [53]),
    ]
    assert drawn.bands[0].tiles[0].mark.css == "rc-lost"
    assert reach.describe_reach(theirs, cast.alice, frame.instants()).bands == (), "somebody else's"


def enter_sensors_of_beta() -> int:
    from teiten.fleet.models import Sensor

    return int(Sensor.objects.filter(organisation__code="beta").values_list("pk", flat=True)[0])
