"""The tables a question can be answered from, declared as data for the planner.

Every roll-up carries data set, nature, survey, IP version and mode; the rest of its
key is what it is for. Some hold only packets that have a label at all; they answer
questions that ask for no others. A question goes to the first table, from the smallest
on, whose columns are enough; the raw table has them all.
"""

from __future__ import annotations

from dataclasses import dataclass

from teiten.search.conditions import Condition, where
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
    #: All packets that fulfil any one of these are in it; empty: all packets.
    only: tuple[Condition, ...] = ()
    #: Column of the distinct sensors, exact, as a groupBitmap state; empty where there is none.
    sensors_bitmap: str = ""

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


_ALWAYS = ("dataset", "nature", "survey", "ip_version", "answering")
_HOSTS = ("uniqCombinedMerge", "sources")


def _hourly(name: str, *columns: str, hosts: bool = True, only: tuple[Condition, ...] = ()) -> Table:
    kept = frozenset((*_ALWAYS, *columns))
    return Table(name, HOUR, "hour", kept, hosts=_HOSTS if hosts else None, only=only)


def _daily(
    name: str, *columns: str, hosts: bool = False, only: tuple[Condition, ...] = (), sensors_bitmap: str = ""
) -> Table:
    kept = frozenset((*_ALWAYS, *columns))
    distinct = _HOSTS if hosts else None
    return Table(name, DAY, "day", kept, hosts=distinct, only=only, sensors_bitmap=sensors_bitmap)


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
    columns=frozenset((*_ALWAYS, "validity", "src_addr")),
    hosts=("uniqCombined", "src_addr"),
)
PORTS_HOURLY = _hourly("ports_1h", "protocol", "dst_port")
PORTS_DAILY = _daily("ports_1d", "protocol", "dst_port", sensors_bitmap="sensors")
_WITH_ACTOR = (where("survey", "=", 1), where("actor", "!=", ""))
_WITH_PROBE = (where("probe", "!=", ""),)
_WITH_FINGERPRINT = (where("tcp_fp", "!=", ""),)
ACTORS = _daily("actors_1d", "actor", hosts=True, only=_WITH_ACTOR, sensors_bitmap="sensors")
PROBES = _daily(
    "probes_1d", "probe", "protocol", "dst_port", hosts=True, only=_WITH_PROBE, sensors_bitmap="sensors"
)
FINGERPRINTS = _daily("fingerprints_1d", "tcp_fp", hosts=True, sensors_bitmap="sensors")
FINGERPRINTS_PORTS = _daily("fingerprints_ports_1d", "tcp_fp", "protocol", "dst_port", only=_WITH_FINGERPRINT)
PAYLOADS = _daily(
    "payloads_1d", "payload_hash", "protocol", "dst_port", "probe", only=(where("payload_hash", "!=", 0),)
)

#: Whole payloads, one a hash, sensor and day.
PAYLOAD_EXAMPLES = Table("payload_examples", DAY, "day", frozenset(), packets="1", hosts=None)
#: What was watched, by hour and by day.
COVERAGE_HOURLY = Table("coverage_1h", HOUR, "hour", frozenset())
COVERAGE_DAILY = Table("coverage_1d", DAY, "day", frozenset())
#: The same without the sensors, whose number is kept as a set.
COVERAGE_REGIONS_HOURLY = Table("coverage_regions_1h", HOUR, "hour", frozenset())
COVERAGE_REGIONS_DAILY = Table("coverage_regions_1d", DAY, "day", frozenset())

#: From the smallest to the largest of each grain. Labels by hour stand behind those by day, which longer periods take.
ROLL_UPS: tuple[Table, ...] = (
    _hourly("kinds_1h"),
    _hourly("totals_1h", "region", "hints", "validity"),
    _hourly("countries_1h", "country", "region"),
    _hourly("networks_1h", "asn"),
    PORTS_HOURLY,
    _daily("kinds_1d", hosts=True),
    _daily("countries_1d", "country", hosts=True, sensors_bitmap="sensors"),
    _daily("networks_1d", "asn"),
    ACTORS,
    FINGERPRINTS,
    PROBES,
    _daily("networks_regions_1d", "asn", "region", "country"),
    PORTS_DAILY,
    _daily("ports_regions_1d", "protocol", "dst_port", "region"),
    _daily("ports_countries_1d", "protocol", "dst_port", "country"),
    FINGERPRINTS_PORTS,
    PAYLOADS,
    SOURCES,
    _hourly("actors_1h", "actor", only=_WITH_ACTOR),
    _hourly("probes_1h", "probe", "protocol", "dst_port", only=_WITH_PROBE),
    _hourly("fingerprints_1h", "tcp_fp", only=_WITH_FINGERPRINT),
)
