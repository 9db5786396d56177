"""The audit chain: each record holds the SHA-256 of the one before it.

Pure functions over bytes. A record's digest is SHA-256 over the digest before it and
the record's own canonical text (JSON in ASCII, keys sorted, no spaces), so that a
record that is changed, taken out or put in breaks every digest after it. Cutting the
end off breaks nothing inside: that is found by a signed head kept elsewhere
(:mod:`teiten.accounts.heads`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple

#: What stands before the first record.
BEGINNING = bytes(32)


class Entry(NamedTuple):
    """What shall be recorded."""

    #: ``room.what``, for example ``sensor.suspended``.
    kind: str
    #: ``thing:name``, for example ``sensor:12``.
    subject: str
    #: User ID of who did it; empty on the command line and for alarms.
    actor: str
    facts: Mapping[str, Any]


class Link(NamedTuple):
    """One record as it is stored."""

    number: int
    #: µs since 1970.
    at_us: int
    kind: str
    subject: str
    actor: str
    content: str
    previous: bytes
    digest: bytes


@dataclass(frozen=True)
class Break:
    """The first record at which the chain does not hold."""

    number: int
    why: str

    def __str__(self) -> str:
        return f"record {self.number}: {self.why}"


def link_entries(entries: Iterable[Entry], *, after: int, previous: bytes, at_us: int) -> Iterator[Link]:
    """Make the records that follow record ``after``, whose digest is ``previous``."""
    for number, entry in enumerate(entries, start=after + 1):
        content = write_content(entry, number=number, at_us=at_us)
        digest = digest_of(previous, content)
        yield Link(
            number,
            at_us,
            kind=entry.kind,
            subject=entry.subject,
            actor=entry.actor,
            content=content,
            previous=previous,
            digest=digest,
        )
        previous = digest


def write_content(entry: Entry, *, number: int, at_us: int) -> str:
    """Write a record in the one form that is hashed."""
    value = {
        "number": number,
        "at_us": at_us,
        "kind": entry.kind,
        "subject": entry.subject,
        "actor": entry.actor,
        "facts": dict(entry.facts),
    }
    return json.dumps(value, separators=(",", ":"), sort_keys=True, allow_nan=False, default=_write_plain)


def digest_of(previous: bytes, content: str) -> bytes:
    """Give the digest of a record, 32 bytes."""
    return hashlib.sha256(previous + content.encode()).digest()


def find_break(links: Iterable[Link], *, after: int, previous: bytes) -> Break | None:
    """Give the first record that does not follow from the one before it; None when all do."""
    for link in links:
        why = _find_fault(link, after, previous)
        if why is not None:
            return Break(link.number, why)
        after, previous = link.number, link.digest
    return None


def _find_fault(link: Link, after: int, previous: bytes) -> str | None:
    if link.number != after + 1:
        return f"it follows record {after}: {link.number - after - 1} records are missing before it"
    if link.previous != previous:
        return f"it does not follow from record {after}: that one, or this one, was replaced"
    if digest_of(previous, link.content) != link.digest:
        return "its content is not what was recorded"
    return _find_difference(link)


def _find_difference(link: Link) -> str | None:
    """Compare the columns that people search by with the content that is hashed."""
    try:
        told = json.loads(link.content)
        said = (told["number"], told["at_us"], told["kind"], told["subject"], told["actor"])
    except (ValueError, TypeError, KeyError):
        return "its content is no record"
    if said != link[:5]:
        return "its columns are not what its content says"
    return None


def _write_plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, Enum):
        return str(value.value)
    return str(value)
