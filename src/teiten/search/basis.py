"""On how much observation an answer rests, and what it took: part of every answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal


@dataclass(frozen=True)
class Strip:
    """Share watched per bucket, for the strip under a time axis."""

    step_seconds: int
    #: Start of each bucket; the last may end after the period.
    starts: tuple[datetime, ...]
    #: 0.0 to 1.0 of what was expected; None where no sensor was expected.
    share: tuple[float | None, ...]
    #: Covered address-days per bucket: the denominator of a rate.
    covered_address_days: tuple[float, ...]
    #: Sensors with any coverage in the bucket.
    sensors: tuple[int, ...]


@dataclass(frozen=True)
class Gap:
    """A time in which sensors of one region did not watch."""

    start_at: datetime
    end_at: datetime
    #: Empty when the region is unknown.
    region: str
    #: Most sensors missing at once.
    sensors: int
    missing_address_days: float
    #: ``planned``: declared maintenance; ``pending``: the newest hours, data may still arrive; ``missing``: otherwise.
    kind: Literal["missing", "pending", "planned"]


@dataclass(frozen=True)
class NotCounted:
    """Ports that canaries do not reach at some sensors: their time is in no denominator of these ports."""

    #: As in ``445/tcp``; of several, a sensor is left out while none of them reaches it.
    ports: tuple[str, ...]
    #: Sensors that are left out for all or a part of the period; None where that is not told.
    sensors: int | None
    #: Share of the address-days watched that is left out; in coarse steps, of all sensors, where that is all that is told.
    share: float


@dataclass(frozen=True)
class Basis:
    """On how much observation an answer rests, and how sure its newest part is."""

    dataset: str
    start_at: datetime
    end_at: datetime
    covered_address_days: float
    expected_address_days: float
    #: covered / expected; None when nothing was expected.
    share: float | None
    #: Before this, every window of every reporting sensor has arrived; None without any sensor.
    #: A sensor is reporting while its newest window ends at most `silent_after_seconds` before now.
    complete_until: datetime | None
    #: Sensors from which data for times before now may still come: silent ones and ones with missing batches.
    late_expected: int
    #: Sensors whose newest window is recent.
    sensors_watching: int
    #: Sensors that are expected: seen before the end, not forgotten.
    sensors_known: int
    #: Sensors with coverage in this and in the previous period.
    sensors_in_both: int
    #: Sensors with coverage in this period.
    sensors_seen: int
    #: Sensors with coverage in the previous period.
    sensors_seen_before: int
    captured_packets: int
    kernel_drops: int
    #: kernel_drops / (captured + kernel_drops); None without packets.
    kernel_drop_share: float | None
    #: Packets left out because the sensor's own host solicited them.
    excluded_packets: int
    #: Largest first, at most 10.
    gaps: tuple[Gap, ...]
    strip: Strip
    #: Address family that rates are per: 4, 6, or 0 for both.
    family: int
    #: ``silent``, ``answering``: ways of watching in the period.
    modes: tuple[str, ...]
    rule_versions: tuple[int, ...]
    #: The way of watching that the figures are of: ``silent``, ``answering``, or ``all`` (then there is no rate).
    mode: str = "silent"
    #: Covered address-days of the period by way of watching, of the same family.
    modes_apart: Mapping[str, float] = field(default_factory=dict)
    #: Expected but not watched, in declared maintenance: apart from what is missing.
    planned_address_days: float = 0.0
    #: Expected, not watched and not planned: covered + planned + missing = expected.
    missing_address_days: float = 0.0
    #: Lengths of the watched prefixes of the family; IPv6 lengths are never mixed in one rate.
    prefix_lengths: tuple[int, ...] = ()
    #: Why there is no rate: ``modes_mixed``, ``prefixes_mixed``, or empty.
    no_rate: Literal["", "modes_mixed", "prefixes_mixed"] = ""
    #: What fewer sensors of other organisations saw is left out (0, or no row), and figures are coarse; 1: nothing is.
    least_sensors: int = 1
    #: What is left out because a port that is asked about, or whose rate is told, does not reach the sensor.
    not_counted: tuple[NotCounted, ...] = ()


@dataclass(frozen=True)
class Cost:
    """What the answer took."""

    elapsed_seconds: float
    #: Table that answered: ``packets`` or a roll-up.
    table: str
    #: Times were widened to multiples of this, because the roll-up is no finer; 0 for raw rows.
    grain_seconds: int
    #: The period really used, after widening.
    start_at: datetime
    end_at: datetime
