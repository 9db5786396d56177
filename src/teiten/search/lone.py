"""Values that one source alone sent: counted among what is new, and not listed.

A bot draws its window anew each time it starts (Mirai's ``scanner.c`` takes a random one), and
many requests carry a number of their own, so that every day brings thousands of fingerprints
and payloads that nobody had before or will have again. A fingerprint's sources are those of
all its ports. Guarded viewers get what enough sensors saw, as everywhere: whether a second
source sent the same is told by one packet to one sensor, which is what marks are sent for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from teiten.search.desk import Desk
from teiten.search.periods import Window
from teiten.search.plain_syns import ANY_WINDOW, IS_ANY_WINDOW
from teiten.search.predicates import Binding, type_of
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
        f"if(folded_fp = '{ANY_WINDOW}', packet_count = 1, folded_fp IN (SELECT tcp_fp FROM {FINGERPRINTS.name}"  # noqa: S608 - declared names, bound values
        f" WHERE {write_time(FINGERPRINTS, window, binding)} AND dataset = {binding.bind('String', query.dataset)}"
        f" AND NOT {IS_ANY_WINDOW} GROUP BY tcp_fp HAVING {FINGERPRINTS.count_hosts()} = 1))"
    )


#: Splits of news of which some values' sources are in no roll-up → the columns of these, and what their packets fulfil besides.
_UNKNOWN: Mapping[tuple[str, ...], tuple[tuple[str, ...], str]] = {
    ("payload_hash",): (("payload_hash",), "1"),
    ("tcp_fp", "dst_port"): (("dst_port", "protocol"), IS_ANY_WINDOW),
}


def drop_lone(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    rows: list[dict[str, Any]],
    *,
    splits: tuple[str, ...],
    window: Window,
    limit: int,
) -> Found:
    """Take away what one source sent, and count it; of what no roll-up knows the sources of by its packets."""
    if not rows:
        return Found([], 0, 0)
    distinct, alone = rows[0]["distinct_count"], rows[0]["lone_count"]
    kept = [row for row in rows if not row["is_lone"]]
    unknown = [row for row in kept if row.get("folded_fp", ANY_WINDOW) == ANY_WINDOW]
    if splits in _UNKNOWN and unknown and not visibility.is_guarded and query.length <= _MOST_RAW:
        columns, condition = _UNKNOWN[splits]
        keys = [tuple(row[column] for column in columns) for row in unknown]
        found = _list_lone(desk, visibility, query, columns, condition, keys=keys, window=window)
        dropped = [row for row, key in zip(unknown, keys, strict=True) if key in found]
        kept = [row for row in kept if row not in dropped]
        distinct, alone = distinct - len(dropped), alone + len(dropped)
    return Found(kept[:limit], distinct, alone)


def _list_lone(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    columns: tuple[str, ...],
    condition: str,
    *,
    keys: list[tuple[int, ...]],
    window: Window,
) -> frozenset[tuple[int, ...]]:
    """Give the values of which all packets that are kept came from one source."""
    binding = Binding()
    names = ", ".join(columns)
    kinds = ", ".join(type_of(column) for column in columns)
    statement = (
        f"SELECT {names} FROM {PACKETS.name} WHERE {write_time(PACKETS, window, binding)}"  # noqa: S608 - as above
        f" AND dataset = {binding.bind('String', query.dataset)} AND {condition}"
        f" AND tuple({names}) IN {binding.bind(f'Array(Tuple({kinds}))', keys)}"
        f" GROUP BY {names} HAVING uniqUpTo(1)(src_addr) = 1"
    )
    found = desk.select(visibility, statement, binding.parameters)
    return frozenset(tuple(row[column] for column in columns) for row in found.to_pylist())
