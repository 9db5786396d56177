"""Settings of the simulators."""

from __future__ import annotations

from dataclasses import dataclass

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
