"""What search needs from the store and of the fleet's register, as narrow as it uses it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import pyarrow as pa


class StoreSettings(Protocol):
    """What search reads of the store's settings."""

    @property
    def zone(self) -> str:
        """The zone of the days and hours of the roll-ups."""


class ObservationStore(Protocol):
    """Reads of the store; :class:`teiten.store.service.Store` is one."""

    @property
    def config(self) -> StoreSettings:
        """The settings that the store was opened with."""

    def select(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        role: Literal["screen", "export"] = "screen",
    ) -> pa.Table:
        """Run a SELECT with bound ``{name:Type}`` parameters, on a client of this thread."""


class SystemNames(Protocol):
    """Knows who holds an AS number; wired to the country/AS file in use."""

    def list_names(self, numbers: Sequence[int]) -> Mapping[int, str]:
        """Give number to name, for those that are known."""


#: End of a placement that still holds, µs.
FOREVER_US = (1 << 63) - 1


class PlacementPeriod(NamedTuple):
    """Where a sensor stood in ``[from_us, to_us)``; texts are empty and ``asn`` is 0 where unknown."""

    from_us: int
    #: FOREVER_US while it holds.
    to_us: int
    region: str
    #: ISO 3166-1, two letters.
    country: str
    asn: int
    provider: str
    #: ``isp``, ``enterprise``, ``university``, ``cloud``, ``idc``, ``other``.
    kind: str
    #: ``silent`` or ``answering``.
    mode: str


@dataclass(frozen=True)
class SensorFacts:
    """What the register knows of one sensor: where it stands now, and where it stood."""

    sensor: int
    organisation_id: int
    region: str
    country: str
    asn: int
    provider: str
    kind: str
    mode: str
    #: In order of time, without overlaps.
    periods: tuple[PlacementPeriod, ...]


@dataclass(frozen=True)
class MaintenancePeriod:
    """Planned maintenance of one sensor, ``[start_us, end_us)``."""

    sensor: int
    start_us: int
    end_us: int


class UnreachedPeriod(NamedTuple):
    """A time ``[from_us, to_us)`` in which canaries told that a port does not reach a sensor over an IP version."""

    sensor: int
    ip_version: int
    from_us: int
    #: FOREVER_US while it lasts.
    to_us: int


class FleetFacts(Protocol):
    """What is known of sensors besides their packets; ``teiten.fleet.facts.FleetFacts`` is one."""

    def list_sensors(self) -> Sequence[SensorFacts]:
        """List every sensor of the register, also retired ones; ordered by number."""

    def list_maintenance(self, start_us: int, end_us: int) -> Sequence[MaintenancePeriod]:
        """List planned maintenance that overlaps ``[start_us, end_us)``."""

    def list_unreached(
        self, protocol: int, port: int, start_us: int, end_us: int
    ) -> Sequence[UnreachedPeriod]:
        """List when a port was known not to reach sensors, as far as it overlaps ``[start_us, end_us)``."""
