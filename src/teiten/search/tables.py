"""The tables a question can be answered from, declared as data for the planner.

Every roll-up carries data set, nature, survey and IP version; the rest of its key
is what it is for. A question goes to the first table, from the smallest on, whose
columns are enough; the raw table has them all.
"""

from __future__ import annotations

from dataclasses import dataclass

from teiten.traffic.columns import BY_NAME

HOUR = 3_600
DAY = 86_400

#: Precision of distinct counts everywhere, raw rows too, so that a screen agrees with itself: 1.6 % standard error.
SKETCH = "(12)"


@dataclass(frozen=True)
class Table:
    """One table, and how its rows are counted."""

    name: str
    #: Times are no finer than this; 0 for single packets.
    grain_seconds: int
    #: Column of the time: an instant, the start of an hour, or a day.
    time: str
    columns: frozenset[str]
    #: Expression of one row's packets.
    packets: str = "packets"
    #: Aggregate function of distinct sources, and the column that it takes.
    hosts: tuple[str, str] | None = ("uniqCombinedMerge", "sources")

    def count_packets(self, condition: str | None = None) -> str:
        """Give the aggregate of packets, of the rows that fulfil ``condition``."""
        if self.packets == "1":
            return "count()" if condition is None else f"countIf({condition})"
        return f"sum({self.packets})" if condition is None else f"sumIf({self.packets}, {condition})"

    def count_hosts(self, condition: str | None = None) -> str:
        """Give the aggregate of distinct sources; 0 in a table that does not know them."""
        if self.hosts is None:
            return "toUInt64(0)"
        function, column = self.hosts
        if condition is None:
            return f"{function}{SKETCH}({column})"
        return f"{function}If{SKETCH}({column}, {condition})"


_ALWAYS = ("dataset", "nature", "survey", "ip_version")


def _hourly(name: str, *columns: str) -> Table:
    return Table(name, HOUR, "hour", frozenset((*_ALWAYS, *columns)))


def _daily(name: str, *columns: str, hosts: bool = False) -> Table:
    distinct = ("uniqCombinedMerge", "sources") if hosts else None
    return Table(name, DAY, "day", frozenset((*_ALWAYS, *columns)), hosts=distinct)


PACKETS = Table(
    name="packets",
    grain_seconds=0,
    time="observed_at",
    columns=frozenset(BY_NAME),
    packets="1",
    hosts=("uniqCombined", "src_addr"),
)
SOURCES = Table(
    name="sources_1d",
    grain_seconds=DAY,
    time="day",
    columns=frozenset((*_ALWAYS, "src_addr")),
    hosts=("uniqCombined", "src_addr"),
)

#: From the smallest to the largest of each grain.
ROLL_UPS: tuple[Table, ...] = (
    _hourly("totals_1h", "region", "hints"),
    _hourly("countries_1h", "country", "region"),
    _hourly("networks_1h", "asn"),
    _hourly("ports_1h", "protocol", "dst_port"),
    _daily("fingerprints_1d", "tcp_fp", hosts=True),
    _daily("networks_regions_1d", "asn", "region"),
    _daily("ports_regions_1d", "protocol", "dst_port", "region"),
    _daily("ports_countries_1d", "protocol", "dst_port", "country"),
    SOURCES,
)
