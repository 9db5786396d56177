"""Which ports of which sensors the world can reach, as canaries tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, F, Func, IntegerField, QuerySet, Subquery

from teiten.accounts.models import User
from teiten.fleet.canary.models import Prober, Reach, SlotLog, Unreached, Way
from teiten.fleet.config import FleetConfig
from teiten.fleet.selectors import may_see_all
from teiten.protocol.canary import TCP, UDP

_FAMILY = Func(F("address"), function="family", output_field=IntegerField())


@dataclass(frozen=True)
class ReachRow:
    """One port of one address of a sensor."""

    sensor: int
    name: str
    address: str
    #: 6 TCP, 17 UDP.
    protocol: int
    port: int
    arrived: int
    lost: int
    lost_in_row: int
    last_tried_at: datetime
    last_arrived_at: datetime | None
    is_unreachable: bool

    @property
    def sent(self) -> int:
        return self.arrived + self.lost


def reachability_visible_to(
    viewer: User | None, *, config: FleetConfig, sensor_id: int | None = None
) -> list[ReachRow]:
    """Give what canaries tell of the sensors that a viewer sees as they are; None is the command line."""
    reaches = Reach.objects.order_by("sensor", "address", "protocol", "port").annotate(name=F("sensor__name"))
    if viewer is not None and not may_see_all(viewer):
        reaches = reaches.filter(sensor__organisation=viewer.organisation_id)
    if sensor_id is not None:
        reaches = reaches.filter(sensor=sensor_id)
    dark = _list_open()
    return [
        ReachRow(
            sensor=one.sensor_id,
            name=one.name,
            address=one.address,
            protocol=one.protocol,
            port=one.port,
            arrived=one.arrived,
            lost=one.lost,
            lost_in_row=one.lost_in_row,
            last_tried_at=one.last_tried_at,
            last_arrived_at=one.last_arrived_at,
            is_unreachable=one.lost_in_row >= config.unreachable_after
            and (one.sensor_id, 6 if ":" in one.address else 4, one.protocol, one.port) in dark,
        )
        for one in reaches
    ]


def unreachable_ports(config: FleetConfig) -> Mapping[int, frozenset[tuple[int, int]]]:
    """Give sensor → (protocol, port) that no canary reaches, at any address of any IP version that was tried."""
    found: dict[int, set[tuple[int, int]]] = {}
    reached = set(
        Reach.objects.filter(lost_in_row__lt=config.unreachable_after, sensor__in=Subquery(_open("sensor")))
        .annotate(ip_version=_FAMILY)
        .values_list("sensor_id", "ip_version", "protocol", "port")
    )
    versions: dict[tuple[int, int, int], set[int]] = {}
    for sensor, ip_version, protocol, port in _list_open():
        versions.setdefault((sensor, protocol, port), set()).add(ip_version)
    for (sensor, protocol, port), dark in versions.items():
        if not any((sensor, other, protocol, port) in reached for other in {4, 6} - dark):
            found.setdefault(sensor, set()).add((protocol, port))
    return {sensor: frozenset(ports) for sensor, ports in found.items()}


@dataclass(frozen=True)
class PortState:
    """What is known of one port over all sensors."""

    protocol: int
    port: int
    #: Sensors that it is known not to reach.
    sensors: int
    #: Probers in use whose canaries to it reached no sensor lately: their own networks may keep it.
    shut: tuple[str, ...]


def list_ports(*, now: datetime, config: FleetConfig) -> list[PortState]:
    """List the ports that do not reach some sensor, or that some prober cannot send to."""
    rows = Unreached.objects.filter(to_at=None).values_list("protocol", "port")
    counts = {
        (protocol, port): sensors
        for protocol, port, sensors in rows.annotate(sensors=Count("sensor", distinct=True))
    }
    since = now - timedelta(days=config.unreachable_days)
    sending = set(SlotLog.objects.filter(ended_at__gte=since).values_list("prober", flat=True))
    names = dict(Prober.objects.filter(revoked_at=None, pk__in=sending).values_list("pk", "name"))
    open_ways = set(Way.objects.filter(arrived_at__gte=since).values_list("prober", "protocol", "port"))
    asked = [(TCP, port) for port in config.canary_tcp_ports] + [
        (UDP, port) for port in config.canary_udp_ports
    ]
    shut = {
        one: tuple(sorted(name for prober, name in names.items() if (prober, *one) not in open_ways))
        for one in asked
    }
    return [
        PortState(*one, counts.get(one, 0), shut.get(one, ()))
        for one in sorted({*counts, *asked})
        if counts.get(one) or shut.get(one)
    ]


def _list_open() -> set[tuple[int, int, int, int]]:
    return set(_open("sensor_id", "ip_version", "protocol", "port"))


def _open(*names: str) -> QuerySet[Unreached, Any]:
    return Unreached.objects.filter(to_at=None).values_list(*names)
