"""``teiten-sensor audit``: the chain for people, and whether every link holds."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from teiten.foundation.clock import from_us
from teiten.foundation.showing import show_plain
from teiten.protocol.heartbeat import ChainHead
from teiten.sensor.chain import ChainRecord, read_chain
from teiten.sensor.errors import DeclarationError, StateError

_HEAD = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})")


def format_records(path: Path) -> Iterator[str]:
    """Give every record as a line.

    Raises:
        StateError: at the first link that does not hold.
    """
    for record in read_chain(path):
        at = from_us(record.at_us).isoformat(timespec="seconds")
        facts = " ".join(f"{name}={_plain(value)}" for name, value in record.facts.items())
        yield show_plain(f"{record.number:>6}  {at}  {record.kind}  {facts}".rstrip())


def verify(path: Path, *, head: str | None) -> Iterator[str]:
    """Check every link, and that the chain holds what the base was told.

    Args:
        path: the chain's file.
        head: ``COUNT:SHA256`` of a heartbeat, as the base shows it; None: only the links.

    Raises:
        DeclarationError: when ``head`` has another form.
        StateError: when a link does not hold, or the chain does not hold ``head``.
    """
    expected = None if head is None else _parse_head(head)
    found = ChainHead(0, bytes(32))
    is_held = expected == found
    for record in read_chain(path):
        found = _head_of(record)
        is_held = is_held or found == expected
    if expected is not None and not is_held:
        raise StateError(
            f"audit chain {path} does not hold record {expected.count} as the base was told: it was changed or cut"
        )
    yield f"{found.count} records, every link holds; head {found.count}:{found.head.hex()}"


def _head_of(record: ChainRecord) -> ChainHead:
    return ChainHead(record.number, hashlib.sha256(record.to_line()).digest())


def _parse_head(text: str) -> ChainHead:
    match = _HEAD.fullmatch(text)
    if match is None:
        raise DeclarationError(f"--head {text!r:.90} must be COUNT:SHA256, as heartbeats tell it")
    return ChainHead(int(match[1]), bytes.fromhex(match[2]))


def _plain(value: object) -> str:
    return value if isinstance(value, str) and " " not in value else json.dumps(value, separators=(",", ":"))
