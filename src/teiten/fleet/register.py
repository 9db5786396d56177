"""What the loader asks of the fleet: where each sensor stands, and its keys.

Batches sealed before a key was revoked or a sensor suspended stay what they are:
the register names every key that a sensor ever had, and the loader decides by the
batch's own number.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from django.db import close_old_connections
from django.db.models import Case, Max, When

from teiten.fleet.models import KnownBy, ObservedAddress, Sensor, SensorFacts, SensorKey, SensorPlacement
from teiten.foundation.clock import Clock, to_us
from teiten.traffic.addresses import parse_prefix
from teiten.traffic.timed_ranges import FOREVER_US

#: Seconds for which an answer may be used again.
KEPT_SECONDS = 5.0
#: Seconds between two questions caused by an unknown sensor or key.
_ASK_AGAIN_SECONDS = 0.5
#: Unknown keys that are remembered.
_MOST_UNKNOWN = 10_000


@dataclass(frozen=True)
class AddressPeriod:
    """Which public addresses stood for the local ones of a range, one by one, in ``[from_us, to_us)``."""

    #: 16 bytes, IPv4 mapped into IPv6, like all addresses here; the range ends at ``local_last`` inclusive.
    local_first: bytes
    local_last: bytes
    public: bytes
    from_us: int
    to_us: int


class KeyRange(NamedTuple):
    """Which numbers of which epoch a key may have sealed."""

    epoch: int
    from_seq: int
    #: None: no end.
    to_seq: int | None

    def covers(self, epoch: int, seq: int) -> bool:
        return epoch == self.epoch and seq >= self.from_seq and (self.to_seq is None or seq <= self.to_seq)


@dataclass(frozen=True)
class Placement:
    """One sensor, for the loader."""

    sensor: int
    #: Where it stands now.
    region: str
    #: ``live`` or ``simulated``.
    dataset: str
    may_import: bool
    #: Key number → 32 raw bytes.
    keys: dict[int, bytes] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    #: Start (µs) and region of each placement, oldest first.
    regions: tuple[tuple[int, str], ...] = ()
    #: Public addresses, the best known first.
    public_periods: tuple[AddressPeriod, ...] = ()
    #: Revision in which placements or addresses changed last.
    revision: int = 0
    #: Key number → what it may have sealed.
    key_ranges: dict[int, KeyRange] = field(default_factory=dict)

    def may_seal(self, key_no: int, *, epoch: int, seq: int) -> bool:
        """Tell whether a key was good for this number."""
        found = self.key_ranges.get(key_no)
        return found is not None and found.covers(epoch, seq)

    def region_at(self, at_us: int) -> str:
        """Give the region in which the sensor stood; before its first placement, that of the first."""
        number = bisect_right(self.regions, at_us, key=lambda one: one[0])
        return self.regions[max(0, number - 1)][1] if self.regions else self.region


class FleetRegister:
    """Placements of all sensors, kept for a few seconds; safe to use from several threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[int, Placement] = {}
        self._places = _Places()
        self._asked_at: float | None = None
        #: Keys that were looked for in vain, and when; monotonic seconds.
        self._unknown: dict[tuple[int, int], float] = {}

    def list_placements(self) -> dict[int, Placement]:
        """Give sensor → placement, at most a few seconds old."""
        with self._lock:
            if self._is_older_than(KEPT_SECONDS):
                self._ask()
            return self._kept

    def find_placement(self, sensor: int, key_no: int) -> Placement | None:
        """Give a sensor's placement; one with an unknown sensor or key asks again first."""
        found = self.list_placements().get(sensor)
        if found is not None and key_no in found.keys:
            return found
        with self._lock:
            # A sensor may have enrolled just after the last question, so that one does not count.
            if self._is_due((sensor, key_no)):
                self._ask()
                self._unknown[(sensor, key_no)] = self._clock.monotonic()
            return self._kept.get(sensor)

    def current_revision(self) -> int:
        """Give a revision of placements and addresses that everything given from now on contains."""
        self.list_placements()
        return self._places.revision

    def refresh(self) -> None:
        """Give from now on what is there now, not what was there a moment ago."""
        with self._lock:
            self._ask()

    def _is_due(self, unknown: tuple[int, int]) -> bool:
        """Tell whether the database must be asked for a key that is not known, at most twice a second each."""
        if len(self._unknown) > _MOST_UNKNOWN:
            self._unknown.clear()
        asked_at = self._unknown.get(unknown)
        return asked_at is None or self._clock.monotonic() - asked_at >= _ASK_AGAIN_SECONDS

    def _is_older_than(self, seconds: float) -> bool:
        return self._asked_at is None or self._clock.monotonic() - self._asked_at >= seconds

    def _ask(self) -> None:
        try:
            self._places = _read_places(self._places)
            self._kept = _read_placements(self._places)
        finally:
            close_old_connections()
        self._asked_at = self._clock.monotonic()


@dataclass(frozen=True)
class _Places:
    """Placements and addresses of all sensors, as of a revision or later."""

    revision: int = -1
    regions: Mapping[int, tuple[tuple[int, str], ...]] = field(default_factory=dict)
    periods: Mapping[int, tuple[AddressPeriod, ...]] = field(default_factory=dict)
    revisions: Mapping[int, int] = field(default_factory=dict)


def _read_places(known: _Places) -> _Places:
    """Read what stands where, unless nothing changed since ``known``.

    The revision is read first: what is read after it may be newer, never older.
    """
    revision = SensorFacts.objects.aggregate(newest=Max("revision"))["newest"] or 0
    if revision == known.revision:
        return known
    revisions = dict(SensorFacts.objects.values_list("sensor_id", "revision"))
    return _Places(revision, _read_regions(), _read_periods(), revisions)


def _read_regions() -> dict[int, tuple[tuple[int, str], ...]]:
    found: dict[int, list[tuple[int, str]]] = {}
    rows = SensorPlacement.objects.order_by("sensor_id", "valid_from")
    for sensor, start, region in rows.values_list("sensor_id", "valid_from", "region_id"):
        found.setdefault(sensor, []).append((to_us(start), region))
    return {sensor: tuple(regions) for sensor, regions in found.items()}


def _read_periods() -> dict[int, tuple[AddressPeriod, ...]]:
    found: dict[int, list[AddressPeriod]] = {}
    rows = ObservedAddress.objects.annotate(rank=_RANK).order_by("sensor_id", "rank", "-valid_from")
    names = ("sensor_id", "local", "public", "valid_from", "valid_to")
    for sensor, local, public, start, end in rows.values_list(*names):
        first, last = parse_prefix(str(local))
        end_us = FOREVER_US if end is None else to_us(end)
        period = AddressPeriod(first, last, parse_prefix(str(public))[0], to_us(start), end_us)
        found.setdefault(sensor, []).append(period)
    return {sensor: tuple(periods) for sensor, periods in found.items()}


#: An operator's word counts most, then the sensor's, then what the gateway saw.
_RANK = Case(
    *(When(known_by=known_by, then=rank) for rank, known_by in enumerate(KnownBy)), default=len(KnownBy)
)


def _read_placements(places: _Places) -> dict[int, Placement]:
    keys: dict[int, dict[int, bytes]] = {}
    ranges: dict[int, dict[int, KeyRange]] = {}
    for sensor, key_no, public_key, epoch, first, last in SensorKey.objects.values_list(
        "sensor_id", "key_no", "public_key", "epoch", "from_seq", "to_seq"
    ):
        keys.setdefault(sensor, {})[key_no] = bytes(public_key)
        ranges.setdefault(sensor, {})[key_no] = KeyRange(epoch, first, last)
    rows = Sensor.objects.values_list("id", "region_id", "dataset", "may_import", "tags")
    return {
        number: Placement(
            number,
            region,
            dataset,
            may_import,
            keys.get(number, {}),
            tuple(tags),
            places.regions.get(number, ()),
            places.periods.get(number, ()),
            places.revisions.get(number, 0),
            ranges.get(number, {}),
        )
        for number, region, dataset, may_import, tags in rows
    }
