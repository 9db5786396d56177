"""Probers and their plans, and what they say they sent."""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.db import IntegrityError, connection, transaction

from teiten.accounts import audit
from teiten.fleet import sealing
from teiten.fleet.canary import files, metrics
from teiten.fleet.canary.files import CanaryFileError, KeyFile, LogTooOldError, Plan, SentLog
from teiten.fleet.canary.models import Prober, SlotLog
from teiten.fleet.config import FleetConfig
from teiten.fleet.errors import FleetInputError, SensorUnknownError
from teiten.fleet.models import Dataset, ObservedAddress, Sensor, SensorHealth, SensorState
from teiten.fleet.services import Act
from teiten.foundation.clock import from_us
from teiten.protocol.canary import KEY_BYTES, Target
from teiten.traffic.reachable import is_reachable

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
#: A log of a slot that is older says nothing that could still be compared.
OLDEST = timedelta(days=1)
_MOST_PROBES = 1_000_000

_ENTER = """
INSERT INTO fleet_canary_canary (prober_id, slot, sensor_id, address, protocol, port, ended_at, was_sent)
SELECT %(prober)s, %(slot)s, t.sensor, t.address, t.protocol, t.port, %(ended)s, true
FROM unnest(%(sensors)s::integer[], %(addresses)s::inet[], %(protocols)s::smallint[], %(ports)s::integer[])
    AS t (sensor, address, protocol, port)
JOIN fleet_sensor AS s ON s.id = t.sensor
ON CONFLICT (prober_id, slot, sensor_id, address, protocol, port) DO UPDATE SET was_sent = true
"""


def register_prober(name: str, *, addresses: Sequence[str], slot_seconds: int, act: Act) -> KeyFile:
    """Enter a prober; its key is in what is given and is not shown again.

    Raises:
        FleetInputError: when a value breaks a rule or the name is taken.
    """
    if not _NAME.fullmatch(name):
        raise FleetInputError("name", f"{name!r} must be of small letters, digits and hyphens, at most 40")
    if not 60 <= slot_seconds <= 86_400:
        raise FleetInputError("slot", "a slot lasts 60 to 86,400 seconds")
    known = _check_addresses(addresses)
    key = secrets.token_bytes(KEY_BYTES)
    try:
        with transaction.atomic():
            Prober.objects.create(
                name=name,
                sealed_key=sealing.seal(key, name=_name_key(name)),
                addresses=list(known),
                slot_seconds=slot_seconds,
                created_at=act.at,
            )
            audit.append("prober.registered", f"prober:{name}", {"addresses": known}, act)
    except IntegrityError as error:
        raise FleetInputError("name", f"there is a prober {name} already") from error
    return KeyFile(name, key, known, slot_seconds)


def revoke_prober(name: str, *, act: Act) -> None:
    """Take a prober out of use: its packets are ordinary ones from now on.

    Raises:
        SensorUnknownError: when there is none of this name in use.
    """
    with transaction.atomic():
        if not Prober.objects.filter(name=name, revoked_at=None).update(revoked_at=act.at):
            raise SensorUnknownError(f"there is no prober {name!r} in use; `teiten canary list` names them")
        audit.append("prober.revoked", f"prober:{name}", {}, act)


def get_prober(name: str) -> Prober:
    """Give a prober that is in use.

    Raises:
        SensorUnknownError: when there is none.
    """
    found = Prober.objects.filter(name=name, revoked_at=None).first()
    if found is None:
        raise SensorUnknownError(f"there is no prober {name!r} in use; `teiten canary list` names them")
    return found


def key_of(prober: Prober) -> bytes:
    """Give a prober's key.

    Raises:
        FleetError: when the key of the installation has changed since.
    """
    return sealing.unseal(bytes(prober.sealed_key), name=_name_key(prober.name))


def make_plan(prober: Prober, *, now: datetime, config: FleetConfig) -> Plan:
    """Say whom a prober sends to: the public addresses, as known now, of live sensors that are active."""
    found = sorted(set(_list_observed(now)) | set(_list_own()))
    targets = tuple(Target(sensor, address) for sensor, address in found)
    made_s = int(now.timestamp())
    return Plan(prober.name, targets, config.canary_tcp_ports, config.canary_udp_ports, made_s)


@dataclass(frozen=True)
class Brought:
    """A log that was read."""

    log: SentLog
    #: Whether it was taken up now, and not before.
    is_new: bool


def bring_log(path: Path, *, now: datetime) -> Brought:
    """Take up what a prober sent in a slot; the same again changes nothing.

    Raises:
        LogTooOldError: when its slot ended more than a day ago.
        CanaryFileError: when the file is none, is another's, or of a time to come.
        SensorUnknownError: when there is no such prober.
    """
    probers: dict[str, Prober] = {}

    def find_key(name: str) -> bytes:
        probers[name] = get_prober(name)
        return key_of(probers[name])

    log = files.read_log(path, find_key=find_key)
    prober = probers[log.prober]
    ended_at = end_of_slot(prober.slot_seconds, log.slot)
    _check_time(path, ended_at, now=now, slot_seconds=prober.slot_seconds)
    if len(log.probes) > _MOST_PROBES:
        raise CanaryFileError(f"{path}: more than {_MOST_PROBES:,} canaries in a slot")
    with transaction.atomic():
        _, is_new = SlotLog.objects.get_or_create(
            prober=prober,
            slot=log.slot,
            defaults={"ended_at": ended_at, "sent": len(log.probes), "taken_at": now},
        )
        # Once judged, what arrived is forgotten: the same canaries entered again would all count as lost.
        if is_new:
            _enter(prober, log, ended_at)
    metrics.CANARIES.labels("sent" if is_new else "repeated").inc(len(log.probes))
    return Brought(log, is_new)


def _check_time(path: Path, ended_at: datetime, *, now: datetime, slot_seconds: int) -> None:
    said = f"{path}: its slot ended at {ended_at:%Y-%m-%d %H:%M} UTC"
    if ended_at <= now - OLDEST:
        raise LogTooOldError(f"{said}, a day ago or more, which cannot be compared any more")
    if ended_at > now + timedelta(seconds=slot_seconds):
        raise CanaryFileError(
            f"{said}, which is to come and cannot be compared: set the prober's clock; until then"
            " what it sends is ordinary traffic"
        )


def end_of_slot(slot_seconds: int, slot: int) -> datetime:
    """Give when a slot ends."""
    return from_us((slot + 1) * slot_seconds * 1_000_000)


def _enter(prober: Prober, log: SentLog, ended_at: datetime) -> None:
    values: dict[str, Any] = {
        "prober": prober.pk,
        "slot": log.slot,
        "ended": ended_at,
        "sensors": [one.target.sensor for one in log.probes],
        "addresses": [one.target.address for one in log.probes],
        "protocols": [one.protocol for one in log.probes],
        "ports": [one.port for one in log.probes],
    }
    with connection.cursor() as cursor:
        cursor.execute(_ENTER, values)


def _list_observed(now: datetime) -> Iterator[tuple[int, str]]:
    rows = ObservedAddress.objects.filter(
        valid_from__lte=now, sensor__state=SensorState.ACTIVE, sensor__dataset=Dataset.LIVE
    ).exclude(valid_to__lte=now)
    for sensor, public in rows.values_list("sensor_id", "public"):
        # Of a prefix, one address stands for all; the first is a network's own in IPv4.
        is_one = public.prefixlen == public.max_prefixlen
        yield sensor, str(public.network_address if is_one else public.network_address + 1)


def _list_own() -> Iterator[tuple[int, str]]:
    """Give public addresses that sensors' interfaces hold themselves."""
    rows = SensorHealth.objects.filter(sensor__state=SensorState.ACTIVE, sensor__dataset=Dataset.LIVE)
    for sensor, interfaces in rows.values_list("sensor_id", "report__interfaces"):
        for interface in interfaces or ():
            for text in interface.get("addresses", ()):
                network = ipaddress.ip_network(text)
                if is_reachable(network):
                    yield sensor, str(network.network_address)


def _check_addresses(addresses: Sequence[str]) -> tuple[str, ...]:
    try:
        known = tuple(str(ipaddress.ip_address(address)) for address in addresses)
    except ValueError as error:
        raise FleetInputError("address", str(error)) from error
    if not known:
        raise FleetInputError(
            "address", "say from which addresses it sends; canaries from others are ordinary packets"
        )
    taken = set(known) & {one for row in Prober.objects.filter(revoked_at=None) for one in row.addresses}
    if taken:
        raise FleetInputError("address", f"{', '.join(sorted(taken))} is another prober's")
    own = Sensor.objects.filter(health__peer__in=known).values_list("name", flat=True).first()
    if own is not None:
        raise FleetInputError(
            "address", f"sensor {own} speaks from there; a prober stands outside sensors' networks"
        )
    return known


def _name_key(name: str) -> str:
    return f"canary:{name}"
