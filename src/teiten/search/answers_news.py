"""Answers about change: what is seen for the first time, what grew beyond its usual range, and payload examples."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from teiten.search.answers import Group, Points
from teiten.search.basis import Basis, Cost

#: What news are told of.
NewsDimension: TypeAlias = Literal["fingerprint_port", "dst_port", "tcp_fp", "payload_hash", "probe"]


@dataclass(frozen=True)
class NewsItem:
    """A value that was not seen in the days before."""

    #: One value, or two: the fingerprint (``*:::`` for any window without TCP options), then the port.
    groups: tuple[Group, ...]
    #: First packet in the period; for probes the start of the first day.
    first_seen_at: datetime
    packets: int
    #: Distinct sources; None where the roll-up does not know them.
    hosts: int | None
    #: At least so many distinct sensors (two whose numbers are alike modulo 64 count once); for members the least that any figure stands on.
    sensors_at_least: int


@dataclass(frozen=True)
class News:
    """What is seen for the first time in the period."""

    dimension: NewsDimension
    #: Seen by most sensors first, then by packets; for members by packets alone.
    items: tuple[NewsItem, ...]
    #: All new values that are listed, those beyond the limit included.
    distinct: int
    #: Days before the period in which a value must not have been seen.
    days: int
    #: How many of these days were watched; with 0 nothing can be called new and there are no items.
    days_watched: int
    basis: Basis
    cost: Cost
    #: New fingerprints or payloads that are not listed, since one source alone is known to have sent them; 0 for members.
    from_one_source: int = 0


@dataclass(frozen=True)
class Mover:
    """A value whose rate is beyond its usual range; every rate is in packets per covered address-day."""

    group: Group
    recent_packets: int
    #: Mean of the period.
    recent_rate: float
    #: Highest bucket of the period.
    peak_rate: float
    #: Mean of the days before.
    usual_rate: float
    #: 5th and 95th percentile of the days before.
    usual_low: float
    usual_high: float
    #: (recent_rate - usual_rate) / usual_rate
    trend: float
    #: (peak_rate - usual_rate) / usual_rate
    anomaly: float
    #: Rate of each usual day, and at the end of the period itself; None where nothing was watched.
    spark: Points


@dataclass(frozen=True)
class Movers:
    """What grew beyond its usual range."""

    dimension: str
    #: Largest trend first.
    items: tuple[Mover, ...]
    #: Whole days before the period that "usual" is taken from.
    days: int
    #: How many of them were watched; below 7 nothing is called usual and there are no items.
    days_watched: int
    #: Of the sparks: the start of each usual day, then of the period.
    starts: tuple[datetime, ...]
    basis: Basis
    cost: Cost


@dataclass(frozen=True)
class PayloadExample:
    """One whole payload as a sensor received it."""

    #: What :meth:`Search.packet` takes.
    reference: str
    observed_at: datetime
    #: None when masked.
    sensor: int | None
    #: Source address.
    source: str
    #: Destination port with its protocol.
    port: Group
    #: Length on the wire, bytes.
    payload_length: int
    #: At most 1,500 bytes.
    payload: bytes


@dataclass(frozen=True)
class Examples:
    """Examples of one payload, newest first, one a sensor and day."""

    #: 16 hexadecimal digits.
    payload_hash: str
    examples: tuple[PayloadExample, ...]
    masked: tuple[str, ...]
    basis: Basis
    cost: Cost
