"""The one way to write the history of a sensor."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from teiten.accounts.models import User
from teiten.fleet import metrics
from teiten.fleet.models import Sensor, SensorEvent, SensorEventKind

_log = logging.getLogger(__name__)
#: Kinds that somebody should look at.
ALARMS = frozenset({SensorEventKind.TOKEN_REUSED, SensorEventKind.CLONE_SUSPECTED, SensorEventKind.SILENT})


def record_event(
    kind: SensorEventKind, sensor: Sensor | int, *, at: datetime, actor: User | None = None, **detail: Any
) -> SensorEvent:
    """Append one event; ``detail`` must hold no secret."""
    sensor_id = sensor if isinstance(sensor, int) else sensor.pk
    metrics.EVENTS.labels(kind.value).inc()
    level = logging.WARNING if kind in ALARMS else logging.INFO
    _log.log(
        level, "A sensor's history grew.", extra={"sensor": sensor_id, "kind": kind.value, "detail": detail}
    )
    return SensorEvent.objects.create(at=at, sensor_id=sensor_id, kind=kind, actor=actor, detail=detail)
