"""Record the public addresses that heartbeats tell of, when they change and only then.

What an operator entered counts more than what a sensor states, and that more than
what the gateway saw. A changed address ends at the last heartbeat that still had the
old one and begins at the first that has the new one; in between nobody knows.
"""

from __future__ import annotations

import dataclasses
import logging
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q

from teiten.fleet import addressing, journal, metrics, periods
from teiten.fleet.models import Dataset, KnownBy, ObservedAddress, Sensor, SensorEventKind, SensorHealth
from teiten.fleet.models.places import Network
from teiten.fleet.stated import Stated
from teiten.traffic.reachable import is_reachable

_log = logging.getLogger(__name__)
#: How soon a statement that another sensor contradicted is looked at again.
_AGAIN = timedelta(hours=1)
#: A sensor that was heard within this time still speaks from its peer address.
_RECENT = timedelta(minutes=10)
#: A sensor whose addresses change more often than this within a day is not followed: whoever houses one
#: could state candidates, and learn from what is refused which are other sensors'.
_MOST_CHANGES = 32
_DAY = timedelta(days=1)

Pairs = dict[Network, Network]


def settle_addresses(sensor_id: int, stated: Stated, *, heard_at: datetime | None, now: datetime) -> None:
    """Bring a sensor's address history to what its heartbeat tells.

    Args:
        sensor_id: whose heartbeat it was.
        stated: what it told.
        heard_at: the heartbeat before; None for the first.
        now: when this one came.
    """
    key = stated.key
    with transaction.atomic():
        periods.lock_histories()
        sensor = Sensor.objects.get(pk=sensor_id)
        settlement = _Settlement(sensor, heard_at=heard_at, now=now)
        if settlement.is_restless():
            stated = dataclasses.replace(stated, pairs=(), seen=None)
        settlement.bring(KnownBy.METADATA, _reachable_pairs(sensor, stated))
        settlement.bring(KnownBy.GATEWAY, settlement.find_seen(stated))
        SensorHealth.objects.filter(pk=sensor_id).update(address_key=key, address_due_at=settlement.due_at)


def _reachable_pairs(sensor: Sensor, stated: Stated) -> Pairs:
    is_simulated = sensor.dataset == Dataset.SIMULATED
    good = {
        local: public for local, public in stated.pairs if is_reachable(public, is_simulated=is_simulated)
    }
    if len(good) < len(stated.pairs):
        metrics.ADDRESSES.labels("unreachable").inc(len(stated.pairs) - len(good))
    return good


class _Settlement:
    """One sensor's addresses, while nobody else may change any."""

    def __init__(self, sensor: Sensor, *, heard_at: datetime | None, now: datetime) -> None:
        self._sensor = sensor
        self._heard_at = heard_at or now
        self._now = now
        #: When this must be looked at again though nothing that is told changes.
        self.due_at: datetime | None = None

    def is_restless(self) -> bool:
        """Tell whether the addresses changed so often today that none of them is worth recording."""
        if self._count_left() > 0:
            return False
        metrics.ADDRESSES.labels("restless").inc()
        self._look_again(self._now + _AGAIN)
        return True

    def _count_left(self) -> int:
        """Give how many changes more are recorded within a day."""
        told = self._sensor.events.filter(kind=SensorEventKind.ADDRESSED, actor=None, at__gt=self._now - _DAY)
        return _MOST_CHANGES - told[:_MOST_CHANGES].count()

    def find_seen(self, stated: Stated) -> Pairs:
        """Give what the gateway saw, where nobody knows better and no other sensor comes from there."""
        if stated.seen is None:
            return {}
        local, peer = stated.seen
        better = [
            entry
            for entry in self._sensor.observed_addresses.filter(
                Q(valid_to=None) | Q(valid_to__gt=self._now)
            ).exclude(known_by=KnownBy.GATEWAY)
            if entry.local.version == local.version and entry.local.overlaps(local)
        ]
        for entry in better:
            self._look_again(entry.valid_to if entry.valid_from <= self._now else entry.valid_from)
        if any(entry.valid_from <= self._now for entry in better):
            return {}
        return {} if self._is_shared(peer) else {local: peer}

    def bring(self, known_by: KnownBy, wanted: Pairs) -> None:
        """End what is not told any more and begin what is new."""
        kept = set()
        for entry in self._sensor.observed_addresses.filter(known_by=known_by, valid_to=None):
            if wanted.get(entry.local) == entry.public:
                kept.add(entry.local)
            else:
                addressing.close_entry(entry, max(entry.valid_from, self._heard_at))
                self._note(entry, "ended")
        new = sorted(wanted.keys() - kept, key=str)
        left = max(0, self._count_left())
        if len(new) > left:
            self._look_again(self._now + _AGAIN)
        for local in new[:left]:
            self._begin(known_by, local, wanted[local])

    def _begin(self, known_by: KnownBy, local: Network, public: Network) -> None:
        entry = ObservedAddress(
            sensor=self._sensor, local=local, public=public, valid_from=self._now, known_by=known_by
        )
        other = addressing.find_claim(entry)
        if other is not None and other.known_by == KnownBy.GATEWAY:
            # Two sensors behind one address: the gateway's guess about the other was none of 1:1 NAT.
            addressing.close_entry(other, self._now)
            self._note(other, "ended")
            other = addressing.find_claim(entry)
        if other is not None:
            self._refuse(entry, other)
            return
        try:
            with transaction.atomic():
                entry.save(force_insert=True)
        except IntegrityError as error:  # an entry that ends later holds the local address
            _log.warning("an address was not recorded", extra={"reason": str(error)})
            self._look_again(self._now + _AGAIN)
            return
        self._note(entry, "begun")

    def _is_shared(self, peer: Network) -> bool:
        """Tell whether others come from the same address; then it is no 1:1 NAT, for none of them."""
        others = SensorHealth.objects.filter(
            peer=str(peer.network_address), heartbeat_at__gt=self._now - _RECENT
        ).exclude(pk=self._sensor.pk)
        shared = list(others.values_list("pk", flat=True))
        if not shared:
            return False
        self._look_again(self._now + _AGAIN)
        guessed = ObservedAddress.objects.filter(
            sensor__in=shared, known_by=KnownBy.GATEWAY, public=peer, valid_to=None
        )
        for entry in guessed:
            addressing.close_entry(entry, max(entry.valid_from, self._now))
            self._note(entry, "ended")
            SensorHealth.objects.filter(pk=entry.sensor_id).update(address_due_at=self._now + _AGAIN)
        return True

    def _refuse(self, entry: ObservedAddress, other: ObservedAddress) -> None:
        self._look_again(self._now + _AGAIN)
        metrics.ADDRESSES.labels("claimed").inc()
        _log.warning(
            "a sensor states a public address that is another's",
            extra={
                "sensor": self._sensor.pk,
                "public": str(entry.public),
                "other": addressing.describe(other),
            },
        )

    def _look_again(self, at: datetime | None) -> None:
        if at is not None and (self.due_at is None or at < self.due_at):
            self.due_at = at

    def _note(self, entry: ObservedAddress, was: str) -> None:
        metrics.ADDRESSES.labels(was).inc()
        journal.record_event(
            SensorEventKind.ADDRESSED,
            entry.sensor_id,
            at=self._now,
            was=was,
            entry=entry.pk,
            local=str(entry.local),
            public=str(entry.public),
            known_by=str(entry.known_by),
        )
