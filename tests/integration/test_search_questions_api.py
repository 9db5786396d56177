"""The API's calls about breadth, groups, news, movers and examples."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from teiten.portal.testing import Cast, client_of, make_cast, migrated_database

sys.path.insert(0, str(Path(__file__).parent))
from search_fixtures import FIRST, NOW, World, open_world

pytestmark = pytest.mark.requirement("R2.4")

CALLS: dict[str, dict[str, Any]] = {
    "breadth": {"q": "dst_port = 23/tcp"},
    "compare": {"by": "dst_port", "one_region": "kanto", "other_region": "kinki,kyushu"},
    "news": {"by": "dst_port", "days": 2},
    "movers": {"by": "dst_port"},
}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with open_world() as made:
        yield made


@pytest.fixture
def cast(postgres_server_url: str, world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cast]:
    with migrated_database(postgres_server_url):
        from teiten.portal import middleware, services
        from teiten.portal.api import guard

        monkeypatch.setattr(middleware, "clock", world.clock)
        monkeypatch.setattr(guard, "limit", guard.RateLimit(guard.CALLS_PER_MINUTE))
        services.set_search(world.search)
        yield make_cast(NOW)


def call(user: Any, name: str, **parameters: Any) -> Any:
    return client_of(user).get(f"/api/v1/{name}", parameters)


def test_every_call_answers_an_analyst_and_a_member(cast: Cast) -> None:
    for name, parameters in CALLS.items():
        for user in (cast.ann, cast.alice):
            response = call(user, name, **parameters)

            assert response.status_code == 200, (name, response.content)
            assert response.json()["basis"]["dataset"] == "live"
            assert "basis" in response.json()


def test_a_stranger_gets_nothing(cast: Cast) -> None:
    for name, parameters in CALLS.items():
        assert call(None, name, **parameters).status_code == 401


def test_an_analyst_gets_what_the_search_says(cast: Cast) -> None:
    seen = call(cast.ann, "breadth", q="dst_port = 23/tcp").json()
    compared = call(
        cast.ann, "compare", by="dst_port", one_sensor=f"{FIRST + 1},{FIRST + 2}", against="before"
    ).json()

    assert seen["sensors_seen"] == 7
    assert compared["one"]["sensors"] == 2
    assert compared["rows"][0]["ratio_low"] < compared["rows"][0]["ratio"] < compared["rows"][0]["ratio_high"]


def test_refusals_name_the_field(cast: Cast) -> None:
    for name, parameters, status, field in (
        ("compare", {"by": "dst_port", "one_sensor": "seven"}, 400, "one_sensor"),
        ("compare", {"by": "nothing"}, 400, "dimension"),
        ("compare", {"by": "dst_port", "one_kind": "castle"}, 400, "one"),
        ("compare", {"by": "dst_port", "one_place": "x"}, 400, "one_place"),
        ("news", {"by": "asn"}, 400, "by"),
        ("news", {"days": 0}, 400, "days"),
        ("movers", {"limit": 900}, 400, "limit"),
        ("breadth", {"q": "ttl = 3", "period": "7d"}, 422, None),
        ("totals", {"mode": "loud"}, 400, "mode"),
    ):
        response = call(cast.ann, name, **parameters)

        assert response.status_code == status, (name, parameters, response.content)
        assert response.json().get("field") == field

    assert call(cast.alice, "compare", by="dst_port", one_sensor="7").status_code == 403
    assert call(cast.alice, "examples", payload_hash="0" * 16).status_code == 403
