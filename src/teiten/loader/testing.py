"""Sensors for tests and benchmarks that have no fleet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from teiten.traffic.addresses import parse_prefix
from teiten.traffic.survey import FOREVER_US


@dataclass(frozen=True)
class StandingPeriod:
    """An :class:`~teiten.loader.doors.AddressPeriod`."""

    local_first: bytes
    local_last: bytes
    public: bytes
    from_us: int = 0
    to_us: int = FOREVER_US


def make_period(local: str, public: str, *, from_us: int = 0, to_us: int = FOREVER_US) -> StandingPeriod:
    """Make a period from prefixes of the same length."""
    first, last = parse_prefix(local)
    return StandingPeriod(first, last, parse_prefix(public)[0], from_us, to_us)


@dataclass(frozen=True)
class StandingPlacement:
    """A sensor that never moves, except where a test replaces it."""

    sensor: int
    region: str
    dataset: str
    may_import: bool
    keys: Mapping[int, bytes]
    public_periods: tuple[StandingPeriod, ...] = ()
    revision: int = 0

    def may_seal(self, key_no: int, *, epoch: int, seq: int) -> bool:
        return key_no in self.keys and epoch > 0 and seq > 0

    def region_at(self, _at_us: int) -> str:
        return self.region


class StandingRegister:
    """What a register of placements has beside them."""

    def current_revision(self) -> int:
        return 0

    def refresh(self) -> None:
        """Have nothing older than now."""
