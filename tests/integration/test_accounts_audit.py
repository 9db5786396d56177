"""The audit chain in PostgreSQL: who may write what, what a superuser cannot hide, how fast it is checked."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from teiten.fleet.config import FleetConfig
from teiten.foundation.clock import FixedClock
from teiten.portal.testing import Cast
from teiten.protocol import keys

pytestmark = pytest.mark.requirement("R1.3", "R2.1")


def append(count: int, clock: FixedClock, **facts: Any) -> None:
    from teiten.accounts import audit
    from teiten.accounts.chain import Entry

    entries = [Entry("test.done", f"sensor:{number}", actor="", facts=facts) for number in range(count)]
    audit.append_many(entries, at=clock.now())


def tamper(url: str, statement: str, *values: Any) -> None:
    """Do what a superuser of the database can: past the triggers."""
    with psycopg.connect(url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(statement, values)


def test_it_works(database: str, cast: Cast, clock: FixedClock) -> None:
    from teiten.accounts import audit
    from teiten.accounts.auditing import verify_chain
    from teiten.fleet.services import Act

    before = audit.read_head(at=clock.now()).number
    record = audit.append("test.done", "sensor:1", {"why": "理由"}, Act(clock.now(), cast.dana))
    append(4, clock)

    found = verify_chain()

    assert (record.number, record.actor) == (before + 1, "dana")
    assert (found.records, found.last, found.broken) == (before + 5, before + 5, None)
    assert verify_chain(first=before + 3).records == 3


def test_who_may_do_what_and_who_came_in_is_in_the_chain(
    database: str, cast: Cast, clock: FixedClock
) -> None:
    from teiten.accounts import services, signin, tokens
    from teiten.accounts.auditing import verify_chain
    from teiten.accounts.config import AccountsConfig
    from teiten.accounts.models import AuditRecord, Scope
    from teiten.accounts.services import Act

    last = AuditRecord.objects.order_by("-number").values_list("number", flat=True)[0]
    act = Act(clock.now(), cast.dana, "192.0.2.1")
    services.create_organisation(code="gamma", name_ja="ガンマ", name_en="Gamma", act=act)
    password = services.reset_password(cast.bob, act=act)
    services.change_user(cast.bob, act=act, role="operator")
    signin.verify_credentials(
        user_id="bob", password=password, address="192.0.2.7", now=clock.now(), config=AccountsConfig()
    )
    token, _text = tokens.issue_token(
        user=cast.bob, name="x", scopes=[Scope.SEARCH], expires_at=clock.now() + timedelta(days=1), now=clock.now(),
        actor=cast.bob,
    )  # fmt: skip
    tokens.revoke_token(token, now=clock.now(), actor=cast.dana)

    records = AuditRecord.objects.filter(number__gt=last).order_by("number")
    assert [(one.kind, one.subject, one.actor) for one in records] == [
        ("organisation.created", "organisation:gamma", "dana"),
        ("access.password_reset", "user:bob", "dana"),
        ("access.user_changed", "user:bob", "dana"),
        ("access.sign_in", "user:bob", "bob"),
        ("access.token_issued", "user:bob", "bob"),
        ("access.token_revoked", "user:bob", "dana"),
    ]
    assert '"role":"operator"' in records[2].content
    assert not any(password in one.content for one in records)
    assert verify_chain().broken is None


def test_the_command_line_says_whose_hands_it_was(
    database: str, cast: Cast, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from teiten.accounts import audit
    from teiten.cli import main
    from teiten.fleet.services import Act

    def act(*_: object) -> int:
        for actor in (None, cast.dana):
            audit.append("test.done", "sensor:1", {"why": "x"}, Act(clock.now(), actor))
        return 0

    monkeypatch.setenv("SUDO_USER", "hanako\x1b")
    monkeypatch.setattr(main, "_verb_of", lambda _options: act)
    main.main(["user", "list"])
    act()

    records = audit.AuditRecord.objects.filter(kind="test.done").order_by("number")
    hands = [json.loads(one.content)["facts"].get("hand", "") for one in records]
    assert hands[0].endswith("who is hanako?")
    assert hands[1:] == ["", "", ""], "whoever signed in is named, and a service has no hands"


def test_a_stranger_does_not_make_the_chain_grow_without_end(
    database: str, cast: Cast, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from teiten.accounts import audit
    from teiten.accounts.models import AuditRecord, SecurityEvent, SecurityEventKind

    monkeypatch.setattr(audit, "MOST_REFUSALS_AN_HOUR", 3)
    for _ in range(5):
        audit.record_event(SecurityEventKind.SIGN_IN_FAILED, at=clock.now(), address="192.0.2.66")
    clock.advance(3601)
    audit.record_event(SecurityEventKind.SIGN_IN_LOCKED, at=clock.now(), user=cast.bob)

    records = AuditRecord.objects.filter(kind__startswith="access.sign_in_").order_by("number")
    assert [one.kind for one in records] == ["access.sign_in_failed"] * 3 + ["access.sign_in_locked"]
    assert ["and_more" in one.content for one in records] == [False, False, True, False]
    assert SecurityEvent.objects.filter(kind__startswith="sign_in_").count() == 6


def test_what_a_person_does_to_a_sensor_is_recorded_with_it(
    database: str, cast: Cast, clock: FixedClock
) -> None:
    from teiten.accounts.models import AuditRecord
    from teiten.fleet import services
    from teiten.fleet.services import Act

    region = services.find_or_create_region(code="kanto", name_ja="関東", name_en="Kanto")
    act = Act(clock.now(), cast.dana)
    sensor = services.create_sensor(
        name="TK-001",
        region=region,
        organisation=cast.alpha,
        dataset="live",
        act=act,
        config=FleetConfig(),
    ).sensor
    services.revoke_sensor(sensor, reason="sold", act=act)

    records = AuditRecord.objects.filter(subject=f"sensor:{sensor.pk}").order_by("number")
    assert [record.kind for record in records] == [
        "sensor.created",
        "sensor.token_issued",
        "sensor.revoked",
    ]
    assert '"reason":"sold"' in records[2].content
    assert {record.actor for record in records} == {"dana"}


def test_an_act_that_fails_leaves_no_record(database: str, clock: FixedClock) -> None:
    from django.db import transaction

    from teiten.accounts.auditing import verify_chain

    def fail() -> None:
        with transaction.atomic():
            append(3, clock)
            raise RuntimeError

    append(1, clock)
    with pytest.raises(RuntimeError):
        fail()
    append(1, clock)

    found = verify_chain()
    assert (found.last, found.broken) == (2, None)


def test_many_writers_make_one_chain(database: str, clock: FixedClock) -> None:
    from teiten.accounts.auditing import verify_chain

    def write() -> None:
        from django.db import connection

        for _ in range(10):
            append(2, clock)
        connection.close()

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    found = verify_chain()
    assert (found.records, found.last, found.broken) == (80, 80, None)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE accounts_auditrecord SET actor = 'x'",
        "DELETE FROM accounts_auditrecord",
        "TRUNCATE accounts_auditrecord",
    ],
)
def test_the_database_refuses_changes(database: str, clock: FixedClock, statement: str) -> None:
    append(1, clock)
    with psycopg.connect(database) as connection, pytest.raises(psycopg.Error, match="append-only"):
        connection.execute(statement)


@pytest.mark.parametrize(
    ("statement", "number"),
    [
        ("UPDATE accounts_auditrecord SET content = replace(content, 'secret', 'other') WHERE number = 7", 7),
        ("UPDATE accounts_auditrecord SET subject = 'sensor:0' WHERE number = 7", 7),
        ("DELETE FROM accounts_auditrecord WHERE number = 7", 8),
        ("UPDATE accounts_auditrecord SET digest = sha256('x') WHERE number = 7", 7),
        (
            (
                "UPDATE accounts_auditrecord AS a SET content = b.content, digest = b.digest, previous = b.previous,"
                " subject = b.subject FROM accounts_auditrecord AS b WHERE a.number + b.number = 15 AND a.number IN (7, 8)"
            ),
            7,
        ),
        ("UPDATE accounts_auditrecord SET at = at + interval '1 day' WHERE number = 7", 7),
        ("UPDATE accounts_auditrecord SET number = number + 1 WHERE number > 11", 13),
    ],
)
def test_what_a_superuser_alters_is_named(
    database: str, clock: FixedClock, statement: str, number: int
) -> None:
    from teiten.accounts.auditing import verify_chain

    append(12, clock, what="secret")
    tamper(database, statement)

    found = verify_chain()

    assert found.broken is not None
    assert found.broken.number == number


def test_a_cut_end_is_found_by_a_head_kept_elsewhere(database: str, clock: FixedClock) -> None:
    from teiten.accounts import audit, heads
    from teiten.accounts.auditing import verify_chain

    key = keys.generate_key()
    append(12, clock)
    line = heads.sign_head(audit.read_head(at=clock.now()), key).to_line()
    tamper(database, "DELETE FROM accounts_auditrecord WHERE number > 9")

    assert verify_chain().broken is None
    kept = heads.read_head(line, public_key=keys.public_bytes(key))
    found = verify_chain(heads=[kept])
    assert found.broken is not None
    assert found.broken.number == 12
    assert "cut off" in found.broken.why

    append(3, clock, why="to hide it")
    found = verify_chain(heads=[kept])
    assert found.broken is not None
    assert "anew" in found.broken.why


def test_an_export_can_be_checked_elsewhere(database: str, clock: FixedClock) -> None:
    import json

    from teiten.accounts.auditing import export_lines
    from teiten.accounts.chain import BEGINNING, digest_of

    append(5, clock)
    previous = BEGINNING
    for line in export_lines():
        told = json.loads(line)
        assert told["previous"] == previous.hex()
        previous = digest_of(previous, told["content"])
        assert told["digest"] == previous.hex()
    assert len(list(export_lines(first=2, last=3))) == 2
