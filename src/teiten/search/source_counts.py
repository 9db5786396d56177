"""What a source's packets of a period were: counts by value, from two passes over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from teiten.foundation.clock import to_us
from teiten.search import dimensions, guarding
from teiten.search.answers import ActorSeen, Count, SeenBy
from teiten.search.desk import Desk
from teiten.search.dimensions import Key
from teiten.search.packet_filters import write_where
from teiten.search.predicates import Binding
from teiten.search.query import Query
from teiten.search.tables import PACKETS
from teiten.search.visibility import Visibility
from teiten.traffic.survey import SurveyKind

#: Longest list of a page.
MOST_PER_LIST = 20
_SYN = 2

#: Name → key expressions of one grouping set of the single pass over a source's packets. Sets of many values come
#: first: equals are ordered by the columns in this order, and most of them differ in the first ones.
_SETS: Mapping[str, tuple[str, ...]] = {
    "dst_port": ("dst_port", "protocol"),
    "sensor": ("sensor", "region"),
    "tcp_fp": ("tcp_fp",),
    "asn": ("asn",),
    "hint": ("hints",),
    "country": ("country",),
    "ttl": ("ttl",),
    "nature": ("nature",),
    "validity": ("validity",),
    "probe": ("probe",),
    "actor": ("actor", "survey"),
}
#: The same for a guarded viewer: regions instead of sensors, and nothing that a sender marks packets with.
_GUARDED_SETS: Mapping[str, tuple[str, ...]] = {
    **{name: names for name, names in _SETS.items() if name not in ("sensor", "ttl")},
    "sensor": ("region",),
}
#: Sets of which more than the first values are needed.
_WHOLE_SETS = frozenset({"hint", "actor", "sensor"})
_IS_SYN = f"protocol = 6 AND bitAnd(tcp_flags, 23) = {_SYN}"


class SourceCounts:
    """All counts of a source's packets in the period: by value, and of all of them."""

    def __init__(self, desk: Desk, visibility: Visibility, query: Query) -> None:
        self._desk = desk
        self._sets = _GUARDED_SETS if visibility.is_guarded else _SETS
        self._by_set = self._count_values(visibility, query)
        whole = self._count_all(visibility, query)
        self.packets = int(whole["packet_count"])
        self.hosts = int(whole["hosts"])
        self.syns = int(whole["syns"])
        self.df = int(whole["df"])
        self.survey = int(whole["survey_count"])
        self.sensors = int(whole["sensor_count"])

    def _count_values(
        self, visibility: Visibility, query: Query
    ) -> dict[frozenset[str], list[dict[str, Any]]]:
        """Count the packets of each value, by the columns of its set; most packets first.

        A source may have thousands of ports: of most sets only the values that are shown leave the store.
        """
        binding = Binding()
        columns = tuple(dict.fromkeys(name for names in self._sets.values() for name in names))
        marks = {names: _mark_set(names, columns) for names in self._sets.values()}
        whole = binding.bind("Array(UInt64)", [marks[self._sets[name]] for name in sorted(_WHOLE_SETS)])
        own = ", ".join(column for name in sorted(_WHOLE_SETS) for column in self._sets[name])
        sets = ", ".join(f"({', '.join(names)})" for names in self._sets.values())
        # The newest instant is one packet's: a guarded viewer gets the end of the period.
        newest = binding.instant(to_us(query.end)) if visibility.is_guarded else "max(observed_at)"
        statement = (
            f"SELECT {', '.join(columns)}, grouping({', '.join(columns)}) AS set_mark, {newest} AS last_at,"  # noqa: S608 - declared names, bound values
            f" {guarding.count_packets(visibility, PACKETS)} AS packet_count"
            f" FROM {PACKETS.name} WHERE {write_where(query, binding)}"
            f" GROUP BY GROUPING SETS ({sets}){guarding.having(visibility, PACKETS)}"
            f" ORDER BY packet_count DESC, {', '.join(columns)}"
            f" LIMIT {MOST_PER_LIST} BY set_mark, if(has({whole}, set_mark), cityHash64({own}), 0)"
        )
        found = self._desk.select(visibility, statement, binding.parameters)
        return {frozenset(names): _keep_set(found, names, mark) for names, mark in marks.items()}

    def _count_all(self, visibility: Visibility, query: Query) -> dict[str, Any]:
        """Count what would be dear to count for each value; all 0 where a guarded viewer may not be told."""
        binding = Binding()
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
            f"SELECT {figures} FROM {PACKETS.name} WHERE {write_where(query, binding)}"  # noqa: S608 - as above
            f"{guarding.having(visibility, PACKETS)}"
        )
        rows = self._desk.select(visibility, statement, binding.parameters).to_pylist()
        return rows[0] if rows else dict.fromkeys(counted, 0)

    def _of(self, name: str) -> list[dict[str, Any]]:
        return self._by_set.get(frozenset(self._sets[name]), []) if name in self._sets else []

    def count(self, name: str) -> tuple[Count, ...]:
        """Give the most frequent values of a dimension."""
        split = dimensions.get_dimension(name)
        rows = self._of(name)[:MOST_PER_LIST]
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


def _mark_set(names: Sequence[str], columns: Sequence[str]) -> int:
    """Give what ``grouping(columns)`` says of the rows of one set: a bit for each column that it is without, the last the lowest."""
    return sum(1 << place for place, column in enumerate(reversed(columns)) if column not in names)


def _keep_set(found: pa.Table, names: Sequence[str], mark: int) -> list[dict[str, Any]]:
    """Give the rows of one grouping set, by its columns alone."""
    mine = found.filter(pc.equal(found.column("set_mark"), pa.scalar(mark, pa.uint64())))
    return mine.select([*names, "last_at", "packet_count"]).to_pylist()


def _count_sensors(visibility: Visibility) -> str:
    """Give the aggregate of the sensors that saw a source: for a guarded viewer those of others."""
    if not visibility.own_sensors or not visibility.is_guarded:
        return "uniqExact(sensor)"
    own = ", ".join(str(sensor) for sensor in sorted(visibility.own_sensors))
    return f"uniqExactIf(sensor, sensor NOT IN ({own}))"
