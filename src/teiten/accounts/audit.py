"""The one way to write what happened: about access (the security log), and all of it in the audit chain.

A record of the chain is written in the transaction of the act itself: either both
are there or none. One transaction appends at a time; the others wait for its end, so
append last and keep what follows short. What strangers cause (sign-ins that fail) is in
the chain so many times an hour, the last with the word that more follows: the security
log has it all, and nobody without a password may make the chain grow without end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, Protocol

from django.db import connection, transaction

from teiten.accounts import chain, hand, metrics
from teiten.accounts.chain import Entry
from teiten.accounts.heads import Head
from teiten.accounts.models import AuditRecord, SecurityEvent, SecurityEventKind, User

#: PostgreSQL's advisory lock of whoever appends to the chain.
_LOCK = 0x7465_6974_6175_6469
#: Refused sign-ins and tokens that the chain keeps within an hour.
MOST_REFUSALS_AN_HOUR = 60
_OF_STRANGERS = frozenset(
    {SecurityEventKind.SIGN_IN_FAILED, SecurityEventKind.SIGN_IN_LOCKED, SecurityEventKind.TOKEN_REFUSED}
)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
#: Longest subject and kind that a record takes.
_LONGEST = {"kind": 64, "subject": 100}


class Doing(Protocol):
    """Who does it and when; ``actor`` is None on the command line and for alarms."""

    @property
    def at(self) -> datetime: ...

    @property
    def actor(self) -> User | None: ...


def record_event(
    kind: SecurityEventKind,
    *,
    at: datetime,
    user: User | None = None,
    actor: User | None = None,
    address: str | None = None,
    **detail: Any,
) -> SecurityEvent:
    """Append one event, and its record in the chain; ``detail`` must hold no secret and nothing that a stranger typed."""
    metrics.SECURITY_EVENTS.labels(kind.value).inc()
    with transaction.atomic(savepoint=False):
        event = SecurityEvent.objects.create(
            at=at, kind=kind, user=user, actor=actor, address=address, detail=detail
        )
        facts = {**detail, "address": address, **_count_strangers(kind, at)}
        if facts.pop("refusals", 0) <= MOST_REFUSALS_AN_HOUR:
            who = "" if actor is None else actor.user_id
            subject = "nobody" if user is None else f"user:{user.user_id}"
            append_many([Entry(f"access.{kind.value}", subject, actor=who, facts=facts)], at=at)
    return event


def append(kind: str, subject: str, facts: Mapping[str, Any], act: Doing) -> AuditRecord:
    """Append one record to the chain, in the caller's transaction; ``facts`` must hold no secret."""
    actor = "" if act.actor is None else act.actor.user_id
    return append_many([Entry(kind, subject, actor=actor, facts=facts)], at=act.at)[0]


def append_many(entries: Sequence[Entry], *, at: datetime) -> list[AuditRecord]:
    """Append records in their order, in the caller's transaction or one of their own."""
    if not entries:
        return []
    at_us = (at - _EPOCH) // timedelta(microseconds=1)
    # A savepoint would buy nothing: who cannot append cannot act.
    with transaction.atomic(savepoint=False):
        number, previous = _lock_end()
        links = chain.link_entries(map(_complete, entries), after=number, previous=previous, at_us=at_us)
        records = AuditRecord.objects.bulk_create(
            AuditRecord(
                number=link.number,
                at=at,
                kind=link.kind,
                subject=link.subject,
                actor=link.actor,
                content=link.content,
                previous=link.previous,
                digest=link.digest,
            )
            for link in links
        )
    for record in records:
        metrics.AUDIT_RECORDS.labels(record.kind).inc()
    return records


def read_head(*, at: datetime) -> Head:
    """Tell how far the chain goes now."""
    number, digest = _find_end()
    return Head(number, digest=digest, at_us=(at - _EPOCH) // timedelta(microseconds=1))


def _count_strangers(kind: SecurityEventKind, at: datetime) -> dict[str, Any]:
    """Give how many refusals there were within the hour, this one too, and whether more are left out from now on."""
    if kind not in _OF_STRANGERS:
        return {}
    lately = SecurityEvent.objects.filter(kind__in=_OF_STRANGERS, at__gt=at - timedelta(hours=1))
    count = len(lately.values_list("pk", flat=True)[: MOST_REFUSALS_AN_HOUR + 1])
    return {"refusals": count, **({"and_more": True} if count == MOST_REFUSALS_AN_HOUR else {})}


def _lock_end() -> tuple[int, bytes]:
    with connection.cursor() as cursor:
        # Foreign keys are checked at the end of a transaction; a wait for a row there, with the chain
        # locked, could wait in a circle. So they are checked now.
        cursor.execute(f"SET CONSTRAINTS ALL IMMEDIATE; SELECT pg_advisory_xact_lock({_LOCK})")
    # A statement of its own: its snapshot is taken after the lock, and sees what the last holder wrote.
    return _find_end()


def _find_end() -> tuple[int, bytes]:
    last = AuditRecord.objects.order_by("-number").values_list("number", "digest").first()
    return (0, chain.BEGINNING) if last is None else (last[0], bytes(last[1]))


def _complete(entry: Entry) -> Entry:
    """Bound what people search by; on the command line, say whose hands it was."""
    hands = {"hand": hand.name_hand()} if not entry.actor and hand.name_hand() else {}
    return entry._replace(
        kind=entry.kind[: _LONGEST["kind"]],
        subject=entry.subject[: _LONGEST["subject"]],
        facts={**entry.facts, **hands},
    )
