"""Which tools a source used: the counts of its days, judged by :mod:`teiten.traffic.verdicts`.

The counts are of whole days and of all sensors, read from the roll-up of sources, so
that late data only change them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from teiten.search import guarding, periods
from teiten.search.answers import VerdictDay
from teiten.search.conditions import where
from teiten.search.desk import Desk
from teiten.search.packet_filters import write_where
from teiten.search.periods import DAY
from teiten.search.predicates import Binding, highest_address, lowest_address
from teiten.search.query import Query
from teiten.search.tables import PACKETS, SOURCES
from teiten.search.visibility import Visibility
from teiten.traffic.hints import Hint
from teiten.traffic.nature import Nature
from teiten.traffic.rules import RULE_VERSION
from teiten.traffic.validity import SourceValidity
from teiten.traffic.verdicts import SourceDayCounts, ToolVerdict, judge_tools

#: More days than this are not judged one by one.
MOST_DAYS = 400
_BITS: tuple[int, ...] = tuple(int(hint).bit_length() - 1 for hint in Hint)


@dataclass(frozen=True)
class Judged:
    """The verdicts of a source: of all days together, and of each."""

    whole: tuple[ToolVerdict, ...]
    days: tuple[VerdictDay, ...]


def judge(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    network: IPv4Network | IPv6Network,
    *,
    versions: Sequence[int],
) -> Judged:
    """Judge a source by the oldest of the rule ``versions`` in the period; a prefix is many sources, and is not judged."""
    if network.prefixlen < network.max_prefixlen:
        return Judged((), ())
    version = min(versions, default=RULE_VERSION)
    counts = read_counts(desk, visibility, query, network)
    whole = reduce(
        SourceDayCounts.add, (each for _, each in counts), SourceDayCounts(ip_version=network.version)
    )
    days = tuple(
        VerdictDay(day, each.packets, judge_tools(each, rule_version=version)) for day, each in counts
    )
    return Judged(judge_tools(whole, rule_version=version), days)


def read_counts(
    desk: Desk, visibility: Visibility, query: Query, network: IPv4Network | IPv6Network
) -> tuple[tuple[Any, SourceDayCounts], ...]:
    """Read what a source sent on each day of the period, its oldest day first."""
    binding = Binding()
    window = periods.lay_out(query, step_seconds=DAY, zone=desk.zone)
    low, high = binding.bind("IPv6", lowest_address(network)), binding.bind("IPv6", highest_address(network))
    if visibility.is_guarded:
        return _read_guarded_counts(desk, visibility, query, network)
    statement = (
        f"SELECT day, {', '.join(_write_counts())} FROM {SOURCES.name}"  # noqa: S608 - declared names, bound values
        f" WHERE dataset = {binding.bind('String', query.dataset)}"
        f" AND day BETWEEN {binding.bind('Date', window.first_day)} AND {binding.bind('Date', window.last_day)}"
        f" AND src_addr BETWEEN {low} AND {high} GROUP BY day"
        f" ORDER BY day DESC LIMIT {MOST_DAYS}"
    )
    rows = desk.select(visibility, statement, binding.parameters).to_pylist()
    return tuple((row["day"], _read_day(row, network.version)) for row in reversed(rows))


def _write_counts() -> list[str]:
    counted = {
        "packet_count": "sum(packets)",
        "syns": "sum(syn_packets)",
        "udps": "sum(udp_packets)",
        "echoes": "sum(echo_packets)",
        **{f"hint_{bit}": f"sumMap(hint_counts)[{bit}]" for bit in _BITS},
        **{f"nature_{int(nature)}": f"sumIf(packets, nature = {int(nature)})" for nature in Nature},
        **{f"validity_{int(kind)}": f"sumIf(packets, validity = {int(kind)})" for kind in SourceValidity},
    }
    return [
        *(f"{count} AS {name}" for name, count in counted.items()),
        "groupUniqArrayArray(16)(nmap_folds) AS folds",
    ]


def _read_guarded_counts(
    desk: Desk, visibility: Visibility, query: Query, network: IPv4Network | IPv6Network
) -> tuple[tuple[Any, SourceDayCounts], ...]:
    """Read the same from packets: each count must stand on enough sensors by itself, since a sender chooses hints.

    Pairs of packets (``nmap_folds``) follow from sequence numbers and are left out.
    """
    binding = Binding()
    mine = query.narrow(where("src_addr", "=", network))
    counts = {name: guarding.count_packets(visibility, PACKETS, each) for name, each in _CONDITIONS.items()}
    statement = (
        f"SELECT toDate(observed_at, {binding.bind('String', desk.zone)}) AS day,"  # noqa: S608 - declared names, bound values
        f" {', '.join(f'{count} AS {name}' for name, count in counts.items())}, [] AS folds"
        f" FROM {PACKETS.name} WHERE {write_where(mine, binding)} GROUP BY day"
        f"{guarding.having(visibility, PACKETS)} ORDER BY day DESC LIMIT {MOST_DAYS}"
    )
    rows = desk.select(visibility, statement, binding.parameters).to_pylist()
    return tuple((row["day"], _read_day(row, network.version)) for row in reversed(rows))


#: Name of a count → what its packets fulfil.
_CONDITIONS: Mapping[str, str] = {
    "packet_count": "1",
    "syns": "protocol = 6 AND bitAnd(tcp_flags, 23) = 2",
    "udps": "protocol = 17",
    "echoes": "protocol = 1 AND icmp_type = 8",
    **{f"hint_{bit}": f"bitTest(hints, {bit})" for bit in _BITS},
    **{f"nature_{int(nature)}": f"nature = {int(nature)}" for nature in Nature},
    **{f"validity_{int(kind)}": f"validity = {int(kind)}" for kind in SourceValidity},
}


def _read_day(row: Mapping[str, Any], version: int) -> SourceDayCounts:
    return SourceDayCounts(
        packets=row["packet_count"],
        syn_packets=row["syns"],
        udp_packets=row["udps"],
        echo_packets=row["echoes"],
        hint_counts={bit: row[f"hint_{bit}"] for bit in _BITS if row[f"hint_{bit}"]},
        nmap_folds=tuple(sorted(row["folds"])),
        natures={int(each): row[f"nature_{int(each)}"] for each in Nature if row[f"nature_{int(each)}"]},
        validities={
            int(each): row[f"validity_{int(each)}"] for each in SourceValidity if row[f"validity_{int(each)}"]
        },
        ip_version=version,
    )
