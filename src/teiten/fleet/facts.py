"""What searches ask of the fleet: where each sensor stood, when it was planned to be off, which ports did not reach it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from django.db import close_old_connections
from django.db.models import F, Max

from teiten.fleet.canary.models import Unreached
from teiten.fleet.models import Maintenance, Sensor, SensorPlacement
from teiten.foundation.clock import Clock, to_us
from teiten.search.doors import FOREVER_US, MaintenancePeriod, PlacementPeriod, SensorFacts, UnreachedPeriod

#: Seconds for which an answer may be used again.
KEPT_SECONDS = 5.0


class FleetFacts:
    """Facts of all sensors, kept for a few seconds; safe to use from several threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._sensors: tuple[SensorFacts, ...] = ()
        self._maintenance: tuple[MaintenancePeriod, ...] = ()
        self._unreached: Mapping[tuple[int, int], tuple[UnreachedPeriod, ...]] = {}
        #: That of what is in ``_unreached``; there may be tens of thousands, and they change every few days.
        self._revision = 0
        self._asked_at: float | None = None

    def list_sensors(self) -> Sequence[SensorFacts]:
        """List every sensor, also revoked ones, by number."""
        with self._lock:
            self._ask()
            return self._sensors

    def list_maintenance(self, start_us: int, end_us: int) -> Sequence[MaintenancePeriod]:
        """List planned maintenance that overlaps ``[start_us, end_us)``."""
        with self._lock:
            self._ask()
            return [one for one in self._maintenance if one.start_us < end_us and one.end_us > start_us]

    def list_unreached(
        self, protocol: int, port: int, start_us: int, end_us: int
    ) -> Sequence[UnreachedPeriod]:
        """List when a port was known not to reach sensors, as far as it overlaps ``[start_us, end_us)``."""
        with self._lock:
            self._ask()
            known = self._unreached.get((protocol, port), ())
        return [one for one in known if one.from_us < end_us and one.to_us > start_us]

    def _ask(self) -> None:
        now = self._clock.monotonic()
        if self._asked_at is not None and now - self._asked_at < KEPT_SECONDS:
            return
        try:
            self._sensors = _read_sensors()
            self._maintenance = _read_maintenance()
            revision = Unreached.objects.aggregate(newest=Max("revision"))["newest"] or 0
            if revision != self._revision:
                self._unreached, self._revision = _read_unreached(), revision
        finally:
            close_old_connections()
        self._asked_at = now


def _read_sensors() -> tuple[SensorFacts, ...]:
    periods = _read_periods()
    rows = Sensor.objects.order_by("id").values_list("id", "organisation_id", "region_id")
    return tuple(
        _facts_of(sensor, organisation, region, periods.get(sensor, ()))
        for sensor, organisation, region in rows
    )


def _facts_of(
    sensor: int, organisation: int, region: str, periods: tuple[PlacementPeriod, ...]
) -> SensorFacts:
    now = periods[-1] if periods else PlacementPeriod(0, FOREVER_US, region, "", 0, "", "other", "silent")
    return SensorFacts(
        sensor=sensor,
        organisation_id=organisation,
        region=region,
        country=now.country,
        asn=now.asn,
        provider=now.provider,
        kind=now.kind,
        mode=now.mode,
        periods=periods or (now,),
    )


def _read_periods() -> dict[int, tuple[PlacementPeriod, ...]]:
    found: dict[int, list[PlacementPeriod]] = {}
    names = ("valid_from", "valid_to", "region_id", "country", "asn", "provider", "kind", "mode")
    rows = SensorPlacement.objects.order_by("sensor_id", "valid_from").values_list("sensor_id", *names)
    for sensor, start, end, *facts in rows:
        periods = found.setdefault(sensor, [])
        # What a sensor observed before it was entered counts where it stood first, as in the loader.
        start_us = to_us(start) if periods else 0
        periods.append(PlacementPeriod(start_us, FOREVER_US if end is None else to_us(end), *facts))
    return {sensor: tuple(periods) for sensor, periods in found.items()}


def _read_maintenance() -> tuple[MaintenancePeriod, ...]:
    rows = Maintenance.objects.order_by("start_at").values_list("sensor_id", "start_at", "end_at")
    return tuple(MaintenancePeriod(sensor, to_us(start), to_us(end)) for sensor, start, end in rows)


def _read_unreached() -> dict[tuple[int, int], tuple[UnreachedPeriod, ...]]:
    found: dict[tuple[int, int], list[UnreachedPeriod]] = {}
    # One that ends where it begins was withdrawn.
    rows = Unreached.objects.exclude(to_at=F("from_at")).order_by("sensor_id", "ip_version", "from_at")
    names = ("protocol", "port", "sensor_id", "ip_version", "from_at", "to_at")
    for protocol, port, sensor, ip_version, start, end in rows.values_list(*names):
        end_us = FOREVER_US if end is None else to_us(end)
        period = UnreachedPeriod(sensor, ip_version, to_us(start), end_us)
        found.setdefault((protocol, port), []).append(period)
    return {service: tuple(periods) for service, periods in found.items()}
