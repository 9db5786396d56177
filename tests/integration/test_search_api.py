"""The API over a real store and a real database: who gets what, and how it refuses."""

from __future__ import annotations

import asyncio
import io
import json
import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from teiten.portal.testing import Cast, client_of, make_cast, migrated_database

sys.path.insert(0, str(Path(__file__).parent))
from search_fixtures import NOW, World, open_world

pytestmark = pytest.mark.requirement("R2.4")

CALLS = {
    "totals": {},
    "series": {"by": "country"},
    "top": {"by": "dst_port"},
    "facets": {},
    "rows": {},
    "source": {"source": "240.0.0.3"},
    "coverage": {},
    "sensors": {},
    "datasets": None,
    "fields": None,
    "columns": None,
    "complete": None,
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


def issue(user: Any, *scopes: str) -> str:
    from teiten.accounts.tokens import issue_token

    _, text = issue_token(user=user, name="t", scopes=scopes, expires_at=NOW + timedelta(days=9), now=NOW)
    return text


@pytest.mark.parametrize("name", CALLS)
def test_every_call_answers_an_analyst_and_a_member(cast: Cast, name: str) -> None:
    parameters = CALLS[name] or {}

    for user in (cast.ann, cast.alice):
        response = call(user, name, **parameters)

        assert response.status_code == 200, response.content
        body = response.json()
        if CALLS[name] is not None:
            basis = body.get("basis", body)
            assert basis["share"] > 0.9
            # A member's period ends an hour before now (then a hole of 01:45 was still young), or with yesterday where figures are by day.
            until = {"source": "2026-11-20T15:00:00Z"}.get(name, "2026-11-21T01:00:00Z")
            assert basis["complete_until"] == ("2026-11-21T03:00:00Z" if user is cast.ann else until)
            assert basis["least_sensors"] == (1 if user is cast.ann else 3)


@pytest.mark.parametrize("name", [*CALLS, "packet", "export"])
def test_a_stranger_gets_nothing(cast: Cast, name: str) -> None:
    response = call(None, name)

    assert response.status_code == 401
    assert response.json()["error"] == "not_signed_in"


def test_a_token_opens_what_its_scope_says(cast: Cast) -> None:
    client = client_of()
    headers = {"authorization": f"Bearer {issue(cast.ann, 'search')}"}

    assert client.get("/api/v1/totals", headers=headers).status_code == 200
    refused = client.get("/api/v1/export", headers=headers)
    assert (refused.status_code, refused.json()["error"]) == (403, "missing_scope")
    assert client.get("/api/v1/sensors", headers=headers).status_code == 403


def test_a_wrong_token_is_refused_with_its_reason(cast: Cast) -> None:
    response = client_of().get("/api/v1/totals", headers={"authorization": "Bearer tto_nothing"})

    assert response.status_code == 401
    assert response.json() == {"error": "bad_token", "message": "this API token is unknown"}
    assert response["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("name", "parameters", "status", "code", "field"),
    [
        ("totals", {"q": "dst_port = 70000"}, 400, "bad_query", "dst_port"),
        ("totals", {"perod": "7d"}, 400, "bad_query", "perod"),
        ("totals", {"period": "8d"}, 400, "bad_query", "period"),
        ("totals", {"step": "x"}, 400, "bad_query", "step"),
        ("totals", {"step": "7"}, 400, "bad_query", "step"),
        ("top", {}, 400, "bad_query", "by"),
        ("top", {"by": "colour"}, 400, "bad_query", "dimension"),
        ("top", {"by": "country", "limit": "0"}, 400, "bad_query", "limit"),
        ("rows", {"limit": "100000"}, 400, "bad_query", "limit"),
        ("rows", {"columns": "src_adr"}, 400, "bad_query", "columns"),
        ("rows", {"page": "nonsense"}, 400, "bad_query", "page"),
        ("packet", {"reference": "live~1-1-1-1@1"}, 404, "not_found", "reference"),
        ("source", {"source": "240.0.0.0/4"}, 400, "bad_query", "source"),
        ("source", {"source": "nowhere"}, 400, "bad_query", "source"),
        ("export", {"format": "xlsx"}, 400, "bad_query", "format"),
        ("datasets", {"q": "x"}, 400, "bad_query", "q"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_form(
    cast: Cast, name: str, parameters: dict[str, str], status: int, code: str, field: str
) -> None:
    response = call(cast.ann, name, **parameters)

    body = response.json()
    assert (response.status_code, body["error"], body["field"]) == (status, code, field)
    assert field in body["message"] or code != "bad_query"


def test_an_address_that_is_no_call_is_json_too(cast: Cast) -> None:
    response = client_of(cast.ann).get("/api/v1/nothing")

    assert (response.status_code, response.json()["error"]) == (404, "no_such_call")


def test_too_many_calls_are_put_off(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    from teiten.portal.api import guard

    monkeypatch.setattr(guard, "limit", guard.RateLimit(2))

    answers = [call(cast.ann, "fields") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert int(answers[2]["Retry-After"]) >= 1
    assert call(cast.alice, "fields").status_code == 200


@pytest.mark.requirement("R0.1")
@pytest.mark.parametrize(
    "field", ["dst_addr", "tcp_seq", "tcp_ack", "ip_id", "sensor", "payload_hash", "src_port", "ttl"]
)
def test_a_member_may_not_filter_by_what_is_masked(cast: Cast, field: str) -> None:
    value = {"dst_addr": "192.0.2.1", "payload_hash": "0" * 16}.get(field, "1")

    response = call(cast.alice, "totals", q=f"{field} = {value}")

    assert (response.status_code, response.json()["field"]) == (403, field)
    assert call(cast.ann, "totals", q=f"{field} = {value}").status_code == 200


def test_rows_and_packet_go_together(cast: Cast) -> None:
    rows = call(cast.ann, "rows", limit=3).json()
    packet = call(cast.ann, "packet", reference=rows["references"][0]).json()

    assert packet["fields"]["src_addr"] == rows["rows"][0][rows["columns"].index("src_addr")]
    # A single packet would tell a member which sensor a probe of their own reached.
    refused = call(cast.alice, "packet", reference=rows["references"][0])
    assert (refused.status_code, refused.json()["error"]) == (403, "not_permitted")
    assert call(cast.alice, "rows", limit=3).json()["references"] == []


def test_an_export_says_what_it_rests_on(cast: Cast) -> None:
    response = call(cast.ann, "export", format="parquet", q="country = CN")
    data = b"".join(response.streaming_content)

    table = pq.read_table(io.BytesIO(data))
    assert table.num_rows == int(response["Teiten-Rows"])
    assert set(table.column("country").to_pylist()) == {"CN"}
    assert response["Teiten-Dataset"] == "live"
    assert table.schema.metadata[b"teiten.query"].decode() == response["Teiten-Query"]
    assert response["Content-Disposition"].endswith('.parquet"')


def test_the_description_is_served_locally(cast: Cast) -> None:
    client = client_of(cast.alice)

    page = client.get("/api/v1/docs")
    document = json.loads(client.get("/api/v1/openapi.json").content)

    assert page.status_code == 200
    assert b"https://" not in page.content
    assert {f"/api/v1/{name}" for name in CALLS} <= set(document["paths"])
    assert "script-src 'self'" in page["Content-Security-Policy"]
    assert client_of().get("/api/v1/docs").status_code == 302
    for address in re.findall(rb'(?:src|href)="([^"]+)"', page.content):
        assert address.startswith(b"/static/")
        assert client.get(address.decode()).status_code == 200


def test_under_asgi_a_file_flows_piece_by_piece(cast: Cast) -> None:
    from django.core.handlers.asgi import ASGIRequest

    from teiten.portal.api.streaming import respond_with_file
    from teiten.search.exports import Export, ExportStart

    asked: list[int] = []

    def pieces() -> Iterator[bytes]:
        for number in range(3):
            asked.append(number)
            yield b"x"

    start = ExportStart("a.csv", "text/csv", (), (), 3, {"teiten.coverage_share": "1.0000"})
    request = ASGIRequest({"type": "http", "method": "GET", "path": "/", "headers": []}, io.BytesIO())
    response = respond_with_file(request, Export(start, pieces()))

    async def read_two() -> None:
        content = aiter(response)
        assert [await anext(content), await anext(content)] == [b"x", b"x"]

    asyncio.run(read_two())
    assert response.is_async
    assert asked == [0, 1]
    assert response["Teiten-Coverage-Share"] == "1.0000"
