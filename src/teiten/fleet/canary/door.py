"""What the loader asks about canaries."""

from __future__ import annotations

import ipaddress
import logging
import threading
from collections.abc import Iterable, Sequence
from typing import Any

from django.db import close_old_connections, connection

from teiten.fleet.canary import services
from teiten.fleet.canary.models import Prober
from teiten.fleet.errors import FleetError
from teiten.foundation.clock import Clock
from teiten.protocol import canary
from teiten.protocol.canary import Arrival, ProberKey

_log = logging.getLogger(__name__)
#: Seconds for which an answer may be used again.
_KEPT_SECONDS = 5.0

_NOTE = """
INSERT INTO fleet_canary_canary AS c
    (prober_id, slot, sensor_id, address, protocol, port, ended_at, was_sent, arrived_at)
SELECT prober, slot, sensor, address, protocol, port, ended, false, min(at)
FROM unnest(%(probers)s::integer[], %(slots)s::bigint[], %(sensors)s::integer[], %(addresses)s::inet[],
    %(protocols)s::smallint[], %(ports)s::integer[], %(ends)s::timestamptz[], %(ats)s::timestamptz[])
    AS t (prober, slot, sensor, address, protocol, port, ended, at)
GROUP BY prober, slot, sensor, address, protocol, port, ended
ORDER BY prober, slot, sensor, address, protocol, port
ON CONFLICT (prober_id, slot, sensor_id, address, protocol, port)
DO UPDATE SET arrived_at = least(c.arrived_at, excluded.arrived_at)
"""


class CanaryDesk:
    """Probers, kept for a few seconds, and arrivals; safe to use from several threads."""

    def __init__(self, clock: Clock, ports: Iterable[int] = ()) -> None:
        self._clock = clock
        self._ports = frozenset(ports)
        self._lock = threading.Lock()
        self._probers: tuple[ProberKey, ...] = ()
        self._asked_at: float | None = None

    def list_probers(self) -> Sequence[ProberKey]:
        """Give the probers in use."""
        with self._lock:
            now = self._clock.monotonic()
            if self._asked_at is None or now - self._asked_at >= _KEPT_SECONDS:
                try:
                    self._probers = tuple(_read_probers(self._ports))
                finally:
                    close_old_connections()
                self._asked_at = now
            return self._probers

    def note_arrivals(self, arrivals: Sequence[Arrival]) -> None:
        """Keep arrivals; the same again changes nothing."""
        slots = {one.number: one.slot_seconds for one in self.list_probers()}
        values: dict[str, Any] = {
            "probers": [one.prober for one in arrivals],
            "slots": [one.slot for one in arrivals],
            "sensors": [one.sensor for one in arrivals],
            "addresses": [_tell_address(one.address) for one in arrivals],
            "protocols": [one.protocol for one in arrivals],
            "ports": [one.port for one in arrivals],
            "ends": [services.end_of_slot(slots.get(one.prober, 900), one.slot) for one in arrivals],
            "ats": [one.at for one in arrivals],
        }
        try:
            with connection.cursor() as cursor:
                cursor.execute(_NOTE, values)
        finally:
            close_old_connections()


def _read_probers(ports: frozenset[int]) -> list[ProberKey]:
    found = []
    for prober in Prober.objects.filter(revoked_at=None).order_by("pk"):
        try:
            key = services.key_of(prober)
        except FleetError as error:
            # Its canaries count as ordinary packets; loading goes on.
            _log.error("A prober's key cannot be read.", extra={"prober": prober.name, "reason": str(error)})
            continue
        addresses = tuple(canary.pack_address(address) for address in prober.addresses)
        found.append(ProberKey(prober.pk, key, addresses, prober.slot_seconds, ports))
    return found


def _tell_address(packed: bytes) -> str:
    address = ipaddress.IPv6Address(packed)
    return str(address.ipv4_mapped or address)
