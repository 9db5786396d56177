"""One alarm for many sensors that fell silent together: operators see the group, each host its own sensors."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from django.db.models import Count, Q

from teiten.fleet.alarms import grouping, metrics
from teiten.fleet.alarms.grouping import Group, Place
from teiten.fleet.alarms.models import Alarm, AlarmKind
from teiten.fleet.config import FleetConfig
from teiten.fleet.known import Known
from teiten.fleet.models import SensorPlacement

_log = logging.getLogger(__name__)
#: Sensors whose silence was noticed within this time fell silent together.
TOGETHER = timedelta(minutes=10)
#: A group is over when no more than this share of what fell silent with it is silent still.
_OVER_SHARE = 0.1
_EXPECTED = ("active", "quarantined")


def group_silence(sensors: Sequence[Known], *, now: datetime, config: FleetConfig) -> int:
    """Join what fell silent to groups, open groups, close those that are over; gives how many groups changed."""
    over = _close_groups(now)
    lone = Alarm.objects.filter(
        kind=AlarmKind.SILENT, closed_at=None, within=None, opened_at__gte=now - TOGETHER
    )
    fallen = set(lone.values_list("sensor_id", flat=True))
    if len(fallen) < config.mass_silence_sensors and not _has_groups():
        return over
    places = _list_places(sensors)
    fallen -= _join_groups({sensor: places[sensor] for sensor in fallen if sensor in places})
    found = grouping.find_groups(
        [places[sensor] for sensor in sorted(fallen) if sensor in places],
        places.values(),
        least=config.mass_silence_sensors,
        share=config.mass_silence_share,
    )
    codes = {one.organisation: one.organisation_id for one in sensors}
    for group in found:
        _open_group(group, codes, now=now)
    return over + len(found)


def _has_groups() -> bool:
    return Alarm.objects.filter(kind=AlarmKind.MASS_SILENCE, closed_at=None).exists()


def _list_places(sensors: Sequence[Known]) -> dict[int, Place]:
    """Give the sensors that should be heard."""
    asns = dict(SensorPlacement.objects.filter(valid_to=None).values_list("sensor_id", "asn"))
    return {
        one.id: Place(one.id, asns.get(one.id, 0), one.region, one.organisation)
        for one in sensors
        if one.standing in _EXPECTED and not one.is_planned
    }


def _join_groups(fallen: Mapping[int, Place]) -> set[int]:
    """Put sensors into groups that are open already; gives those that have one."""
    joined: set[int] = set()
    for group in Alarm.objects.filter(kind=AlarmKind.MASS_SILENCE, closed_at=None).order_by("pk"):
        members = {sensor for sensor, place in fallen.items() if group.group in place.groups} - joined
        if members:
            _put_into(group, members)
            group.detail = {**group.detail, "sensors": group.detail["sensors"] + len(members)}
            group.save(update_fields=["detail"])
            joined |= members
    return joined


def _open_group(group: Group, codes: Mapping[str, int], *, now: datetime) -> None:
    kind, _, name = group.name.partition(" ")
    alarm = Alarm.objects.create(
        kind=AlarmKind.MASS_SILENCE,
        organisation_id=codes.get(name) if kind == "org" else None,
        group=group.name,
        opened_at=now,
        detail={"sensors": len(group.sensors), "expected": group.expected},
    )
    _put_into(alarm, group.sensors)
    metrics.ALARMS.labels(AlarmKind.MASS_SILENCE.value, "opened").inc()
    _log.warning(
        "Many sensors fell silent together.", extra={"group": group.name, "sensors": len(group.sensors)}
    )


def _put_into(group: Alarm, sensors: Sequence[int] | set[int]) -> None:
    parts = Alarm.objects.filter(kind=AlarmKind.SILENT, closed_at=None, sensor__in=list(sensors))
    parts.update(within=group)


def _close_groups(now: datetime) -> int:
    groups = Alarm.objects.filter(kind=AlarmKind.MASS_SILENCE, closed_at=None).annotate(
        silent=Count("parts", filter=Q(parts__closed_at=None))
    )
    over = [one for one in groups if one.silent <= _OVER_SHARE * one.detail["sensors"]]
    for group in over:
        # Those that stay silent are each a thing of its own from now on.
        group.parts.filter(closed_at=None).update(within=None)
        Alarm.objects.filter(pk=group.pk).update(closed_at=max(now, group.opened_at))
        metrics.ALARMS.labels(AlarmKind.MASS_SILENCE.value, "closed").inc()
        _log.info("Sensors that fell silent together are heard again.", extra={"group": group.group})
    return len(over)
