"""What nobody says of itself: a sensor that fell silent, a key that two machines use."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef

from teiten.fleet import health, journal, services
from teiten.fleet.config import FleetConfig
from teiten.fleet.models import Maintenance, SensorEventKind, SensorHealth, SensorState

#: Alarms of the gateway older than this are not looked at any more.
_LOOK_BACK = timedelta(days=1)

#: Alarms of the gateway that two machines with one key explain.
CLONE_ALARMS = ("sequence_conflict",)

_HAS_ALARMS = "SELECT to_regclass('landing.alarms') IS NOT NULL"
_NEW_ALARMS = """
SELECT a.id, a.sensor, a.kind, a.detail, substring(a.detail FROM 'epoch ([0-9]{1,9}),')::integer
FROM landing.alarms AS a JOIN fleet_sensor AS s ON s.id = a.sensor AND s.state = %(active)s
WHERE a.at > %(since)s AND a.kind = ANY(%(kinds)s) AND NOT EXISTS (
    SELECT FROM fleet_sensorevent AS e
    WHERE e.sensor_id = a.sensor AND e.kind = %(kind)s AND e.at >= a.at
)
ORDER BY a.id
LIMIT 1000
"""


def note_silence(*, now: datetime, config: FleetConfig) -> int:
    """Write down sensors that fell silent since the last look; gives how many.

    A sensor that was silent is written once, and again only after it was heard. While
    maintenance is planned, silence is what was planned.
    """
    planned = Maintenance.objects.filter(sensor=OuterRef("sensor"), start_at__lte=now, end_at__gt=now)
    quiet = SensorHealth.objects.filter(
        ~Exists(planned),
        heartbeat_at__lt=now - health.silence_allowed(config),
        silent_since=None,
        sensor__state__in=[SensorState.ACTIVE, SensorState.QUARANTINED],
    )
    with transaction.atomic():
        fallen = list(quiet.select_for_update(of=("self",), skip_locked=True).order_by("pk"))
        # A gateway that was away makes ten thousand at once: one statement each, not one a sensor.
        SensorHealth.objects.filter(pk__in=[row.pk for row in fallen]).update(silent_since=F("heartbeat_at"))
        journal.record_events(
            SensorEventKind.SILENT,
            {row.pk: {"last_heartbeat": row.heartbeat_at.isoformat()} for row in fallen},
            at=now,
        )
    return len(fallen)


def quarantine_clones(*, now: datetime) -> int:
    """Quarantine sensors that the gateway raised an alarm about; gives how many.

    An alarm older than the last suspicion of the same sensor has been seen: when an
    operator resumes the sensor, it does not come back. Numbers that come twice in an epoch that
    a recovery has ended were to be expected.
    """
    with connection.cursor() as cursor:
        cursor.execute(_HAS_ALARMS)
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute(
            _NEW_ALARMS,
            {
                "since": now - _LOOK_BACK,
                "kinds": list(CLONE_ALARMS),
                "active": SensorState.ACTIVE.value,
                "kind": SensorEventKind.CLONE_SUSPECTED.value,
            },
        )
        alarms = cursor.fetchall()
    return sum(
        services.quarantine_sensor(sensor, at=now, epoch=epoch, why=kind, alarm=number, detail=detail)
        for number, sensor, kind, detail, epoch in alarms
    )
