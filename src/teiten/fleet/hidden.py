"""Sensors whose public address nobody knows: rules that need the destination cannot be asked there."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from teiten.traffic.reachable import is_reachable

#: Sensors that may send, were heard within a day, and have no address entry that holds.
CANDIDATES = """
SELECT s.name, h.report -> 'interfaces'
FROM fleet_sensorhealth AS h JOIN fleet_sensor AS s ON s.id = h.sensor_id
WHERE s.state IN ('active', 'quarantined') AND h.heartbeat_at > %(now)s - interval '1 day' AND NOT EXISTS (
    SELECT FROM fleet_observedaddress AS a
    WHERE a.sensor_id = s.id AND a.valid_from <= %(now)s AND (a.valid_to IS NULL OR a.valid_to > %(now)s)
)
ORDER BY s.id
"""


def list_hidden(rows: Sequence[tuple[str, Any]]) -> Iterator[str]:
    """Name the sensors that have IPv4 addresses and none that the Internet reaches."""
    for name, interfaces in rows:
        mine = [address for item in interfaces or () for address in _read_ipv4(item)]
        if mine and not any(is_reachable(address) for address in mine):
            yield name


def _read_ipv4(interface: Mapping[str, Any]) -> Iterator[ipaddress.IPv4Network]:
    for text in interface.get("addresses", ()):
        try:
            yield ipaddress.IPv4Network(text)
        except ValueError:
            continue
