"""Answers about where: in what share of the sensors something was seen, and one group of sensors against another."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from teiten.search.answers import Group
from teiten.search.basis import Basis, Cost


@dataclass(frozen=True)
class RegionBreadth:
    """How broadly one region saw it."""

    region: str
    #: Sensors of the region that saw it.
    seen: int
    #: Sensors of the region that watched.
    covered: int
    #: seen / covered; None when none watched.
    share: float | None


@dataclass(frozen=True)
class Breadth:
    """In what share of the covered sensors the matching packets were seen."""

    #: None when too few for the viewer to be told.
    sensors_seen: int | None
    #: Sensors that watched at any time of the period, in the mode of the answer.
    sensors_covered: int
    share: float | None
    #: Largest share first; only regions in which a sensor watched.
    regions: tuple[RegionBreadth, ...]
    #: The one region that saw it while others watched; None when several or none did.
    only_here: str | None
    masked: tuple[str, ...]
    basis: Basis
    cost: Cost


@dataclass(frozen=True)
class SensorGroup:
    """Which sensors: each part that is not empty must hold; all of them empty is every sensor."""

    sensors: tuple[int, ...] = ()
    regions: tuple[str, ...] = ()
    #: ``isp``, ``enterprise``, ``university``, ``cloud``, ``idc``, ``other``.
    kinds: tuple[str, ...] = ()
    #: Country in which the sensor stands, ISO 3166-1.
    countries: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    asns: tuple[int, ...] = ()
    #: ``silent``, ``answering``; empty: the mode of the answer.
    modes: tuple[str, ...] = ()

    @property
    def needs_placement(self) -> bool:
        """Whether only the fleet's register knows who belongs to it."""
        return bool(self.kinds or self.countries or self.providers or self.asns)


@dataclass(frozen=True)
class GroupBasis:
    """What one side of a comparison rests on."""

    start_at: datetime
    end_at: datetime
    #: Sensors of the group that watched.
    sensors: int
    covered_address_days: float
    packets: int
    #: Packets per covered address-day; None where nothing was covered.
    rate: float | None


@dataclass(frozen=True)
class ComparisonRow:
    """One value on both sides."""

    group: Group
    one_packets: int
    other_packets: int
    one_rate: float | None
    other_rate: float | None
    #: one_rate / other_rate; None when it cannot be told.
    ratio: float | None
    #: Bounds of the ratio's 95 % confidence interval; None when the spread is unknown.
    ratio_low: float | None
    ratio_high: float | None


@dataclass(frozen=True)
class Comparison:
    """Rates of one group of sensors beside those of another, or of another time."""

    dimension: str
    one: GroupBasis
    other: GroupBasis
    #: Most packets on both sides together first.
    rows: tuple[ComparisonRow, ...]
    #: What the confidence intervals' variance is taken over: the rates of single sensors, or of single
    #: buckets of time where only a roll-up can be read.
    spread_over: Literal["sensors", "buckets", "none"]
    #: Only sensors that watched in this period and in the one before were counted.
    same_sensors: bool
    basis: Basis
    cost: Cost
