"""The page of a source: an address, or a prefix, and everything that it did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import Any
from zoneinfo import ZoneInfo

from teiten.foundation.clock import to_us
from teiten.search import breadth, calendars, dimensions, guarding, lines, periods, roster, source_verdicts
from teiten.search.answers import ActorSeen, Count, PortDay, SeenBy, SourcePage
from teiten.search.conditions import where
from teiten.search.coverage import observe
from teiten.search.desk import Desk
from teiten.search.dimensions import Key
from teiten.search.errors import QueryError
from teiten.search.fields import FIELDS
from teiten.search.packet_filters import write_where
from teiten.search.periods import Window
from teiten.search.predicates import Binding, highest_address, lowest_address
from teiten.search.query import Query
from teiten.search.tables import FINGERPRINTS, PACKETS, SOURCES
from teiten.search.values import parse_value
from teiten.search.visibility import Visibility
from teiten.traffic.survey import SurveyKind

Network = IPv4Network | IPv6Network
#: The address of the page, as messages name it.
_SOURCE = replace(FIELDS["src_addr"], name="source")
#: Widest prefixes that a page is made for.
_WIDEST = {4: 8, 6: 32}
_AROUND = {4: 24, 6: 48}
_MOST_PER_LIST = 20
_PORT_DAYS = 30
_MOST_PORTS = 15
_NEW_AFTER_DAYS = 14
_SYN = 2

#: Name → key expressions of one grouping set of the single pass over a source's packets.
_SETS: Mapping[str, tuple[str, ...]] = {
    "country": ("country",),
    "asn": ("asn",),
    "nature": ("nature",),
    "hint": ("hints",),
    "tcp_fp": ("tcp_fp",),
    "dst_port": ("dst_port", "protocol"),
    "ttl": ("ttl",),
    "sensor": ("sensor", "region"),
    "validity": ("validity",),
    "probe": ("probe",),
    "actor": ("actor", "survey"),
}
#: The same for a guarded viewer: regions instead of sensors, and nothing that a sender marks packets with.
_GUARDED_SETS: Mapping[str, tuple[str, ...]] = {
    **{name: names for name, names in _SETS.items() if name not in ("sensor", "ttl")},
    "sensor": ("region",),
}
_IS_SYN = f"protocol = 6 AND bitAnd(tcp_flags, 23) = {_SYN}"


#: Field of the page → dimension that it counts.
_COUNTED: Mapping[str, str] = {
    "countries": "country",
    "systems": "asn",
    "natures": "nature",
    "ports": "dst_port",
    "ttls": "ttl",
    "validities": "validity",
    "probes": "probe",
}


@dataclass(frozen=True)
class _Life:
    """A source over all that is kept, from its daily roll-up."""

    first_at: datetime | None
    last_at: datetime | None
    packets: int


def parse_source(text: str) -> Network:
    """Read an address or prefix for a source page.

    Raises:
        QueryError: when it is none, or too wide.
    """
    network = parse_value(_SOURCE, text)
    if not isinstance(network, IPv4Network | IPv6Network):
        raise TypeError(f"src_addr gave {type(network).__name__}")
    widest = _WIDEST[network.version]
    if network.prefixlen < widest:
        rule = f"an IPv{network.version} prefix of /{widest} or longer"
        raise QueryError(
            f"source {text!r} is too wide for a page; give {rule}", field="source", value=text, rule=rule
        )
    return network


def answer_source(
    desk: Desk, visibility: Visibility, query: Query, *, source: str, ignored: tuple[str, ...] = ()
) -> SourcePage:
    """See :meth:`teiten.search.service.Search.source`."""
    started = desk.clock.monotonic()
    network = parse_source(source)
    # A page about one source shows it whatever the survey switch says.
    everyone = replace(query, filters=None, survey="all", metric="packets", mode="all")
    mine = everyone.narrow(where("src_addr", "=", network))
    window = lines.plan_for(desk, everyone, needs_hosts=False).window
    life = _read_life(desk, visibility, mine, network)
    passed = _Pass(desk, visibility, mine)
    is_prefix = network.prefixlen < network.max_prefixlen
    days = calendars.read_calendar(desk, visibility, everyone, network)
    fingerprints = passed.count("tcp_fp")
    basis = observe(desk, visibility, everyone, window).basis
    counted: dict[str, Any] = {name: passed.count(split) for name, split in _COUNTED.items()}
    judged = source_verdicts.judge(desk, visibility, everyone, network, versions=basis.rule_versions)
    return SourcePage(
        source=str(network if is_prefix else network.network_address),
        is_prefix=is_prefix,
        prefix=str(network.supernet(new_prefix=min(network.prefixlen, _AROUND[network.version]))),
        first_seen_at=life.first_at,
        last_seen_at=life.last_at,
        packets=passed.packets,
        packets_all=life.packets,
        hosts=passed.hosts,
        days_seen=sum(bool(day.packets) for day in days),
        days_watched=sum(day.packets is not None for day in days),
        **counted,
        hints=passed.count_hints(),
        tcp_syns=passed.syns,
        fingerprints=fingerprints,
        fingerprint_sources=_count_sharing(desk, visibility, everyone, fingerprints),
        members=_list_members(desk, visibility, mine, passed.packets) if is_prefix else (),
        is_survey=passed.survey > 0,
        df_packets=passed.df,
        **_tell_breadth(desk, visibility, everyone, window, network=network, passed=passed),
        verdicts=judged.whole,
        verdict_days=judged.days,
        actors=passed.list_actors(),
        ignored=ignored,
        seen_by=passed.list_seen_by(visibility),
        ports_by_day=_read_ports_by_day(desk, visibility, mine),
        calendar=days,
        masked=() if visibility.may_see_sensor else ("sensor",),
        basis=basis,
        cost=desk.cost_of(PACKETS, window, started, call="source"),
    )


class _Pass:
    """All counts of a source's packets in the period, from one pass."""

    def __init__(self, desk: Desk, visibility: Visibility, query: Query) -> None:
        self._desk = desk
        binding = Binding()
        self._sets = _GUARDED_SETS if visibility.is_guarded else _SETS
        columns = tuple(dict.fromkeys(name for names in self._sets.values() for name in names))
        groupings = ", ".join(f"grouping({column}) AS without_{column}" for column in columns)
        sets = ", ".join(f"({', '.join(names)})" for names in self._sets.values())
        # The newest instant is one packet's: a guarded viewer gets the end of the period.
        newest = binding.instant(to_us(query.end)) if visibility.is_guarded else "max(observed_at)"
        counted = {
            "packet_count": guarding.count_packets(visibility, PACKETS),
            "hosts": guarding.count_hosts(visibility, PACKETS),
            "syns": guarding.count_packets(visibility, PACKETS, _IS_SYN),
            "df": "toUInt64(0)" if visibility.is_guarded else "countIf(ip_df = 1)",
            "survey_count": guarding.count_packets(visibility, PACKETS, "survey > 0"),
            "sensor_count": _count_sensors(visibility),
        }
        figures = ", ".join(f"{count} AS {name}" for name, count in counted.items())
        statement = (
            f"SELECT {', '.join(columns)}, {groupings}, {newest} AS last_at, {figures}"  # noqa: S608 - declared names, bound values
            f" FROM {PACKETS.name} WHERE {write_where(query, binding)}"
            f" GROUP BY GROUPING SETS ({sets}, ()){guarding.having(visibility, PACKETS)}"
            f" ORDER BY packet_count DESC, {', '.join(columns)} LIMIT 20000"
        )
        rows = desk.select(visibility, statement, binding.parameters).to_pylist()
        self._by_set: dict[frozenset[str], list[dict[str, Any]]] = {}
        for row in rows:
            kept = frozenset(column for column in columns if not row[f"without_{column}"])
            self._by_set.setdefault(kept, []).append(row)
        whole = next(iter(self._by_set.get(frozenset(), [])), None)
        self.packets = int(whole["packet_count"]) if whole else 0
        self.hosts = int(whole["hosts"]) if whole else 0
        self.syns = int(whole["syns"]) if whole else 0
        self.df = int(whole["df"]) if whole else 0
        self.survey = int(whole["survey_count"]) if whole else 0
        self.sensors = int(whole["sensor_count"]) if whole else 0

    def _of(self, name: str) -> list[dict[str, Any]]:
        return self._by_set.get(frozenset(self._sets[name]), []) if name in self._sets else []

    def count(self, name: str) -> tuple[Count, ...]:
        """Give the most frequent values of a dimension."""
        split = dimensions.get_dimension(name)
        rows = self._of(name)[:_MOST_PER_LIST]
        keys: list[Key] = [tuple(row[column] for column in self._sets[name]) for row in rows]
        names = self._desk.name_systems(split, keys)
        return tuple(
            Count(
                dimensions.describe(split, key, names=names),
                row["packet_count"],
                row["packet_count"] / self.packets,
            )
            for key, row in zip(keys, rows, strict=True)
        )

    def count_hints(self) -> tuple[Count, ...]:
        """Give packets per hint; a packet with two hints counts for both."""
        split = dimensions.get_dimension("hint")
        counts: dict[int, int] = {}
        for row in self._of("hint"):
            bits = [1 << bit for bit in range(32) if row["hints"] >> bit & 1] or [0]
            for bit in bits:
                counts[bit] = counts.get(bit, 0) + row["packet_count"]
        ordered = sorted(counts.items(), key=lambda item: -item[1])
        return tuple(
            Count(dimensions.describe(split, (bit,)), packets, packets / self.packets)
            for bit, packets in ordered
        )

    def list_actors(self) -> tuple[ActorSeen, ...]:
        """Give the survey scanners that packets were taken for; behaviour names nobody."""
        return tuple(
            ActorSeen(
                row["actor"],
                "behaviour" if row["survey"] == SurveyKind.BEHAVIOUR else "list",
                row["packet_count"],
                row["last_at"],
            )
            for row in self._of("actor")
            if row["survey"]
        )

    def list_regions(self) -> set[str]:
        """Name the regions whose sensors saw the source."""
        return {row["region"] for row in self._of("sensor")}

    def list_seen_by(self, visibility: Visibility) -> tuple[SeenBy, ...]:
        """Give the sensors that saw the source, or the regions where sensors may not be named."""
        if visibility.may_see_sensor:
            return tuple(
                SeenBy(row["sensor"], row["region"], row["packet_count"], row["last_at"])
                for row in self._of("sensor")
            )
        regions: dict[str, SeenBy] = {}
        for row in self._of("sensor"):
            known = regions.get(row["region"])
            packets = row["packet_count"] + (known.packets if known else 0)
            last = max(row["last_at"], known.last_seen_at) if known else row["last_at"]
            regions[row["region"]] = SeenBy(None, row["region"], packets, last)
        return tuple(sorted(regions.values(), key=lambda seen: -seen.packets))


def list_ignored(query: Query) -> tuple[str, ...]:
    """Name the parameters that a page about one source does not apply, where they were given."""
    given = {
        "q": query.filters is not None,
        "survey": query.survey != "all",
        "mode": query.mode not in ("auto", "all"),
        "metric": query.metric != "packets",
    }
    return tuple(name for name, is_given in given.items() if is_given)


def _tell_breadth(
    desk: Desk, visibility: Visibility, query: Query, window: Window, *, network: Network, passed: _Pass
) -> dict[str, Any]:
    """Tell on how many of the sensors that could have seen it the source was seen."""
    members = roster.list_members(desk, visibility, query, window)
    covered = [member for member in members if member.seconds and member.addresses(network.version)]
    seen = breadth.tell_seen(
        visibility,
        seen=passed.sensors,
        covered=len(covered),
        seen_in=passed.list_regions(),
        covered_in={member.region for member in covered},
    )
    return {
        "sensors_seen": seen.sensors or 0,
        "sensors_covered": len(covered),
        "breadth": seen.share,
        "only_here": seen.only_here,
    }


def bind_range(network: Network, binding: Binding) -> str:
    """Give the clause of a source's address range."""
    low, high = binding.bind("IPv6", lowest_address(network)), binding.bind("IPv6", highest_address(network))
    return f"src_addr BETWEEN {low} AND {high}"


def _count_sensors(visibility: Visibility) -> str:
    """Give the aggregate of the sensors that saw a source: for a guarded viewer those of others."""
    if not visibility.own_sensors or not visibility.is_guarded:
        return "uniqExact(sensor)"
    own = ", ".join(str(sensor) for sensor in sorted(visibility.own_sensors))
    return f"uniqExactIf(sensor, sensor NOT IN ({own}))"


def _read_life(desk: Desk, visibility: Visibility, query: Query, network: Network) -> _Life:
    """Read when a source was first and last seen; for a guarded viewer the days on which enough sensors saw it."""
    binding = Binding()
    which = f"dataset = {binding.bind('String', query.dataset)} AND {bind_range(network, binding)}"
    statement = (
        "SELECT toDateTime64(min(first_seen_at), 6, 'UTC') AS first_at,"  # noqa: S608 - as above
        " toDateTime64(max(last_seen_at), 6, 'UTC') AS last_at, sum(packets) AS packet_count"
        f" FROM {SOURCES.name} WHERE {which}"
    )
    if visibility.is_guarded:
        until = binding.bind("Date", query.end.astimezone(ZoneInfo(desk.zone)).date())
        zone = binding.bind("String", desk.zone)
        statement = (
            f"SELECT toDateTime64(min(day), 6, {zone}) AS first_at, toDateTime64(max(day), 6, {zone}) AS last_at,"  # noqa: S608 - as above
            " sum(found) AS packet_count FROM"
            f" (SELECT day, {guarding.count_packets(visibility, SOURCES)} AS found FROM {SOURCES.name}"
            f" WHERE {which} AND day < {until} GROUP BY day{guarding.having(visibility, SOURCES)})"
        )
    row = desk.select(visibility, statement, binding.parameters).to_pylist()[0]
    if not row["packet_count"]:
        return _Life(None, None, 0)
    return _Life(row["first_at"], row["last_at"], row["packet_count"])


def _list_members(desk: Desk, visibility: Visibility, query: Query, whole: int) -> tuple[Count, ...]:
    binding = Binding()
    statement = (
        f"SELECT src_addr, {guarding.count_packets(visibility, PACKETS)} AS packet_count"  # noqa: S608 - as above
        f" FROM {PACKETS.name} WHERE {write_where(query, binding)}"
        f" GROUP BY src_addr{guarding.having(visibility, PACKETS)} ORDER BY packet_count DESC, src_addr LIMIT {_MOST_PER_LIST}"
    )
    split = dimensions.get_dimension("src_addr")
    rows = desk.select(visibility, statement, binding.parameters).to_pylist()
    return tuple(
        Count(
            dimensions.describe(split, (row["src_addr"],)), row["packet_count"], row["packet_count"] / whole
        )
        for row in rows
    )


def _count_sharing(
    desk: Desk, visibility: Visibility, query: Query, fingerprints: Sequence[Count]
) -> tuple[int, ...]:
    """Count the data set's sources per fingerprint, on the days of the period."""
    binding = Binding()
    window = periods.lay_out(query, step_seconds=periods.DAY, zone=desk.zone)
    keys = ["" if count.group.key == "none" else count.group.key for count in fingerprints]
    statement = (
        f"SELECT tcp_fp, {guarding.count_hosts(visibility, FINGERPRINTS)} AS hosts FROM {FINGERPRINTS.name}"  # noqa: S608 - as above
        f" WHERE dataset = {binding.bind('String', query.dataset)}"
        f" AND day BETWEEN {binding.bind('Date', window.first_day)} AND {binding.bind('Date', window.last_day)}"
        f" AND tcp_fp IN {binding.bind('Array(String)', keys)} GROUP BY tcp_fp"
    )
    found = {
        row["tcp_fp"]: row["hosts"]
        for row in desk.select(visibility, statement, binding.parameters).to_pylist()
    }
    return tuple(found.get(key, 0) for key in keys)


def _read_ports_by_day(desk: Desk, visibility: Visibility, query: Query) -> tuple[PortDay, ...]:
    binding = Binding()
    days = _PORT_DAYS + _NEW_AFTER_DAYS
    longer = query.within(query.end - timedelta(days=days), query.end)
    statement = (
        f"SELECT toDate(observed_at, {binding.bind('String', desk.zone)}) AS day, dst_port, protocol,"  # noqa: S608 - as above
        f" {guarding.count_packets(visibility, PACKETS)} AS packet_count"
        f" FROM {PACKETS.name} WHERE {write_where(longer, binding)}"
        f" GROUP BY day, dst_port, protocol{guarding.having(visibility, PACKETS)} ORDER BY day, packet_count DESC, dst_port, protocol LIMIT 20000"
    )
    rows = desk.select(visibility, statement, binding.parameters).to_pylist()
    totals: Counter[Key] = Counter()
    for row in rows:
        totals[(row["dst_port"], row["protocol"])] += row["packet_count"]
    shown = {key for key, _ in totals.most_common(_MOST_PORTS)}
    rows = [row for row in rows if (row["dst_port"], row["protocol"]) in shown]
    return _mark_new_ports(rows, since=(query.end - timedelta(days=_PORT_DAYS)).date())


def _mark_new_ports(rows: Sequence[Mapping[str, Any]], *, since: date) -> tuple[PortDay, ...]:
    """Tell for each port and day whether the port was absent in the 14 days before."""
    split = dimensions.get_dimension("dst_port")
    last_seen: dict[Key, date] = {}
    found: list[PortDay] = []
    for row in rows:
        key = (row["dst_port"], row["protocol"])
        before = last_seen.get(key)
        is_new = before is None or (row["day"] - before).days > _NEW_AFTER_DAYS
        last_seen[key] = row["day"]
        if row["day"] >= since:
            found.append(PortDay(row["day"], dimensions.describe(split, key), row["packet_count"], is_new))
    return tuple(found)
