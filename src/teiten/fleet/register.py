"""What the loader asks of the fleet: where each sensor stands, and its keys.

Batches sealed before a key was revoked or a sensor suspended stay what they are:
the register names every key that a sensor ever had, and the loader decides by the
batch's own number.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from django.db import close_old_connections

from teiten.fleet.models import Sensor, SensorKey
from teiten.foundation.clock import Clock

#: Seconds for which an answer may be used again.
KEPT_SECONDS = 5.0
#: Seconds between two questions caused by an unknown sensor or key.
_ASK_AGAIN_SECONDS = 0.5


@dataclass(frozen=True)
class Placement:
    """One sensor, for the loader."""

    sensor: int
    region: str
    #: ``live`` or ``simulated``.
    dataset: str
    may_import: bool
    #: Key number → 32 raw bytes.
    keys: dict[int, bytes] = field(default_factory=dict)
    tags: tuple[str, ...] = ()


class FleetRegister:
    """Placements of all sensors, kept for a few seconds; safe to use from several threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[int, Placement] = {}
        self._asked_at: float | None = None

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
            if self._is_older_than(_ASK_AGAIN_SECONDS):
                self._ask()
            return self._kept.get(sensor)

    def _is_older_than(self, seconds: float) -> bool:
        return self._asked_at is None or self._clock.monotonic() - self._asked_at >= seconds

    def _ask(self) -> None:
        try:
            self._kept = _read_placements()
        finally:
            close_old_connections()
        self._asked_at = self._clock.monotonic()


def _read_placements() -> dict[int, Placement]:
    keys: dict[int, dict[int, bytes]] = {}
    for sensor, key_no, public_key in SensorKey.objects.values_list("sensor_id", "key_no", "public_key"):
        keys.setdefault(sensor, {})[key_no] = bytes(public_key)
    rows = Sensor.objects.values_list("id", "region_id", "dataset", "may_import", "tags")
    return {
        number: Placement(number, region, dataset, may_import, keys.get(number, {}), tuple(tags))
        for number, region, dataset, may_import, tags in rows
    }
