"""Signing in through the browser: sessions, their limits, and what every answer carries."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from teiten.foundation.clock import FixedClock
from teiten.portal.testing import PASSWORD, Cast, client_of, make_cast, migrated_database

pytestmark = pytest.mark.requirement("R3.1")
NEW = "quite another passphrase 7"


@pytest.fixture
def cast(postgres_server_url: str, clock: FixedClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cast]:
    with migrated_database(postgres_server_url):
        from teiten.portal import middleware

        monkeypatch.setattr(middleware, "clock", clock)
        yield make_cast(clock.now())


def sign_in(client, user_id: str = "alice", password: str = PASSWORD, **more: str):
    return client.post("/sign-in/", {"user_id": user_id, "password": password, **more})


def is_signed_in(client) -> bool:
    return client.get("/me/").status_code == 200


def test_it_works(cast: Cast) -> None:
    client = client_of()

    answer = sign_in(client, next="/explore/?q=port%3A23")

    assert (answer.status_code, answer["Location"]) == (302, "/explore/?q=port%3A23")
    assert is_signed_in(client)
    cookie = answer.cookies["teiten-session"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert not cookie["max-age"], "it ends with the browser"
    assert answer.cookies["teiten-language"].value == "ja"


def test_strangers_are_sent_to_sign_in(cast: Cast) -> None:
    answer = client_of().get("/me/?a=1")
    assert answer["Location"] == "/sign-in/?next=%2Fme%2F%3Fa%3D1"

    partial = client_of().get(
        "/me/", headers={"HX-Request": "true", "HX-Current-URL": "http://testserver/explore/?q=1"}
    )
    assert partial.status_code == 401
    assert partial["HX-Redirect"].startswith("/sign-in/?next=http%3A%2F%2Ftestserver%2Fexplore")


@pytest.mark.parametrize(
    "target",
    ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/\\evil.example", "", "\x00"],
)
def test_nobody_is_sent_elsewhere(cast: Cast, target: str) -> None:
    assert sign_in(client_of(), next=target)["Location"] == "/"


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"password": "wrong"}, 401),
        ({"user_id": "ghost"}, 401),
        ({"user_id": "alice\0"}, 400),
        ({"user_id": ""}, 400),
        ({"password": "x" * 2000}, 400),
    ],
)
def test_a_refused_sign_in_says_so_in_the_form(cast: Cast, given: dict, status: int) -> None:
    client = client_of()

    answer = sign_in(client, **given)

    assert answer.status_code == status
    assert answer.context["form"].errors
    assert not is_signed_in(client)


def test_the_session_gets_a_new_key_at_sign_in(cast: Cast) -> None:
    client = client_of()
    client.cookies["teiten-session"] = "a" * 32

    sign_in(client)

    assert client.cookies["teiten-session"].value != "a" * 32


def test_the_table_of_sessions_opens_nothing(cast: Cast) -> None:
    from teiten.accounts.models import Session

    client = client_of()
    sign_in(client)
    stored = Session.objects.get(user=cast.alice)

    assert stored.session_key != client.cookies["teiten-session"].value
    thief = client_of()
    thief.cookies["teiten-session"] = stored.session_key
    assert not is_signed_in(thief)


def test_a_session_ends_after_half_an_hour_of_silence(cast: Cast, clock: FixedClock) -> None:
    client = client_of()
    sign_in(client)
    for _ in range(3):
        clock.advance(29 * 60)
        assert is_signed_in(client)

    clock.advance(30 * 60)
    assert not is_signed_in(client)


def test_a_page_that_refreshes_itself_does_not_keep_the_session(cast: Cast, clock: FixedClock) -> None:
    client = client_of()
    sign_in(client)
    for _ in range(29):
        clock.advance(60)
        assert client.get("/me/", headers={"X-Teiten-Background": "1"}).status_code == 200

    clock.advance(60)
    assert not is_signed_in(client)


def test_a_session_ends_after_twelve_hours(cast: Cast, clock: FixedClock) -> None:
    client = client_of()
    sign_in(client)
    for _ in range(35):
        clock.advance(20 * 60)
        assert is_signed_in(client)

    clock.advance(20 * 60)
    assert not is_signed_in(client)


def test_signing_out_ends_the_session_here_only(cast: Cast) -> None:
    here, there = client_of(), client_of()
    sign_in(here)
    sign_in(there)

    assert here.get("/sign-out/").status_code == 405
    assert here.post("/sign-out/")["Location"] == "/sign-in/"

    assert not is_signed_in(here)
    assert is_signed_in(there)


def test_people_see_and_end_their_own_sessions_only(cast: Cast) -> None:
    from teiten.accounts.models import Session

    here, there, stranger = client_of(), client_of(), client_of()
    sign_in(here)
    sign_in(there)
    sign_in(stranger, user_id="charlie")

    rows = here.get("/me/").context["sessions"]
    assert [row.is_this_one for row in rows].count(True) == 1
    assert len(rows) == 2

    other = next(row for row in rows if not row.is_this_one)
    stranger.post("/me/sessions/end/", {"session": other.stored_key})
    assert is_signed_in(there), "Charlie ended Alice's session"
    here.post("/me/sessions/end/", {"session": other.stored_key})
    assert not is_signed_in(there)
    sign_in(there)
    here.post("/me/sessions/end/")
    assert not is_signed_in(there)
    assert is_signed_in(here)
    assert Session.objects.filter(user=cast.charlie).count() == 1


def test_a_given_password_must_be_changed_first(cast: Cast) -> None:
    cast.alice.must_change_password = True
    cast.alice.save()
    client = client_of()
    sign_in(client)

    assert client.get("/me/")["Location"] == "/me/password/"
    assert client.get("/me/password/").context["must_change_password"]
    wrong = client.post(
        "/me/password/", {"old_password": "wrong", "new_password": NEW, "repeated_password": NEW}
    )
    assert wrong.context["form"].errors["old_password"]
    differs = client.post(
        "/me/password/", {"old_password": PASSWORD, "new_password": NEW, "repeated_password": NEW + "x"}
    )
    assert differs.context["form"].errors["repeated_password"]
    common = client.post(
        "/me/password/",
        {"old_password": PASSWORD, "new_password": "password1234", "repeated_password": "password1234"},
    )
    assert common.context["form"].errors["new_password"]
    answer = client.post(
        "/me/password/", {"old_password": PASSWORD, "new_password": NEW, "repeated_password": NEW}
    )

    assert answer["Location"] == "/me/"
    assert is_signed_in(client), "the one who changed it stays"
    assert sign_in(client_of(), password=NEW).status_code == 302


def test_somebody_switched_off_is_out_at_once(cast: Cast) -> None:
    client = client_of()
    sign_in(client)
    cast.alice.is_active = False
    cast.alice.save()

    assert not is_signed_in(client)


def test_the_language_is_a_choice(cast: Cast) -> None:
    client = client_of()
    assert client.get("/sign-in/")["Content-Language"] == "ja"
    assert client.get("/sign-in/", headers={"Accept-Language": "en"})["Content-Language"] == "en"

    answer = client.post("/language/", {"language": "en", "next": "/sign-in/"})
    assert answer["Location"] == "/sign-in/"
    assert client.get("/sign-in/", headers={"Accept-Language": "ja"})["Content-Language"] == "en"
    client.post("/language/", {"language": "tlh"})
    assert client.get("/sign-in/")["Content-Language"] == "en"

    sign_in(client)
    client.post("/language/", {"language": "en"})
    cast.alice.refresh_from_db()
    assert cast.alice.language == "en"


def test_forms_need_their_token(cast: Cast) -> None:
    from django.test import Client

    client = Client(enforce_csrf_checks=True)

    assert sign_in(client).status_code == 403
    page = client.get("/sign-in/").content.decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert token is not None
    assert sign_in(client, csrfmiddlewaretoken=token[1]).status_code == 302


def test_every_answer_carries_the_content_policy(cast: Cast) -> None:
    from teiten.portal.middleware import CONTENT_POLICY

    client = client_of()
    for path in ("/sign-in/", "/me/", "/no/such/page/"):
        answer = client.get(path)
        assert answer["Content-Security-Policy"] == CONTENT_POLICY
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert answer["X-Frame-Options"] == "DENY"
        assert answer["Referrer-Policy"] == "same-origin"
        assert "no-store" in answer["Cache-Control"]
    assert "unsafe" not in CONTENT_POLICY


def test_a_database_that_is_away_is_503(cast: Cast) -> None:
    from teiten.portal.boot import connect_django

    client = client_of()
    client.raise_request_exception = False
    sign_in(client)
    connect_django("postgresql://127.0.0.1:1/nowhere?connect_timeout=1")
    from django.db import connections

    connections.settings["default"]["OPTIONS"]["pool"] = False

    answer = client.get("/me/")

    assert answer.status_code == 503
    assert answer["Retry-After"] == "30"
