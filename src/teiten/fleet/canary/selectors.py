"""Which ports of which sensors the world can reach, as canaries tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import F

from teiten.accounts.models import User
from teiten.fleet.canary.models import Reach
from teiten.fleet.config import FleetConfig
from teiten.fleet.selectors import may_see_all

#: A port is unreachable when it stayed dark for long while another of the same sensor was reached.
_UNREACHABLE = """
SELECT r.sensor_id, r.address, r.protocol, r.port
FROM fleet_canary_reach AS r
WHERE r.lost_in_row >= %(least)s AND r.last_tried_at - r.lost_since >= make_interval(days => %(days)s)
AND EXISTS (
    SELECT FROM fleet_canary_reach AS o WHERE o.sensor_id = r.sensor_id AND o.last_arrived_at > r.lost_since
)
"""


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
    dark = _find_unreachable(config)
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
            is_unreachable=(one.sensor_id, one.address, one.protocol, one.port) in dark,
        )
        for one in reaches
    ]


def unreachable_ports(config: FleetConfig) -> Mapping[int, frozenset[tuple[int, int]]]:
    """Give sensor → (protocol, port) that no canary reaches at any of its addresses that were tried."""
    dark: dict[tuple[int, int, int], int] = {}
    for sensor, _, protocol, port in _find_unreachable(config):
        dark[sensor, protocol, port] = dark.get((sensor, protocol, port), 0) + 1
    tried: dict[tuple[int, int, int], int] = {}
    sensors = {sensor for sensor, _, _ in dark}
    for key in Reach.objects.filter(sensor__in=sensors).values_list("sensor_id", "protocol", "port"):
        tried[key] = tried.get(key, 0) + 1
    found: dict[int, set[tuple[int, int]]] = {}
    for (sensor, protocol, port), count in dark.items():
        if tried[sensor, protocol, port] == count:
            found.setdefault(sensor, set()).add((protocol, port))
    return {sensor: frozenset(ports) for sensor, ports in found.items()}


def _find_unreachable(config: FleetConfig) -> set[tuple[int, str, int, int]]:
    with connection.cursor() as cursor:
        cursor.execute(_UNREACHABLE, {"least": config.unreachable_after, "days": config.unreachable_days})
        return {
            (sensor, str(address), protocol, port) for sensor, address, protocol, port in cursor.fetchall()
        }
