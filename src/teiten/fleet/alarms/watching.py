"""Raise alarms for what is wrong with sensors now, and close them when it is over.

What is wrong is what :mod:`teiten.fleet.health` says, so that list, page and alarm
agree. A used token that comes again, an audit chain that goes back and a sensor that its
host takes away are events: their alarms stay until an operator acknowledges them.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from django.db import connection, transaction
from django.db.models import Count

from teiten.fleet import health, known
from teiten.fleet.alarms import ledger, metrics, silence
from teiten.fleet.alarms.ledger import Trouble
from teiten.fleet.alarms.models import Alarm, AlarmKind
from teiten.fleet.config import FleetConfig
from teiten.fleet.health import Condition, Judge
from teiten.fleet.known import Known

_log = logging.getLogger(__name__)
_LOGGED_EACH = 20
#: Events older than this raise no alarm any more.
_LOOK_BACK = timedelta(days=7)

#: What a condition is called as an alarm, and what is said of it.
_OF_CONDITIONS: dict[Condition, tuple[AlarmKind, Callable[[Known], Mapping[str, Any]]]] = {
    Condition.SILENT: (AlarmKind.SILENT, lambda one: {"heard_at": _tell(one.heartbeat_at)}),
    Condition.DROPPING: (AlarmKind.DROPPING, lambda one: {"share": round(health.drop_share(one), 6)}),
    Condition.SKEWED: (AlarmKind.SKEWED, lambda one: {"offset_us": one.clock_offset_us}),
    Condition.GAPPED: (AlarmKind.GAPPED, lambda one: {"missing_batches": one.missing_batches}),
    Condition.QUARANTINED: (AlarmKind.CLONED, lambda _: {}),
    Condition.RING_FULL: (AlarmKind.RING_FULL, lambda one: {"permille": one.ring_fill_permille}),
    Condition.DISK_LOW: (AlarmKind.DISK_LOW, lambda one: {"free_bytes": one.disk_free_bytes}),
    Condition.UPDATE_FAILED: (
        AlarmKind.UPDATE_FAILED,
        lambda one: {"release": one.release, "state": one.update_state, "why": one.update_detail},
    ),
}
_WATCHED = [kind.value for kind, _ in _OF_CONDITIONS.values()]
#: Kinds that events raise; an operator's acknowledging closes them.
OF_EVENTS = (AlarmKind.TOKEN_REUSED, AlarmKind.CHAIN_BROKEN, AlarmKind.WITHDRAWN)

#: An event is told of while no alarm of its kind is open, or was closed after it.
_EVENTS = """
SELECT DISTINCT ON (e.kind, e.sensor_id) e.kind, e.sensor_id, s.organisation_id, e.id
FROM fleet_sensorevent AS e JOIN fleet_sensor AS s ON s.id = e.sensor_id
WHERE e.kind = ANY(%(kinds)s) AND e.at > %(since)s AND NOT EXISTS (
    SELECT FROM fleet_alarms_alarm AS a
    WHERE a.sensor_id = e.sensor_id AND a.kind = e.kind AND (a.closed_at IS NULL OR a.closed_at >= e.at)
)
ORDER BY e.kind, e.sensor_id, e.id DESC
"""


def watch_alarms(*, now: datetime, config: FleetConfig) -> dict[str, int]:
    """Open what is wrong and has no alarm, close what is over, put what fell silent together into groups."""
    sensors, judge = known.read_known(now=now), Judge(now=now, config=config)
    troubles = {trouble.key: trouble for one in sensors for trouble in _list_troubles(one, judge)}
    with transaction.atomic():
        open_now = set(
            Alarm.objects.filter(closed_at=None, kind__in=_WATCHED).values_list("kind", "sensor_id")
        )
        new = [trouble for key, trouble in troubles.items() if key not in open_now]
        opened = ledger.open_alarms([*new, *_list_events(now)], at=now)
        closed = ledger.close_alarms([key for key in open_now if key not in troubles], at=now)
        groups = silence.group_silence(sensors, now=now, config=config)
    _report(opened, closed)
    return {"opened": len(opened), "closed": len(closed), "groups": groups}


def _list_troubles(one: Known, judge: Judge) -> Iterable[Trouble]:
    for condition in judge(one):
        if condition in _OF_CONDITIONS:
            kind, describe = _OF_CONDITIONS[condition]
            yield Trouble(kind.value, one.id, one.organisation_id, describe(one))


def _list_events(now: datetime) -> list[Trouble]:
    with connection.cursor() as cursor:
        cursor.execute(_EVENTS, {"kinds": [kind.value for kind in OF_EVENTS], "since": now - _LOOK_BACK})
        return [
            Trouble(kind, sensor, organisation, {"event": event})
            for kind, sensor, organisation, event in cursor.fetchall()
        ]


def _report(opened: Sequence[tuple[str, int]], closed: Sequence[tuple[str, int]]) -> None:
    for kind, sensor in islice(opened, _LOGGED_EACH):
        _log.warning("An alarm is open.", extra={"alarm": kind, "sensor": sensor})
    if len(opened) > _LOGGED_EACH:
        _log.warning(
            "Further alarms are open.",
            extra={"alarms": dict(Counter(kind for kind, _ in islice(opened, _LOGGED_EACH, None)))},
        )
    if closed:
        _log.info("Alarms are over.", extra={"alarms": dict(Counter(kind for kind, _ in closed))})
    counted = Alarm.objects.filter(closed_at=None, within=None).values_list("kind").annotate(n=Count("pk"))
    counts = dict(counted)
    for kind in AlarmKind.values:
        metrics.OPEN.labels(kind).set(counts.get(kind, 0))


def _tell(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()
