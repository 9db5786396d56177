"""The one way to write what happened: about access (the security log), about the fleet (the audit chain).

A record of the chain is written in the transaction of the act itself: either both
are there or none. One transaction appends at a time; the others wait for its end, so
append last and keep what follows short.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, Protocol

from django.db import connection, transaction

from teiten.accounts import chain, metrics
from teiten.accounts.chain import Entry
from teiten.accounts.heads import Head
from teiten.accounts.models import AuditRecord, SecurityEvent, SecurityEventKind, User

#: PostgreSQL's advisory lock of whoever appends to the chain.
_LOCK = 0x7465_6974_6175_6469
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
    """Append one event; ``detail`` must hold no secret and nothing that a stranger typed."""
    metrics.SECURITY_EVENTS.labels(kind.value).inc()
    return SecurityEvent.objects.create(
        at=at, kind=kind, user=user, actor=actor, address=address, detail=detail
    )


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
        links = chain.link_entries(map(_shorten, entries), after=number, previous=previous, at_us=at_us)
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


def _shorten(entry: Entry) -> Entry:
    return entry._replace(kind=entry.kind[: _LONGEST["kind"]], subject=entry.subject[: _LONGEST["subject"]])
