"""How often a sign-in may be tried.

Attempts are counted *before* the password is looked at, in one statement each, so
that a thousand guesses sent at once count as a thousand. Three subjects are
counted: the user from one address, the user from anywhere (a higher limit, so
that a stranger cannot lock somebody out with five guesses), and the address for
any user (spraying). A lock opens by itself after the cool-off; attempts while it is
shut do not extend it. Subjects are kept as keyed hashes: people type passwords into
the wrong field.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from django.utils.crypto import salted_hmac

from teiten.accounts.config import AccountsConfig
from teiten.accounts.models import SignInCounter

_SALT = "teiten.accounts.lockout"

_COUNT_ATTEMPT = """
INSERT INTO accounts_signincounter AS c (key, subject, attempts, last_attempt_at)
VALUES (%(key)s, %(subject)s, 1, %(now)s)
ON CONFLICT (key) DO UPDATE SET
    attempts = CASE WHEN c.last_attempt_at <= %(opens)s THEN 1 ELSE c.attempts + 1 END,
    last_attempt_at = CASE
        WHEN c.attempts >= %(limit)s AND c.last_attempt_at > %(opens)s THEN c.last_attempt_at
        ELSE %(now)s END
RETURNING attempts
"""


@dataclass(frozen=True)
class Subject:
    """Who is counted, and how often it may try."""

    key: str
    user_key: str
    limit: int


def count_attempt(*, user_id: str, address: str, now: datetime, config: AccountsConfig) -> bool:
    """Count one attempt and tell whether it may go on to the password.

    An attempt that the address, or the user from this address, may no longer make
    does not count against the user as a whole.
    """
    opens = now - timedelta(minutes=config.cool_off_minutes)
    pair, person, place = _subjects_of(user_id, address, config)
    return all(
        _count_one(subject, now=now, opens=opens) <= subject.limit for subject in (place, pair, person)
    )


def forget_attempts(*, user_id: str, address: str, config: AccountsConfig) -> None:
    """A sign-in went well: take its attempts back."""
    pair, person, place = _subjects_of(user_id, address, config)
    SignInCounter.objects.filter(key__in=[pair.key, person.key]).delete()
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE accounts_signincounter SET attempts = attempts - 1 WHERE key = %s AND attempts > 0",
            [place.key],
        )


def unlock_user(user_id: str) -> int:
    """Open all locks on one user; gives how many counters were removed."""
    removed, _ = SignInCounter.objects.filter(subject=_keyed("user", user_id)).delete()
    return removed


def remove_stale_counters(*, now: datetime, config: AccountsConfig) -> int:
    """Remove counters past their cool-off; gives how many."""
    opens = now - timedelta(minutes=config.cool_off_minutes)
    removed, _ = SignInCounter.objects.filter(last_attempt_at__lte=opens).delete()
    return removed


def _count_one(subject: Subject, *, now: datetime, opens: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            _COUNT_ATTEMPT,
            {
                "key": subject.key,
                "subject": subject.user_key,
                "now": now,
                "opens": opens,
                "limit": subject.limit,
            },
        )
        row = cursor.fetchone()
    return int(row[0])


def _subjects_of(user_id: str, address: str, config: AccountsConfig) -> tuple[Subject, Subject, Subject]:
    place = _place_of(address)
    user_key = _keyed("user", user_id)
    return (
        Subject(_keyed("pair", user_id, place), user_key, config.attempts_per_user_and_address),
        Subject(user_key, user_key, config.attempts_per_user),
        Subject(_keyed("address", place), "", config.attempts_per_address),
    )


def _place_of(address: str) -> str:
    """Give the address, or for IPv6 its /64: one host owns all of that."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def _keyed(*parts: str) -> str:
    return salted_hmac(_SALT, "\0".join(parts), algorithm="sha256").hexdigest()
