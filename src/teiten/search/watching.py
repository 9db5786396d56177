"""Who was watching: the answer about sensors and regions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from teiten.search.answers import Points
from teiten.search.basis import Basis, Cost


@dataclass(frozen=True)
class SensorCoverage:
    """What one sensor watched.

    Under a pseudonym only region, share, cells (of whole days), state and name are told:
    the rest would show a flood towards one address, or tell the sensor by its hardware.
    """

    #: None under a pseudonym.
    sensor: int | None
    region: str
    #: Addresses watched in the newest window.
    addresses: float
    #: The newest window's end; None when it never reported.
    last_window_at: datetime | None
    last_landed_at: datetime | None
    last_epoch: int
    last_seq: int
    #: Server minus sensor, seconds; None when unknown.
    clock_offset_seconds: float | None
    #: Share watched of the period; None when nothing was expected.
    share: float | None
    #: Share per bucket of the answer's ``starts``.
    cells: Points
    captured_packets: int
    kernel_drops: int
    missing_batches: int
    lost_batches: int
    software: str
    #: watching, silent, gapped (missing or lost batches), dropping (kernel drops above 0.1 %), skewed (clock off by more than 1 s).
    state: Literal["watching", "silent", "gapped", "dropping", "skewed"]
    #: The sensor's name for this viewer's organisation; empty where its number is shown.
    pseudonym: str = ""


@dataclass(frozen=True)
class RegionCoverage:
    """What the sensors of one region watched together."""

    region: str
    sensors_known: int
    sensors_watching: int
    share: float | None
    cells: Points
    covered_address_days: float


@dataclass(frozen=True)
class Sensors:
    """Who was watching."""

    step_seconds: int
    starts: tuple[datetime, ...]
    #: Empty for a viewer who may not see sensors.
    sensors: tuple[SensorCoverage, ...]
    regions: tuple[RegionCoverage, ...]
    masked: tuple[str, ...]
    basis: Basis
    cost: Cost
