"""Signing in: who gets in, who does not, and that refusals tell nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest

from teiten.accounts.config import AccountsConfig
from teiten.foundation.clock import FixedClock
from teiten.portal.testing import PASSWORD, Cast

pytestmark = pytest.mark.requirement("R3.1")
HERE = "192.0.2.10"
ELSEWHERE = "198.51.100.20"
CONFIG = AccountsConfig(attempts_per_user_and_address=3, attempts_per_user=6, attempts_per_address=20)


def sign_in(clock: FixedClock, user_id: str = "alice", password: str = PASSWORD, address: str = HERE):
    from teiten.accounts.signin import verify_credentials

    return verify_credentials(
        user_id=user_id, password=password, address=address, now=clock.now(), config=CONFIG
    )


def is_refused(clock: FixedClock, **given: str) -> str:
    from teiten.accounts.errors import SignInRefusedError

    with pytest.raises(SignInRefusedError) as refusal:
        sign_in(clock, **given)
    return str(refusal.value)


def events() -> list[str]:
    from teiten.accounts.models import SecurityEvent

    return list(
        SecurityEvent.objects.order_by("id").exclude(kind="user_created").values_list("kind", flat=True)
    )


def test_it_works(cast: Cast, clock: FixedClock) -> None:
    assert sign_in(clock) == cast.alice
    assert sign_in(clock, user_id="  ALICE ") == cast.alice
    assert events() == ["sign_in", "sign_in"]


def test_every_refusal_reads_the_same(cast: Cast, clock: FixedClock) -> None:
    cast.bob.is_active = False
    cast.bob.save()
    cast.beta.is_active = False
    cast.beta.save()

    texts = {
        is_refused(clock, password="wrong"),
        is_refused(clock, user_id="nobody"),
        is_refused(clock, user_id="bob"),
        is_refused(clock, user_id="charlie"),
        is_refused(clock, user_id="alice\0"),
        is_refused(clock, user_id="x" * 10_000, password="y" * 10_000),
    }

    assert len(texts) == 1


def test_one_hash_is_computed_for_every_refusal(
    cast: Cast, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time is not measured; the one thing that costs time is counted instead."""
    from teiten.accounts import hashers

    hashed: list[int] = []

    @contextmanager
    def counted() -> Iterator[None]:
        hashed.append(1)
        yield

    monkeypatch.setattr(hashers, "_turn", counted)
    costs = []
    for given in (
        {"password": "wrong"},
        {"user_id": "nobody"},
        {"password": "b"},
        {"password": "c"},
        {"password": "d"},
    ):
        hashed.clear()
        is_refused(clock, **given)
        costs.append(len(hashed))

    assert events()[-1] == "sign_in_locked"
    assert costs == [1] * 5


def test_a_user_from_one_address_is_locked_and_opens_by_itself(cast: Cast, clock: FixedClock) -> None:
    for _ in range(3):
        is_refused(clock, password="wrong")

    is_refused(clock)
    assert sign_in(clock, address=ELSEWHERE) == cast.alice
    clock.advance(15 * 60)
    assert sign_in(clock) == cast.alice


def test_trying_while_locked_does_not_extend_the_lock(cast: Cast, clock: FixedClock) -> None:
    for _ in range(3):
        is_refused(clock, password="wrong")
    for _ in range(14):
        clock.advance(60)
        is_refused(clock, password="wrong")

    clock.advance(61)
    assert sign_in(clock) == cast.alice


def test_guessing_from_many_addresses_locks_the_user(cast: Cast, clock: FixedClock) -> None:
    for number in range(6):
        is_refused(clock, password="wrong", address=f"203.0.113.{number}")

    is_refused(clock, address="203.0.113.99")
    assert sign_in(clock, user_id="bob", address="203.0.113.99") == cast.bob


def test_spraying_from_one_ipv6_network_locks_the_network(cast: Cast, clock: FixedClock) -> None:
    for number in range(20):
        is_refused(clock, user_id=f"user{number}", address=f"2001:db8::{number + 1:x}")

    is_refused(clock, address="2001:db8::ffff")
    assert sign_in(clock, address="2001:db8:0:1::1") == cast.alice


def test_success_forgets_what_went_wrong(cast: Cast, clock: FixedClock) -> None:
    for _ in range(5):
        is_refused(clock, password="wrong")
        is_refused(clock, password="wrong")
        assert sign_in(clock) == cast.alice


def test_an_operator_can_unlock(cast: Cast, clock: FixedClock) -> None:
    from teiten.accounts import lockout

    for _ in range(4):
        is_refused(clock, password="wrong")

    assert lockout.unlock_user("alice") == 2  # from here, and from anywhere
    assert sign_in(clock) == cast.alice


def test_guesses_sent_at_once_are_all_counted(cast: Cast, clock: FixedClock) -> None:
    """A thousand guesses in flight must not slip in before the first failure is written."""
    from django.db import connection

    from teiten.accounts import lockout

    barrier = threading.Barrier(8)

    def count(_: int) -> bool:
        barrier.wait()
        try:
            return lockout.count_attempt(user_id="alice", address=HERE, now=clock.now(), config=CONFIG)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        allowed = list(threads.map(count, range(8)))

    assert sum(allowed) == 3


def test_nothing_that_was_typed_is_stored_in_clear(cast: Cast, clock: FixedClock) -> None:
    from django.db import connection

    is_refused(clock, user_id="my secret password", password="other secret")

    with connection.cursor() as cursor:
        cursor.execute("SELECT key || subject FROM accounts_signincounter")
        stored = str(cursor.fetchall())
        cursor.execute("SELECT detail::text FROM accounts_securityevent")
        stored += str(cursor.fetchall())
    assert "secret" not in stored.replace("my secret", "secret")


def test_stale_counters_are_removed(cast: Cast, clock: FixedClock) -> None:
    from teiten.accounts import lockout

    is_refused(clock, password="wrong")
    clock.advance(timedelta(minutes=16).total_seconds())

    assert lockout.remove_stale_counters(now=clock.now(), config=CONFIG) == 3


def test_too_many_at_once_are_asked_to_come_again(
    cast: Cast, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from teiten.accounts import hashers
    from teiten.accounts.errors import TooBusyError

    full = threading.BoundedSemaphore(1)
    full.acquire()
    monkeypatch.setattr(hashers, "_turns", full)
    monkeypatch.setattr(
        "django.conf.settings.TEITEN_ACCOUNTS", AccountsConfig(password_check_wait_seconds=0.01)
    )

    with pytest.raises(TooBusyError, match="try again"):
        sign_in(clock)
