"""What the loader asks of others; ``cli`` hands it over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from teiten.protocol.canary import Arrival, ProberKey


class AddressPeriod(Protocol):
    """Which public addresses stood for the local ones of a range, one by one, in ``[from_us, to_us)``."""

    @property
    def local_first(self) -> bytes:
        """16 bytes, IPv4 mapped into IPv6, like all addresses here."""

    @property
    def local_last(self) -> bytes:
        """Inclusive."""

    @property
    def public(self) -> bytes:
        """Stands for ``local_first``."""

    @property
    def from_us(self) -> int: ...

    @property
    def to_us(self) -> int: ...


class Placement(Protocol):
    """Where a sensor stands, and which keys it ever had."""

    @property
    def sensor(self) -> int: ...

    @property
    def dataset(self) -> str:
        """``live`` or ``simulated``."""

    @property
    def may_import(self) -> bool: ...

    @property
    def keys(self) -> Mapping[int, bytes]:
        """Key number → 32 raw bytes, Ed25519."""

    def may_seal(self, key_no: int, *, epoch: int, seq: int) -> bool:
        """Tell whether a key was good for this number."""

    def region_at(self, at_us: int) -> str:
        """Give the region in which the sensor stood."""

    @property
    def public_periods(self) -> Sequence[AddressPeriod]:
        """Public addresses, the best known first."""

    @property
    def revision(self) -> int:
        """Revision in which region or public addresses changed last."""


class SensorRegister(Protocol):
    """Facts about sensors, with revisions that count over the whole fleet and never go back."""

    def find_placement(self, sensor: int, key_no: int) -> Placement | None:
        """Find a sensor; called from one thread of each loader."""

    def current_revision(self) -> int:
        """Give a revision that everything given from now on contains."""

    def refresh(self) -> None:
        """Give what is there now, not what was there a moment ago, from now on."""


class CanaryDoor(Protocol):
    """Who sends canaries, and where their arrivals are kept."""

    def list_probers(self) -> Sequence[ProberKey]:
        """Give the probers in use; asked for every block, so it must be cheap."""

    def note_arrivals(self, arrivals: Sequence[Arrival]) -> None:
        """Keep arrivals; the same again changes nothing."""
