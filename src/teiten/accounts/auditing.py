"""Check the audit chain, and give it away to be checked elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from django.db import connection

from teiten.accounts.chain import BEGINNING, Break, Link, find_break
from teiten.accounts.heads import Head
from teiten.accounts.models import AuditRecord

#: Records read at a time: no long transaction, no memory that grows with the chain.
_PAGE = 5_000
_READ = """
SELECT number, (extract(epoch FROM at) * 1000000)::bigint, kind, subject, actor, content, previous, digest
FROM accounts_auditrecord WHERE number > %s ORDER BY number LIMIT %s
"""


@dataclass(frozen=True)
class Verdict:
    """What a check found."""

    #: Records that were looked at.
    records: int
    #: Number of the last one; 0 when there is none.
    last: int
    broken: Break | None


def verify_chain(*, first: int = 1, heads: Sequence[Head] = ()) -> Verdict:
    """Check every record from number ``first`` on, and that heads kept elsewhere are of this chain.

    The record before ``first`` is believed.
    """
    counted = _Counted(list_links(first=first))
    found = find_break(counted, after=first - 1, previous=_digest_before(first))
    return Verdict(counted.records, counted.last, found or find_lost_head(heads))


def find_lost_head(heads: Iterable[Head]) -> Break | None:
    """Give the lowest head that the chain does not have, or has otherwise; None when it has all."""
    wanted = sorted((head for head in heads if head.number > 0), key=lambda head: head.number)
    numbers = [head.number for head in wanted]
    rows = AuditRecord.objects.filter(number__in=numbers).values_list("number", "digest")
    known = {number: bytes(digest) for number, digest in rows}
    for head in wanted:
        if head.number not in known:
            return Break(head.number, "a signed head names it, and it is gone: the end was cut off")
        if known[head.number] != head.digest:
            return Break(head.number, "a signed head gives another digest: the chain was written anew")
    return None


def list_links(*, first: int = 1, last: int | None = None) -> Iterator[Link]:
    """Give the records from ``first`` to ``last``, page by page."""
    after = first - 1
    while True:
        with connection.cursor() as cursor:
            cursor.execute(_READ, [after, _PAGE])
            rows = cursor.fetchall()
        for number, at_us, kind, subject, actor, content, previous, digest in rows:
            if last is not None and number > last:
                return
            yield Link(number, at_us, kind, subject, actor, content, bytes(previous), bytes(digest))
            after = number
        if len(rows) < _PAGE:
            return


def export_lines(*, first: int = 1, last: int | None = None) -> Iterator[str]:
    """Give the records as lines of JSON: the content as it was hashed, and its digest."""
    for link in list_links(first=first, last=last):
        value = {"content": link.content, "previous": link.previous.hex(), "digest": link.digest.hex()}
        yield json.dumps(value, separators=(",", ":"))


def _digest_before(first: int) -> bytes:
    if first <= 1:
        return BEGINNING
    found = AuditRecord.objects.filter(number=first - 1).values_list("digest", flat=True).first()
    return BEGINNING if found is None else bytes(found)


class _Counted:
    """Records, counted as they go by."""

    def __init__(self, links: Iterable[Link]) -> None:
        self._links = links
        self.records = 0
        self.last = 0

    def __iter__(self) -> Iterator[Link]:
        for link in self._links:
            self.records += 1
            self.last = link.number
            yield link
