"""What a search gives back: frozen dataclasses, each with the coverage it rests on.

Everywhere: instants are aware UTC; periods are half-open ``[start_at, end_at)``; a
series has one value per bucket, and **None means "not watched"**, never zero. A
value that the viewer may not see is None and its column is named in ``masked``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, TypeAlias

from teiten.search.basis import Basis, Cost
from teiten.search.query import Metric
from teiten.traffic.verdicts import ToolVerdict

#: One value per bucket; None where nothing was watched.
Points: TypeAlias = tuple[float | None, ...]


@dataclass(frozen=True)
class Group:
    """One value of a dimension, ready to be shown and pivoted on."""

    dimension: str
    #: The value as the query language writes it: ``23/tcp``, ``CN``, ``64500``, ``unknown``.
    key: str
    #: Short text to show: ``23/TCP``, ``CN``, ``AS64500``.
    label: str
    #: A further name: the service, the AS's holder; None when there is none.
    name: str | None
    #: The condition that keeps exactly this value, in the query language.
    condition: str


@dataclass(frozen=True)
class Figure:
    """One number beside its value in the previous period."""

    value: float | None
    previous: float | None
    #: (value - previous) / previous; None when it cannot be told.
    change: float | None


@dataclass(frozen=True)
class Totals:
    """The key figures of a period."""

    #: Distinct sources: an estimate from about 100 on, standard error 1.6 %.
    hosts: Figure
    packets: Figure
    #: Packets per covered address-day.
    rate: Figure
    #: Sensors that watched.
    sensors: Figure
    #: One point per bucket of ``starts``: metric → points, and the previous period's.
    sparks: Mapping[Metric, Points]
    previous_sparks: Mapping[Metric, Points]
    step_seconds: int
    starts: tuple[datetime, ...]
    basis: Basis
    cost: Cost


@dataclass(frozen=True)
class LineStatistics:
    """Figures of a line over its watched buckets."""

    minimum: float | None
    mean: float | None
    p95: float | None
    maximum: float | None
    last: float | None
    #: Of the whole period: distinct hosts, packets, or the rate; not the sum of hosts per bucket.
    total: Figure


@dataclass(frozen=True)
class Line:
    """One line of a series."""

    #: None for the total and for "others".
    group: Group | None
    values: Points
    #: The previous period's, bucket by bucket; empty unless asked for.
    previous: Points
    statistics: LineStatistics


@dataclass(frozen=True)
class Series:
    """Values over time, split by a dimension."""

    metric: Metric
    #: None when not split.
    dimension: str | None
    step_seconds: int
    #: Start of each bucket, the same for all lines.
    starts: tuple[datetime, ...]
    lines: tuple[Line, ...]
    #: All that has no line of its own; None when not split.
    others: Line | None
    #: How many values "others" stands for; None when unknown.
    others_count: int | None
    total: Line
    basis: Basis
    cost: Cost


@dataclass(frozen=True)
class TopRow:
    """One value's place in a ranking."""

    rank: int
    group: Group
    figure: Figure
    #: Of the whole period's figure; hosts seen under two values count for both.
    share: float | None
    #: None when it was beyond the ranks that were looked at.
    previous_rank: int | None
    spark: Points


@dataclass(frozen=True)
class Others:
    """What is not among the ranked."""

    #: Distinct values it stands for.
    count: int
    figure: Figure
    share: float | None
    spark: Points


@dataclass(frozen=True)
class Top:
    """A ranking of one dimension's values."""

    metric: Metric
    dimension: str
    rows: tuple[TopRow, ...]
    others: Others
    #: Distinct values in the period.
    distinct: int
    total: Figure
    step_seconds: int
    starts: tuple[datetime, ...]
    basis: Basis
    cost: Cost


@dataclass(frozen=True)
class FacetValue:
    """One value with its packets."""

    group: Group
    packets: int
    share: float
    #: Whether the query already keeps or leaves out this very value.
    state: Literal["open", "included", "excluded"]


@dataclass(frozen=True)
class Facet:
    """The most frequent values of one dimension."""

    dimension: str
    values: tuple[FacetValue, ...]
    others: int
    distinct: int


@dataclass(frozen=True)
class Facets:
    """Facets of several dimensions under one query."""

    facets: tuple[Facet, ...]
    packets: int
    #: Dimensions left out because the viewer may not see them.
    masked: tuple[str, ...]
    basis: Basis
    cost: Cost


#: A cell: number, text, instant, or None (masked or absent).
Cell: TypeAlias = int | float | str | bool | datetime | None


@dataclass(frozen=True)
class Rows:
    """One page of packets, newest first."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    #: For each row, what :meth:`Search.packet` takes; empty where rows are lines of alike packets.
    references: tuple[str, ...]
    #: Columns whose values this viewer may not see.
    masked: tuple[str, ...]
    #: Give it back to get the next page; None at the end.
    next_page: str | None
    #: Matching packets, up to a limit.
    count: int
    #: The count stopped at its limit: show "10,000+".
    is_count_capped: bool
    basis: Basis
    cost: Cost
    #: About how many packets each row stands for, where rows are lines of alike packets of an hour; else empty.
    packets: tuple[int, ...] = ()


@dataclass(frozen=True)
class HeaderPart:
    """A run of reconstructed header bytes."""

    start: int
    end: int
    layer: Literal["ip", "transport", "options", "payload"]
    #: ``recomputed``: a checksum of what stands here, not the one on the wire; ``unknown``: not recorded.
    state: Literal["plain", "masked", "recomputed", "unknown"]
    #: The field it belongs to.
    name: str


@dataclass(frozen=True)
class Packet:
    """One packet with everything the viewer may see of it."""

    reference: str
    fields: Mapping[str, Cell]
    #: Names of hints that matched.
    hints: tuple[str, ...]
    marks: tuple[str, ...]
    flags: tuple[str, ...]
    #: TCP options in words: ``("MSS 1460", "SACK", …)``.
    options: tuple[str, ...]
    #: Header rebuilt from the columns; masked bytes are 0 here and named in ``parts``.
    header: bytes
    parts: tuple[HeaderPart, ...]
    #: First bytes of the payload; None when masked.
    payload: bytes | None
    masked: tuple[str, ...]
    basis: Basis
    cost: Cost


@dataclass(frozen=True)
class CalendarDay:
    """One day of a source."""

    day: date
    #: None when nothing was watched on that day.
    packets: int | None
    #: Packets per covered address-day.
    rate: float | None
    #: Share of the expected observation.
    coverage: float | None


@dataclass(frozen=True)
class PortDay:
    """Packets to one port on one day."""

    day: date
    group: Group
    packets: int
    #: The port was not seen from this source in the 14 days before.
    is_new: bool


@dataclass(frozen=True)
class SeenBy:
    """A sensor (or, without permission, a region) that saw the source."""

    #: None when masked.
    sensor: int | None
    region: str
    packets: int
    last_seen_at: datetime


@dataclass(frozen=True)
class Count:
    """Packets with one value."""

    group: Group
    packets: int
    share: float


@dataclass(frozen=True)
class VerdictDay:
    """What was judged of a source on one day."""

    day: date
    packets: int
    verdicts: tuple[ToolVerdict, ...]


@dataclass(frozen=True)
class ActorSeen:
    """A survey scanner that packets of a source were taken for, and why."""

    #: Who scans; empty when only its behaviour tells.
    actor: str
    #: ``list``: a survey list names it; ``behaviour``: the open rule.
    reason: Literal["list", "behaviour"]
    packets: int
    last_seen_at: datetime


@dataclass(frozen=True)
class SourcePage:
    """Everything known about a source address or prefix."""

    #: Canonical text: an address, or a prefix with its length.
    source: str
    is_prefix: bool
    #: The surrounding /24 or /48 of an address.
    prefix: str
    first_seen_at: datetime | None
    last_seen_at: datetime | None
    #: In the query's period.
    packets: int
    #: Over all that is kept.
    packets_all: int
    #: Distinct addresses inside a prefix in the period; 1 for an address that was seen.
    hosts: int
    days_seen: int
    days_watched: int
    countries: tuple[Count, ...]
    systems: tuple[Count, ...]
    natures: tuple[Count, ...]
    #: Packets per hint; "none" for those without any.
    hints: tuple[Count, ...]
    #: TCP SYNs without and with any hint: what a hint's count is out of.
    tcp_syns: int
    fingerprints: tuple[Count, ...]
    #: For each fingerprint, distinct sources of the data set that share it on the days of the period.
    fingerprint_sources: tuple[int, ...]
    ports: tuple[Count, ...]
    ttls: tuple[Count, ...]
    #: Addresses inside a prefix, most packets first; empty for an address.
    members: tuple[Count, ...]
    is_survey: bool
    df_packets: int
    sensors_seen: int
    #: Sensors that watched the source's address family in the period.
    sensors_covered: int
    #: sensors_seen / sensors_covered; None when none watched.
    breadth: float | None
    #: The one region that saw it while others watched; None when several or none did.
    only_here: str | None
    #: Which tools, over the whole days of the period and all sensors, best first, and day by day; empty for a prefix.
    verdicts: tuple[ToolVerdict, ...]
    verdict_days: tuple[VerdictDay, ...]
    #: Packets by source validity.
    validities: tuple[Count, ...]
    #: Packets by probe label; "none" for those without.
    probes: tuple[Count, ...]
    actors: tuple[ActorSeen, ...]
    #: Parameters of the question that a page about one source does not apply: ``q``, ``survey``, ``mode``, ``metric``.
    ignored: tuple[str, ...]
    seen_by: tuple[SeenBy, ...]
    #: Of the 15 most frequent ports, over 30 days.
    ports_by_day: tuple[PortDay, ...]
    calendar: tuple[CalendarDay, ...]
    masked: tuple[str, ...]
    basis: Basis
    cost: Cost


@dataclass(frozen=True)
class Live:
    """The last seconds."""

    now_at: datetime
    step_seconds: int
    starts: tuple[datetime, ...]
    packets: tuple[int, ...]
    hosts: tuple[int, ...]
    top: tuple[Count, ...]
    latest: Rows
    basis: Basis
    cost: Cost


@dataclass(frozen=True)
class DatasetExtent:
    """A data set and the time it spans."""

    name: str
    first_at: datetime
    last_at: datetime
    packets: int
    sensors: int
