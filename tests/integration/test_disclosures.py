"""What is handed out is written down: before it leaves, whoever asked, by whichever way; and found again."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.portal.testing import Cast, client_of, make_cast, migrated_database
from teiten.search import language

sys.path.insert(0, str(Path(__file__).parent))
from probing_fixtures import BROAD, SENSORS, open_probed_world
from search_fixtures import FIRST, NOW, World
from test_search_masking import find_leaks

pytestmark = pytest.mark.requirement("R0.1", "R2.3")

MEMBERS_DAY = {"dataset": "live", "period": "24h"}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with open_probed_world() as made:
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


def log() -> list[Any]:
    from teiten.custody.models import Disclosure

    return list(Disclosure.objects.select_related("user", "organisation", "end").order_by("pk"))


def token_of(user: Any) -> dict[str, str]:
    from teiten.accounts.tokens import issue_token

    _, text = issue_token(
        user=user, name="t", scopes=["search", "export"], expires_at=NOW + timedelta(days=9), now=NOW
    )
    return {"authorization": f"Bearer {text}"}


@pytest.mark.parametrize(
    ("target", "call", "channel"),
    [
        ("/explore/", "rows", "page"),
        ("/explore/packets/", "rows", "page"),
        (f"/sources/{BROAD}", "source", "page"),
        ("/api/v1/rows", "rows", "api"),
        (f"/api/v1/source?source={BROAD}", "source", "api"),
        ("/live/", "live", "live"),
    ],
)
def test_every_way_to_rows_is_written_down(cast: Cast, target: str, call: str, channel: str) -> None:
    path, _, more = target.partition("?")
    asked = {**MEMBERS_DAY, **dict(part.split("=") for part in more.split("&") if part)}

    response = client_of(cast.ann).get(path, asked)

    assert response.status_code == 200
    row = log()[-1]
    assert (row.call, row.channel, row.user, row.level, row.tlp) == (call, channel, cast.ann, "real", "AMBER")
    assert row.rows > 0
    assert (row.dataset, row.organisation) == ("live", cast.observatory)
    assert "period=custom" in row.query, "a relative period would be another one tomorrow"
    if channel == "api":
        assert row.sha256 == hashlib.sha256(response.content).hexdigest()


def test_figures_and_refusals_are_not(cast: Cast) -> None:
    client = client_of(cast.alice)

    for target in ("/api/v1/totals", "/api/v1/top?by=country", "/api/v1/rows?q=ttl+%3D+3", "/sensors/"):
        client.get(target)

    assert log() == []


def test_a_members_rows_are_at_their_level(cast: Cast) -> None:
    client_of(cast.alice).get("/api/v1/rows", {**MEMBERS_DAY, "columns": "protocol,dst_port"})

    row = log()[-1]
    assert (row.level, row.organisation, row.end_at) == ("pseudonym", cast.alpha, NOW - timedelta(hours=1))


@pytest.mark.parametrize("file_format", ["csv", "parquet"])
def test_a_file_is_on_record_from_its_first_byte_with_its_hash(cast: Cast, file_format: str) -> None:
    response = client_of().get("/api/v1/export", {"format": file_format}, headers=token_of(cast.alice))
    data = b"".join(response.streaming_content)

    row = log()[-1]
    assert (row.channel, row.call, row.is_file, row.level) == ("export", "export", True, "pseudonym")
    assert (row.end.is_whole, row.end.byte_count) == (True, len(data))
    assert row.end.sha256 == hashlib.sha256(data).hexdigest()
    assert response["Teiten-Tlp"] == "AMBER"


def test_a_file_that_the_client_drops_is_on_record_as_broken_off(cast: Cast) -> None:
    response = client_of().get("/api/v1/export", {"format": "csv"}, headers=token_of(cast.ann))
    pieces = iter(response.streaming_content)
    first = next(pieces)
    assert not hasattr(log()[-1], "end"), "while it flows it has no end"
    del pieces
    response.close()
    del response

    row = log()[-1]
    assert (row.end.is_whole, row.end.byte_count) == (False, len(first))


def test_nothing_is_handed_out_that_cannot_be_written_down(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import DatabaseError

    from teiten.custody import disclosures

    def refuse(*_: Any, **__: Any) -> None:
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(disclosures, "record", refuse)
    client = client_of(cast.ann)
    client.raise_request_exception = False

    answer = client.get("/api/v1/rows", MEMBERS_DAY)
    assert answer.status_code == 500
    assert BROAD.encode() not in answer.content
    file = client.get("/api/v1/export", {"format": "csv"})
    with pytest.raises(DatabaseError):
        next(iter(file.streaming_content))


def test_the_record_is_never_changed(cast: Cast) -> None:
    from django.db import Error, connection, transaction

    client_of(cast.ann).get("/api/v1/rows", MEMBERS_DAY)
    b"".join(client_of(cast.ann).get("/api/v1/export", {"format": "csv"}).streaming_content)

    for statement in (
        "UPDATE custody_disclosure SET rows = 0",
        "DELETE FROM custody_disclosure",
        "TRUNCATE custody_disclosure CASCADE",
        "UPDATE custody_disclosureend SET is_whole = false",
        "DELETE FROM custody_disclosureend",
    ):
        with pytest.raises(Error), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    assert len(log()) == 2


class TestWhoReceived:
    def ask(self, text: str, **choices: Any) -> Any:
        from teiten.custody.recipients import read_subject, who_received

        return who_received(read_subject(text), **choices)

    def give(self, user: Any, **asked: str) -> None:
        client_of(user).get("/api/v1/rows", {**MEMBERS_DAY, "columns": "src_addr,dst_port", **asked})

    def test_filters_are_taken_with_the_address_put_in(self, cast: Cast) -> None:
        self.give(cast.ann)
        self.give(cast.ann, q=f"src_addr = {BROAD}")
        self.give(cast.ann, q="src_addr = 240.0.0.0/16 and country = CN")
        self.give(cast.ann, q=f"src_addr != {BROAD} and dst_addr != {BROAD}")
        self.give(cast.alice, q=f"src_addr = {BROAD} or country = CN")

        found = [each.disclosure.query for each in self.ask(BROAD).receipts]

        assert len(found) == 4, "an analyst's rows may hold the address as a destination too"
        assert not any("%21%3D" in query for query in found)
        assert {each.disclosure.user for each in self.ask(BROAD).receipts} == {cast.ann, cast.alice}

    def test_a_sensors_address_is_a_destination_only_for_real_viewers(self, cast: Cast) -> None:
        self.give(cast.ann, q="src_addr = 240.0.0.0/16")
        self.give(cast.alice, q="src_addr = 203.0.113.0/24")

        assert [each.disclosure.user for each in self.ask("192.0.2.1").receipts] == [cast.ann]

    def test_sensors_are_found_by_filter_and_packet(self, cast: Cast) -> None:
        self.give(cast.ann, q=f"sensor = {SENSORS[0]}")
        self.give(cast.ann, q=f"sensor = {SENSORS[1]}")
        rows = client_of(cast.ann).get("/api/v1/rows", {**MEMBERS_DAY, "q": f"sensor = {SENSORS[1]}"}).json()
        client_of(cast.ann).get("/api/v1/packet", {"reference": rows["references"][0]})

        calls = [each.disclosure.call for each in self.ask(f"S-{SENSORS[1]}").receipts]

        assert calls == ["packet", "rows", "rows"]

    def test_what_the_store_denies_is_left_out_and_what_it_cannot_tell_stays(
        self, cast: Cast, world: World
    ) -> None:
        from teiten.search.visibility import for_role

        self.give(cast.ann)

        def verify(query: Any) -> bool | None:
            return bool(world.search.rows(for_role("analyst"), query, limit=1, count=False).rows)

        assert [each.is_verified for each in self.ask(BROAD, verify=verify).receipts] == [True]
        assert self.ask("198.51.100.77", verify=verify).receipts == ()
        assert [each.is_verified for each in self.ask(BROAD, verify=lambda _: None).receipts] == [None]
        assert self.ask(BROAD, end=NOW - timedelta(days=9)).considered == 0

    @pytest.mark.parametrize("text", ["", "nowhere", "S-99999999999", "S--1", "192.0.2.256"])
    def test_what_is_no_subject_is_refused_by_name(self, text: str) -> None:
        from teiten.custody.errors import CustodyInputError
        from teiten.custody.recipients import read_subject

        with pytest.raises(CustodyInputError, match="subject"):
            read_subject(text)

    @given(
        st.sampled_from(["192.0.2.1", "192.0.2.0/25", "203.0.113.9"]),
        st.sampled_from(["=", "!="]),
        st.sampled_from(["192.0.2.0/24", "192.0.2.1", "198.51.100.0/24"]),
        st.booleans(),
    )
    @settings(max_examples=40)
    def test_a_possible_match_is_never_lost(
        self, subject: str, operator: str, value: str, negated: bool
    ) -> None:
        """For every single address of the subject: if it matches, the judgement must not say no."""
        from teiten.custody.recipients import may_match

        text = f"src_addr {operator} {value}"
        expression = language.parse(f"not ({text} or country = CN)" if negated else text)
        network = ip_network(subject)
        matches = any(
            ((address in ip_network(value)) == (operator == "=")) != negated
            for address in (network[0], network[-1])
        )

        assert may_match(expression, {"src_addr": network}) or not matches


class TestPayload:
    @pytest.fixture
    def asked(self) -> dict[str, str]:
        return {**MEMBERS_DAY, "columns": "payload,src_addr", "q": "protocol = udp"}

    def test_is_masked_for_everybody_without_grant_and_reason(
        self, cast: Cast, asked: dict[str, str]
    ) -> None:
        for user in (cast.ann, cast.dana, cast.alice):
            assert "payload" in client_of(user).get("/api/v1/rows", asked).json()["masked"]

    def test_opens_by_grant_and_reason_and_both_are_on_record(
        self, cast: Cast, asked: dict[str, str]
    ) -> None:
        from teiten.accounts import services
        from teiten.custody.models import PayloadReason

        services.change_user(cast.ann, may_see_payload=True, act=services.Act(NOW))
        client = client_of(cast.ann)
        assert "payload" in client.get("/api/v1/rows", asked).json()["masked"]
        short = client.get("/api/v1/rows", asked, headers={"Teiten-Payload-Reason": "look"})
        told = client.get(
            "/api/v1/rows",
            asked,
            headers={"Teiten-Payload-Reason": "%E8%AA%BF%E6%9F%BB%E7%95%AA%E5%8F%B712345678"},
        )

        assert (short.status_code, told.status_code) == (400, 200)
        assert "payload" not in told.json()["masked"]
        assert b"secret!".hex() in told.content.decode().lower()
        reason = PayloadReason.objects.get()
        assert reason.reason.startswith("調査番号")
        assert log()[-1].payload_reason == reason

    def test_a_reason_without_grant_opens_nothing(self, cast: Cast, asked: dict[str, str]) -> None:
        from teiten.custody.models import PayloadReason

        for user in (cast.alice, cast.ann):
            answer = client_of(user).get(
                "/api/v1/rows", asked, headers={"Teiten-Payload-Reason": "because I want to"}
            )
            assert (answer.status_code, answer.json()["error"]) == (403, "not_permitted")
        assert not PayloadReason.objects.exists()

    def test_is_never_granted_to_a_member(self, cast: Cast) -> None:
        from teiten.accounts import services
        from teiten.accounts.errors import AccountsInputError

        with pytest.raises(AccountsInputError, match="never for members"):
            services.change_user(cast.alice, may_see_payload=True, act=services.Act(NOW))
        services.change_user(cast.ann, may_see_payload=True, act=services.Act(NOW))
        services.change_user(cast.ann, role="member", act=services.Act(NOW))
        cast.ann.refresh_from_db()
        assert not cast.ann.may_see_payload


def list_api_calls() -> list[str]:
    from teiten.portal.testing import start_django_for_tests

    start_django_for_tests()
    from teiten.portal.api.routes import api

    return sorted(
        path.removeprefix("/api/v1") for path in api.get_openapi_schema(path_prefix="/api/v1")["paths"]
    )


#: What a call needs besides the question.
NEEDED = {
    "/source": {"source": "203.0.113.0/24"},
    "/top": {"by": "src_addr"},
    "/packet": {"reference": f"live~{FIRST + 1}-1-1-1@1795143600000000"},
}


@pytest.mark.parametrize("way", ["session", "token"])
def test_no_call_of_the_api_tells_a_member(cast: Cast, way: str) -> None:
    """Every path that the API describes, with every name that it might take for a column or dimension."""
    client = client_of(cast.alice if way == "session" else None)
    headers = token_of(cast.alice) if way == "token" else {}
    for path in list_api_calls():
        for more in ({}, {"by": "src_addr"}, {"by": "dst_port"}, {"columns": "sensor,dst_addr,ttl,src_addr"}):
            for base in (MEMBERS_DAY, {}):
                response = client.get(
                    f"/api/v1{path}", {**base, **NEEDED.get(path, {}), **more}, headers=headers
                )
                content = b"".join(response.streaming_content) if response.streaming else response.content
                text = re.sub(r'"(next_page|elapsed_seconds)":("[^"]*"|[0-9.e-]+)', "", content.decode())
                if path != "/packet":
                    assert find_leaks(text) == [], (path, more)
                assert response.status_code < 500, (path, more)


def test_strangers_get_nothing_from_any_call() -> None:
    for path in list_api_calls():
        # With something for each part of a path, so that it is the call that refuses and no router.
        filled = re.sub(r"\{[^}]*\}", "1", path)
        assert client_of().get(f"/api/v1{filled}").status_code == 401, path


def test_a_host_exports_the_own_sensors_as_they_are(cast: Cast, world: World) -> None:
    from teiten.fleet.models import Dataset, Region, Sensor, SensorState

    region = Region.objects.create(code="kanto", name_ja="関東", name_en="Kanto", position=1)
    Sensor.objects.create(
        id=SENSORS[2],
        name="HOSTED",
        organisation=cast.alpha,
        region=region,
        dataset=Dataset.LIVE,
        state=SensorState.ACTIVE,
        created_at=NOW,
    )
    asked = {"format": "csv", "q": f"sensor = {SENSORS[2]}", "columns": "dst_addr,sensor,payload"}

    mine = client_of(cast.alice).get("/api/v1/export", asked)
    rows = list(csv.DictReader(io.StringIO(b"".join(mine.streaming_content).decode())))
    theirs = client_of(cast.charlie).get("/api/v1/export", asked)

    assert {row["dst_addr"] for row in rows} == {"192.0.2.3"}
    assert {row["payload"] for row in rows} == {""}
    assert theirs.status_code == 403
    assert log()[-1].level == "real"
    assert json.loads(theirs.content)["field"] == "sensor"
