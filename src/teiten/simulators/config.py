"""Settings of the simulators."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from teiten.protocol.header import Mode

#: The sensor's ring keeps so many bytes from the IP header on (``capture.md``).
RING_BYTES = 176


@dataclass(frozen=True)
class TelescopeConfig:
    """What the simulated Internet sends."""

    #: Another seed gives another Internet with the same statistics.
    seed: int = 20_260_219
    #: The instant from which campaigns and new survey scanners count, µs since 1970-01-01 UTC.
    anchor_us: int = 1_795_219_200_000_000
    #: Factor on every rate; 1 is what NICTER measured in 2025.
    rate: float = 1.0
    #: Bytes made per packet, from the IP header on; longer packets are cut as a capture would.
    snap_bytes: int = RING_BYTES
    #: Hours made at once: 24, or 1 for fleets too large to hold a day of each sensor.
    unit_hours: int = 24


@dataclass(frozen=True)
class SensorPlan:
    """One simulated sensor."""

    #: Name of the sensor in the fleet; with the seed it decides what arrives.
    name: str
    #: Code of the region that it stands in; for whoever creates the sensor, not used here.
    region: str
    #: Documentation prefixes that it watches.
    prefixes: tuple[str, ...]
    mode: Mode = "silent"
    #: Key of :data:`teiten.simulators.behaviours.BEHAVIOURS`.
    behaviour: str = "steady"
    #: One-time enrolment token; empty when the sensor is enrolled already or a provider gives it.
    token: str = ""


@dataclass(frozen=True)
class FleetSimulationConfig:
    """A simulated fleet and its gateway: what a work order holds."""

    #: Folder of keys and ledger, readable by its owner only.
    state_dir: Path
    #: For example ``https://localhost:8443``.
    gateway_url: str
    sensors: tuple[SensorPlan, ...]
    #: Authority that requests are signed for; empty: that of the URL.
    authority: str = ""
    #: SHA-256 pins of the gateway's public key (SPKI).
    pins: tuple[str, ...] = ()
    ca_file: Path | None = None
    #: Gateway signing keys known beforehand, ``id=base64url``; enrolment adds those it is told.
    gateway_keys: tuple[str, ...] = ()

    seed: int = TelescopeConfig.seed
    #: From when campaigns and planned troubles count; 0: the day of the first start, kept in the ledger.
    anchor_us: int = 0
    #: Days before the first start that are made up for.
    history_days: int = 30
    #: Factor on every rate of traffic.
    rate: float = 1.0
    #: Hours of traffic made at once; 1 for fleets of thousands.
    unit_hours: int = 24
    #: Payload bytes kept per packet.
    payload_bytes: int = 64
    #: Seconds of a window.
    window_seconds: float = 30.0
    #: Seconds of a window in live mode.
    live_window_seconds: float = 2.0
    heartbeat_seconds: float = 60.0
    #: Longest window of the history, seconds.
    history_window_seconds: int = 3600
    #: Threads that send history.
    history_workers: int = 4
    #: Threads that send live windows and heartbeats.
    live_workers: int = 2
    timeout_seconds: float = 30.0
