"""People, passwords, tokens, and the log of what happened to them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from teiten.foundation.clock import FixedClock
from teiten.portal.testing import PASSWORD, Cast

pytestmark = pytest.mark.requirement("R3.1")
HERE = "192.0.2.10"
NEW = "quite another passphrase 7"


def act_of(clock: FixedClock, actor=None):
    from teiten.accounts.services import Act

    return Act(at=clock.now(), actor=actor, address=HERE)


def make_user(cast: Cast, clock: FixedClock, **given):
    from teiten.accounts import services

    values = {
        "user_id": "eve",
        "display_name": "Eve",
        "organisation": cast.alpha,
        "role": "member",
        "password": NEW,
        **given,
    }
    return services.create_user(**values, act=act_of(clock))


def test_it_works(cast: Cast, clock: FixedClock) -> None:
    from teiten.accounts.models import Role

    user = make_user(cast, clock, user_id=" Eve ")

    assert user.user_id == "eve"
    assert user.must_change_password
    assert user.check_password(NEW)
    assert user.password.startswith("argon2$argon2id$")
    assert [role for role in Role if cast.ann.has_role(role)] == [Role.MEMBER, Role.ANALYST]


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("password", "short", "at least 12|12 文字以上"),
        ("password", "password1234", "common|一般的"),
        ("password", "1q2w3e4r5t6y", "common|一般的"),
        ("password", "eve.example.person", "similar|似"),
        ("password", "x" * 2000, "at most 1024"),
        ("user_id", "no spaces here", "."),
        ("user_id", "-dash", "."),
        ("user_id", "", "."),
        ("user_id", "alice", "."),
        ("role", "emperor", "."),
        ("language", "xx", "."),
        ("display_name", "", "."),
    ],
)
def test_bad_input_names_the_field(cast: Cast, clock: FixedClock, field: str, value: str, rule: str) -> None:
    from teiten.accounts.errors import AccountsInputError
    from teiten.accounts.models import User

    given = {field: value}
    if value == "eve.example.person":
        given = {"password": value, "user_id": "eve.example"}
    before = User.objects.count()

    with pytest.raises(AccountsInputError, match=rule) as refusal:
        make_user(cast, clock, **given)

    assert refusal.value.field == field
    assert User.objects.count() == before


def test_changing_a_password_ends_the_other_sessions(cast: Cast, clock: FixedClock) -> None:
    from teiten.accounts import services
    from teiten.accounts.models import Session
    from teiten.portal.testing import client_of

    here, there = client_of(cast.alice), client_of(cast.alice)
    assert Session.objects.filter(user=cast.alice).count() == 2

    services.change_password(
        cast.alice, old=PASSWORD, new=NEW, act=act_of(clock), keep_session=here.session.session_key
    )

    assert Session.objects.filter(user=cast.alice).count() == 1
    assert not there.session.get("_auth_user_id")


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [("wrong", NEW, "old_password"), (PASSWORD, PASSWORD, "new_password"), (PASSWORD, "short", "password")],
)
def test_a_refused_password_changes_nothing(
    cast: Cast, clock: FixedClock, old: str, new: str, field: str
) -> None:
    from teiten.accounts import services
    from teiten.accounts.errors import AccountsInputError

    with pytest.raises(AccountsInputError) as refusal:
        services.change_password(cast.alice, old=old, new=new, act=act_of(clock))

    assert refusal.value.field == field
    cast.alice.refresh_from_db()
    assert cast.alice.check_password(PASSWORD)


def test_a_reset_password_must_be_changed(cast: Cast, clock: FixedClock) -> None:
    from teiten.accounts import services

    given = services.reset_password(cast.alice, act=act_of(clock, cast.dana))

    cast.alice.refresh_from_db()
    assert cast.alice.check_password(given)
    assert cast.alice.must_change_password


def test_a_change_of_role_ends_sessions_and_is_recorded(cast: Cast, clock: FixedClock) -> None:
    from teiten.accounts import services
    from teiten.accounts.models import SecurityEvent, Session
    from teiten.portal.testing import client_of

    client_of(cast.alice)
    services.change_user(cast.alice, role="analyst", act=act_of(clock, cast.dana))

    event = SecurityEvent.objects.order_by("-id")[0]
    assert (event.kind, event.user, event.actor) == ("user_changed", cast.alice, cast.dana)
    assert event.detail == {"role": "analyst"}
    assert not Session.objects.filter(user=cast.alice).exists()


@pytest.mark.parametrize("statement", ["UPDATE {} SET kind = 'sign_in'", "DELETE FROM {}", "TRUNCATE {}"])
def test_the_security_log_cannot_be_changed(cast: Cast, statement: str) -> None:
    from django.db import DatabaseError, connection

    with connection.cursor() as cursor, pytest.raises(DatabaseError, match="append-only"):
        cursor.execute(statement.format("accounts_securityevent"))


def test_others_are_not_seen(cast: Cast) -> None:
    from teiten.accounts import selectors

    def seen_by(viewer) -> list[str]:
        return [user.user_id for user in selectors.users_visible_to(viewer)]

    assert seen_by(cast.alice) == ["alice", "bob"]
    assert seen_by(cast.charlie) == ["charlie"]
    assert seen_by(cast.dana) == ["alice", "ann", "bob", "charlie", "dana"]
    assert [row.code for row in selectors.organisations_visible_to(cast.charlie)] == ["beta"]
    assert {event.user_id for event in selectors.events_visible_to(cast.charlie)} == {cast.charlie.pk}


def issue(cast: Cast, clock: FixedClock, **given):
    from teiten.accounts import tokens

    values = {"name": "SIEM", "scopes": ["search"], "expires_at": clock.now() + timedelta(days=30), **given}
    return tokens.issue_token(user=cast.alice, now=clock.now(), **values)


def authenticate(clock: FixedClock, text: str, *, address: str = HERE, scope: str | None = None):
    from teiten.accounts import tokens

    return tokens.authenticate_token(text, address=address, now=clock.now(), scope=scope)


@pytest.mark.requirement("R2.4")
def test_a_token_opens_what_its_scopes_say(cast: Cast, clock: FixedClock) -> None:
    token, text = issue(cast, clock)

    found = authenticate(clock, text, scope="search")

    assert found == token
    assert found.user == cast.alice
    assert found.last_used_at == clock.now()
    assert text.startswith(f"tto_{token.id}_")
    assert text.encode() not in bytes(found.secret_sha256)


@pytest.mark.requirement("R2.4")
@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (lambda text: text[:-1] + ("A" if text[-1] != "A" else "B"), "unknown"),
        (lambda text: text + "x", "unknown"),
        (lambda text: "", "unknown"),
        (lambda text: text.upper(), "unknown"),
        (lambda text: text.replace("tto_", "tt1_"), "unknown"),
        (lambda text: text + "\n", "unknown"),
        (lambda text: "tto_" + "a" * 10 + "_" + "b" * 43, "unknown"),
    ],
)
def test_a_wrong_token_is_unknown(cast: Cast, clock: FixedClock, spoil, rule: str) -> None:
    from teiten.accounts.errors import TokenRefusedError

    _, text = issue(cast, clock)

    with pytest.raises(TokenRefusedError, match=rule):
        authenticate(clock, spoil(text))


@pytest.mark.requirement("R2.4")
def test_a_token_ends(cast: Cast, clock: FixedClock) -> None:
    from teiten.accounts import tokens
    from teiten.accounts.errors import TokenRefusedError

    revoked, revoked_text = issue(cast, clock)
    _, inside_text = issue(cast, clock, cidr="192.0.2.0/24")
    tokens.revoke_token(revoked, now=clock.now())

    with pytest.raises(TokenRefusedError, match="revoked"):
        authenticate(clock, revoked_text)
    with pytest.raises(TokenRefusedError, match="address"):
        authenticate(clock, inside_text, address="198.51.100.1")
    with pytest.raises(TokenRefusedError, match="scope"):
        authenticate(clock, inside_text, scope="export")
    authenticate(clock, inside_text, address="::ffff:192.0.2.77")
    clock.advance(30 * 86_400)
    with pytest.raises(TokenRefusedError, match="expired"):
        authenticate(clock, inside_text)


@pytest.mark.requirement("R2.4")
def test_a_switched_off_owner_closes_the_token(cast: Cast, clock: FixedClock) -> None:
    from teiten.accounts import services
    from teiten.accounts.errors import TokenRefusedError

    _, text = issue(cast, clock)
    services.change_user(cast.alice, is_active=False, act=act_of(clock, cast.dana))

    with pytest.raises(TokenRefusedError, match="switched off"):
        authenticate(clock, text)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["everything"]}, "scopes"),
        ({"cidr": "192.0.2.1/24"}, "cidr"),
        ({"cidr": "here"}, "cidr"),
        ({"name": "  "}, "name"),
        ({"days": 366}, "expires_at"),
        ({"days": 0}, "expires_at"),
    ],
)
def test_a_token_with_bad_rules_is_not_made(cast: Cast, clock: FixedClock, given: dict, field: str) -> None:
    from teiten.accounts.errors import AccountsInputError
    from teiten.accounts.models import ApiToken

    if "days" in given:
        given = {"expires_at": clock.now() + timedelta(days=given["days"])}
    with pytest.raises(AccountsInputError) as refusal:
        issue(cast, clock, **given)

    assert refusal.value.field == field
    assert not ApiToken.objects.exists()
