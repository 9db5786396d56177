"""Say which public address stood for what a sensor's packets carry, and when."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from teiten.fleet import journal, networks, periods, services
from teiten.fleet.errors import FleetInputError, SensorUnknownError
from teiten.fleet.models import Dataset, KnownBy, ObservedAddress, Sensor, SensorEventKind, SensorHealth
from teiten.fleet.models.places import Network
from teiten.fleet.services import Act

_CLAIMED = """
SELECT a.* FROM fleet_observedaddress AS a
WHERE a.sensor_id <> %(sensor)s AND a.public && %(public)s::cidr
    AND tstzrange(a.valid_from, a.valid_to) && tstzrange(%(from)s, %(to)s)
ORDER BY a.valid_from, a.id LIMIT 1
"""


def state_address(
    sensor: Sensor,
    *,
    public: str,
    act: Act,
    local: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    is_successor: bool = False,
    note: str = "",
) -> ObservedAddress:
    """Enter a public address, and the local one that packets carry where there is one.

    An open period of the same local address ends where this one begins; with
    ``is_successor`` all open periods that an operator entered do. What other sensors
    only state, or the gateway only saw, of the same public address ends too. A changed
    address is no sign of a clone.

    Raises:
        FleetInputError: naming the entry and the rule; nothing was changed.
    """
    seen = networks.read_network("public", public)
    carried = networks.read_network("local", local) if local else seen
    networks.check_pair(carried, seen, is_simulated=sensor.dataset == Dataset.SIMULATED)
    start = since or act.at
    periods.check_order(start, until)
    entry = ObservedAddress(
        sensor=sensor,
        local=carried,
        public=seen,
        valid_from=start,
        valid_to=until,
        known_by=KnownBy.CONFIGURED,
        note=note.strip()[:200],
    )
    with transaction.atomic():
        periods.lock_histories()
        locked = services.lock_sensor(sensor.pk)
        _end_predecessors(locked, entry, takes_all=is_successor)
        _check_own(locked, entry)
        _end_guesses(entry, act=act)
        check_claims(entry)
        entry.save(force_insert=True)
        forget_settled([locked.pk])
        _note(entry, act=act, was="entered")
    return entry


def end_address(number: int, *, sensor: Sensor, act: Act, until: datetime | None = None) -> ObservedAddress:
    """End an entry; one that would end before it began is withdrawn wholly.

    Raises:
        SensorUnknownError: when the sensor has no such entry.
        FleetInputError: when it has ended before.
    """
    end = until or act.at
    with transaction.atomic():
        periods.lock_histories()
        entry = ObservedAddress.objects.filter(sensor=sensor, pk=number).first()
        if entry is None:
            raise SensorUnknownError(
                f"sensor {sensor.name} has no address entry {number}; `teiten sensor address {sensor.name}` lists them"
            )
        if entry.valid_to is not None and entry.valid_to <= end:
            raise FleetInputError("to", f"entry {number} ended at {periods.tell(entry.valid_to)} already")
        close_entry(entry, end)
        forget_settled([sensor.pk])
        _note(entry, act=act, was="ended")
    return entry


def close_entry(entry: ObservedAddress, end: datetime) -> None:
    """End an entry at ``end``, in a transaction of the caller's; withdraw it when nothing would be left."""
    number = entry.pk
    entry.valid_to = end
    if end > entry.valid_from:
        entry.save(update_fields=["valid_to"])
    else:
        entry.delete()
        entry.pk = number


def list_addresses(sensor: Sensor) -> QuerySet[ObservedAddress]:
    """Give every entry of a sensor, newest first."""
    return ObservedAddress.objects.filter(sensor=sensor).order_by("-valid_from", "-id")


def find_claim(entry: ObservedAddress) -> ObservedAddress | None:
    """Find another sensor's entry that holds the same public address at the same time."""
    values = {
        "sensor": entry.sensor_id,
        "public": str(entry.public),
        "from": entry.valid_from,
        "to": entry.valid_to,
    }
    return next(iter(ObservedAddress.objects.raw(_CLAIMED, values)), None)


def check_claims(entry: ObservedAddress) -> None:
    """Refuse a public address that is another sensor's at that time.

    Raises:
        FleetInputError: naming the other sensor and its entry.
    """
    other = find_claim(entry)
    if other is not None:
        owner = other.sensor.name
        raise FleetInputError(
            "public",
            f"{networks.tell(entry.public)} is claimed by sensor {owner} ({describe(other)}); a public address belongs "
            f"to one sensor at a time: end that entry (`teiten sensor address {owner} --end {other.pk}`) or choose "
            "another period",
        )


def forget_settled(sensors: Iterable[int]) -> None:
    """Let the next heartbeats of these sensors say anew which addresses are theirs."""
    SensorHealth.objects.filter(sensor__in=list(sensors)).update(address_key="-", address_due_at=None)


def describe(entry: ObservedAddress) -> str:
    """Name an entry in a message."""
    pair = networks.tell(entry.public)
    if entry.local != entry.public:
        pair = f"{networks.tell(entry.local)} as {pair}"
    return (
        f"entry {entry.pk}: {pair}, {periods.tell_period(entry.valid_from, entry.valid_to)}, {entry.known_by}"
    )


def _end_predecessors(sensor: Sensor, entry: ObservedAddress, *, takes_all: bool) -> None:
    found = sensor.observed_addresses.filter(
        known_by=KnownBy.CONFIGURED, valid_to=None, valid_from__lt=entry.valid_from
    )
    for earlier in found:
        if takes_all or earlier.local == entry.local:
            close_entry(earlier, entry.valid_from)


def _end_guesses(entry: ObservedAddress, *, act: Act) -> None:
    """End what other sensors state, or the gateway saw of them: an operator's word counts more."""
    while (other := find_claim(entry)) is not None and other.known_by != KnownBy.CONFIGURED:
        close_entry(other, entry.valid_from)
        forget_settled([other.sensor_id])
        _note(other, act=act, was="ended")


def _check_own(sensor: Sensor, entry: ObservedAddress) -> None:
    span = (entry.valid_from, entry.valid_to)
    for other in sensor.observed_addresses.filter(known_by=entry.known_by):
        if _share(other.local, entry.local) and periods.overlap((other.valid_from, other.valid_to), span):
            raise FleetInputError(
                "from",
                f"{networks.tell(entry.local)} {periods.tell_period(*span)} overlaps {describe(other)}; a local address "
                f"stands for one public address at a time: end that entry "
                f"(`teiten sensor address {sensor.name} --end {other.pk}`) or choose another period",
            )


def _share(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _note(entry: ObservedAddress, *, act: Act, was: str) -> None:
    journal.record_event(
        SensorEventKind.ADDRESSED,
        entry.sensor_id,
        at=act.at,
        actor=act.actor,
        was=was,
        entry=entry.pk,
        local=str(entry.local),
        public=str(entry.public),
        start=entry.valid_from.isoformat(),
        end=None if entry.valid_to is None else entry.valid_to.isoformat(),
        known_by=str(entry.known_by),
    )
