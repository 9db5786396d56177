"""Values that one source alone sent: counted among what is new, and not listed.

A bot draws its window anew each time it starts (Mirai's ``scanner.c`` takes a random one), and
many requests carry a number of their own, so that every day brings thousands of fingerprints
and payloads that nobody had before or will have again. A fingerprint's sources are those of
all its ports. Guarded viewers get what enough sensors saw, as everywhere: whether a second
source sent the same is told by one packet to one sensor, which is what marks are sent for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from teiten.search.desk import Desk
from teiten.search.periods import Window
from teiten.search.predicates import Binding
from teiten.search.query import Query
from teiten.search.statements import write_time
from teiten.search.tables import FINGERPRINTS, PACKETS
from teiten.search.visibility import Visibility

#: Values that are looked at beyond those that are shown, since some of them may turn out to be one source's.
MORE = 30
#: Of longer periods no single packets are read: a payload of one packet is then the only one known to be one source's.
_MOST_RAW = timedelta(hours=48)


@dataclass(frozen=True)
class Found:
    """New values to list, as rows; how many there are, and how many of one source."""

    rows: list[dict[str, Any]]
    distinct: int
    lone: int


def write_lone(visibility: Visibility, query: Query, split: str, window: Window, binding: Binding) -> str:
    """Give the expression, over a new value, that is 1 where one source alone sent it."""
    if visibility.is_guarded:
        return "0"
    if split == "payload_hash":
        return "packet_count = 1"
    if split != "tcp_fp":
        return "0"
    return (
        f"tcp_fp IN (SELECT tcp_fp FROM {FINGERPRINTS.name}"  # noqa: S608 - declared names, bound values
        f" WHERE {write_time(FINGERPRINTS, window, binding)} AND dataset = {binding.bind('String', query.dataset)}"
        f" GROUP BY tcp_fp HAVING {FINGERPRINTS.count_hosts()} = 1)"
    )


def drop_lone(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    rows: list[dict[str, Any]],
    *,
    window: Window,
    limit: int,
) -> Found:
    """Take away what one source sent, and count it; of payloads by their packets."""
    if not rows:
        return Found([], 0, 0)
    distinct, alone = rows[0]["distinct_count"], rows[0]["lone_count"]
    kept = [row for row in rows if not row["is_lone"]]
    if kept and "payload_hash" in kept[0] and not visibility.is_guarded and query.length <= _MOST_RAW:
        hashes = _list_lone(desk, visibility, query, [row["payload_hash"] for row in kept], window=window)
        kept = [row for row in kept if row["payload_hash"] not in hashes]
        distinct, alone = distinct - len(hashes), alone + len(hashes)
    return Found(kept[:limit], distinct, alone)


def _list_lone(
    desk: Desk, visibility: Visibility, query: Query, hashes: list[int], *, window: Window
) -> frozenset[int]:
    """Give the payloads of which all packets that are kept came from one source."""
    binding = Binding()
    statement = (
        f"SELECT payload_hash FROM {PACKETS.name} WHERE {write_time(PACKETS, window, binding)}"  # noqa: S608 - as above
        f" AND dataset = {binding.bind('String', query.dataset)}"
        f" AND payload_hash IN {binding.bind('Array(UInt64)', hashes)}"
        " GROUP BY payload_hash HAVING uniqUpTo(1)(src_addr) = 1"
    )
    found = desk.select(visibility, statement, binding.parameters)
    return frozenset(int(row["payload_hash"]) for row in found.to_pylist())
