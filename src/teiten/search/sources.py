"""The page of a source: an address, or a prefix, and everything that it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import Any
from zoneinfo import ZoneInfo

from teiten.search import breadth, calendars, dimensions, guarding, lines, periods, roster, source_verdicts
from teiten.search.answers import Count, PortDay, SourcePage
from teiten.search.basis import Basis
from teiten.search.calendars import DayOfSource
from teiten.search.conditions import where
from teiten.search.coverage import observe
from teiten.search.desk import Desk
from teiten.search.errors import QueryError
from teiten.search.fields import FIELDS
from teiten.search.packet_filters import write_where
from teiten.search.periods import Window
from teiten.search.predicates import Binding
from teiten.search.query import Query
from teiten.search.source_counts import MOST_PER_LIST, SourceCounts
from teiten.search.tables import FINGERPRINTS, PACKETS
from teiten.search.values import parse_value
from teiten.search.visibility import Visibility

Network = IPv4Network | IPv6Network
#: The address of the page, as messages name it.
_SOURCE = replace(FIELDS["src_addr"], name="source")
#: Widest prefixes that a page is made for.
_WIDEST = {4: 8, 6: 32}
_AROUND = {4: 24, 6: 48}
_PORT_DAYS = 30
_MOST_PORTS = 15
_NEW_AFTER_DAYS = 14
#: Parts of a page that are read side by side.
_AT_ONCE = 4
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
    is_prefix = network.prefixlen < network.max_prefixlen
    kept, passed, basis, ports_by_day = _read_parts(
        desk, visibility, everyone, mine, network=network, window=window
    )
    life = _sum_up_life(desk, visibility, mine, kept)
    days = calendars.read_calendar(desk, visibility, everyone, kept, ip_version=network.version)
    fingerprints = passed.count("tcp_fp")
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
        ports_by_day=ports_by_day,
        calendar=days,
        masked=() if visibility.may_see_sensor else ("sensor",),
        basis=basis,
        cost=desk.cost_of(PACKETS, window, started, call="source"),
    )


def _read_parts(
    desk: Desk, visibility: Visibility, everyone: Query, mine: Query, *, network: Network, window: Window
) -> tuple[dict[date, DayOfSource], SourceCounts, Basis, tuple[PortDay, ...]]:
    """Read side by side what the page is made of; the calendar's days are remembered."""
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="source") as panels:
        watching = panels.submit(calendars.observe_days, desk, visibility, everyone)
        passing = panels.submit(SourceCounts, desk, visibility, mine)
        resting = panels.submit(observe, desk, visibility, everyone, window)
        ports = panels.submit(_read_ports_by_day, desk, visibility, mine)
        kept = calendars.read_days(desk, visibility, everyone, network)
        watching.result()
        return kept, passing.result(), resting.result().basis, ports.result()


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
    desk: Desk,
    visibility: Visibility,
    query: Query,
    window: Window,
    *,
    network: Network,
    passed: SourceCounts,
) -> dict[str, Any]:
    """Tell on how many of the sensors that could have seen it the source was seen."""
    members = roster.read_roster(desk, visibility, query, window)
    covered = members.where((members.seconds != 0) & (members.addresses(network.version) != 0))
    seen = breadth.tell_seen(
        visibility,
        seen=passed.sensors,
        covered=len(covered),
        seen_in=passed.list_regions(),
        covered_in=set(covered.region.tolist()),
    )
    return {
        "sensors_seen": seen.sensors or 0,
        "sensors_covered": len(covered),
        "breadth": seen.share,
        "only_here": seen.only_here,
    }


def _sum_up_life(desk: Desk, visibility: Visibility, query: Query, days: Mapping[date, DayOfSource]) -> _Life:
    """Tell when a source was first and last seen; a guarded viewer's newest day is the one before the period's end."""
    until = query.end.astimezone(ZoneInfo(desk.zone)).date()
    known = [each for day, each in days.items() if not visibility.is_guarded or day < until]
    packets = sum(each.packets for each in known)
    if not packets:
        return _Life(None, None, 0)
    return _Life(min(each.first_at for each in known), max(each.last_at for each in known), packets)


def _list_members(desk: Desk, visibility: Visibility, query: Query, whole: int) -> tuple[Count, ...]:
    binding = Binding()
    statement = (
        f"SELECT src_addr, {guarding.count_packets(visibility, PACKETS)} AS packet_count"  # noqa: S608 - as above
        f" FROM {PACKETS.name} WHERE {write_where(query, binding)}"
        f" GROUP BY src_addr{guarding.having(visibility, PACKETS)} ORDER BY packet_count DESC, src_addr LIMIT {MOST_PER_LIST}"
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
    """Read the days of the ports with most packets; of equals those that came first."""
    binding = Binding()
    days = _PORT_DAYS + _NEW_AFTER_DAYS
    longer = query.within(query.end - timedelta(days=days), query.end)
    inner = (
        f"SELECT toDate(observed_at, {binding.bind('String', desk.zone)}) AS day, dst_port, protocol,"  # noqa: S608 - as above
        f" {guarding.count_packets(visibility, PACKETS)} AS packet_count"
        f" FROM {PACKETS.name} WHERE {write_where(longer, binding)}"
        f" GROUP BY day, dst_port, protocol{guarding.having(visibility, PACKETS)}"
    )
    statement = (
        f"SELECT dst_port, protocol, groupArray(day) AS days, groupArray(packet_count) AS counts FROM ({inner})"  # noqa: S608 - as above
        f" GROUP BY dst_port, protocol"
        f" ORDER BY sum(packet_count) DESC, min(day), dst_port, protocol LIMIT {_MOST_PORTS}"
    )
    rows = desk.select(visibility, statement, binding.parameters).to_pylist()
    since = (query.end - timedelta(days=_PORT_DAYS)).astimezone(ZoneInfo(desk.zone)).date()
    return _mark_new_ports(rows, since=since)


def _mark_new_ports(rows: Sequence[Mapping[str, Any]], *, since: date) -> tuple[PortDay, ...]:
    """List ports day by day, and tell whether each was absent in the 14 days before."""
    split = dimensions.get_dimension("dst_port")
    found: list[PortDay] = []
    for row in sorted(rows, key=lambda row: (row["dst_port"], row["protocol"])):
        port = dimensions.describe(split, (row["dst_port"], row["protocol"]))
        last_seen: date | None = None
        for day, packets in sorted(zip(row["days"], row["counts"], strict=True)):
            is_new = last_seen is None or (day - last_seen).days > _NEW_AFTER_DAYS
            last_seen = day
            if day >= since:
                found.append(PortDay(day, port, packets, is_new))
    return tuple(sorted(found, key=lambda each: (each.day, -each.packets)))
