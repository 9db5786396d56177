"""The one way to write the history of a sensor.

What people or alarms did to it goes into the audit chain as well, in the same
transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from django.db import transaction

from teiten.accounts import audit
from teiten.accounts.chain import Entry
from teiten.accounts.models import User
from teiten.fleet import metrics
from teiten.fleet.models import KnownBy, Sensor, SensorEvent, SensorEventKind

_log = logging.getLogger(__name__)
#: Of what happened to many sensors at once, so many get a line of the log each.
_LOGGED_EACH = 20
#: Events of one kind that one sensor can cause by itself within an hour; the rest is counted.
MOST_AN_HOUR = 12
#: Kinds that somebody should look at.
ALARMS = frozenset(
    {
        SensorEventKind.TOKEN_REUSED,
        SensorEventKind.CLONE_SUSPECTED,
        SensorEventKind.CHAIN_BROKEN,
        SensorEventKind.WITHDRAWN,
        SensorEventKind.SILENT,
    }
)
#: Kinds that happen by themselves, every day, and say nothing about what was done to the fleet.
EVERYDAY = frozenset(
    {SensorEventKind.RESTARTED, SensorEventKind.HEARD_AGAIN, SensorEventKind.HEARTBEAT_REFUSED}
)


def record_event(
    kind: SensorEventKind, sensor: Sensor | int, *, at: datetime, actor: User | None = None, **detail: Any
) -> SensorEvent:
    """Append one event; ``detail`` must hold no secret."""
    sensor_id = sensor if isinstance(sensor, int) else sensor.pk
    return record_events(kind, {sensor_id: detail}, at=at, actor=actor)[0]


def record_often(kind: SensorEventKind, sensor: int, *, at: datetime, **detail: Any) -> SensorEvent | None:
    """Append what a sensor causes by itself: so often an hour, the last of them with the word that more follows.

    Whoever holds its key could have the history grow with every heartbeat. Gives None where nothing was written.
    """
    lately = SensorEvent.objects.filter(sensor=sensor, kind=kind, at__gt=at - timedelta(hours=1))
    earlier = len(lately.values_list("pk", flat=True)[:MOST_AN_HOUR])
    if earlier >= MOST_AN_HOUR:
        metrics.EVENTS.labels(f"{kind.value}_unrecorded").inc()
        return None
    if earlier == MOST_AN_HOUR - 1:
        detail["and_more"] = True
    return record_events(kind, {sensor: detail}, at=at)[0]


def record_events(
    kind: SensorEventKind,
    details: Mapping[int, Mapping[str, Any]],
    *,
    at: datetime,
    actor: User | None = None,
) -> list[SensorEvent]:
    """Append one event for each sensor; ``details`` is by sensor and must hold no secret."""
    metrics.EVENTS.labels(kind.value).inc(len(details))
    level = logging.WARNING if kind in ALARMS else logging.INFO
    for sensor, detail in islice(details.items(), _LOGGED_EACH):
        _log.log(
            level,
            "A sensor's history grew.",
            extra={"sensor": sensor, "kind": kind.value, "detail": dict(detail)},
        )
    if len(details) > _LOGGED_EACH:
        _log.log(
            level,
            "Further sensors' histories grew likewise.",
            extra={"sensors": len(details) - _LOGGED_EACH, "kind": kind.value},
        )
    with transaction.atomic(savepoint=False):
        events = SensorEvent.objects.bulk_create(
            SensorEvent(at=at, sensor_id=sensor, kind=kind, actor=actor, detail=dict(detail))
            for sensor, detail in details.items()
        )
        audit.append_many(_audited(kind, details, actor), at=at)
    return events


def _audited(
    kind: SensorEventKind, details: Mapping[int, Mapping[str, Any]], actor: User | None
) -> Sequence[Entry]:
    who = "" if actor is None else actor.user_id
    return [
        Entry(f"sensor.{kind.value}", f"sensor:{sensor}", actor=who, facts=detail)
        for sensor, detail in details.items()
        if actor is not None or not _is_everyday(kind, detail)
    ]


def _is_everyday(kind: SensorEventKind, detail: Mapping[str, Any]) -> bool:
    if kind is SensorEventKind.ADDRESSED:
        # What a sensor states and the gateway sees changes with every lease of a provider.
        return detail.get("known_by") in (KnownBy.METADATA.value, KnownBy.GATEWAY.value)
    return kind in EVERYDAY
