"""Compare what probers sent with what arrived, once a sensor has nothing left to deliver of that time.

A slot is judged when the sensor has spoken after its end and its window, with an empty
spool, and the loader is not behind; until then nobody knows. What cannot be judged
within a day is forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from teiten.fleet import health
from teiten.fleet.alarms import ledger
from teiten.fleet.alarms.ledger import Trouble
from teiten.fleet.alarms.models import Alarm, AlarmKind
from teiten.fleet.canary import metrics
from teiten.fleet.config import FleetConfig
from teiten.fleet.landing_facts import has_landing

#: After a slot, and the sensor's window, batches have this long to be landed and loaded.
GRACE = timedelta(minutes=10)
#: Arrivals without a sender's log, and what was never delivered, are kept so long.
KEPT = timedelta(days=2)

#: Batches that wait for the loader longer than this: what arrived may not be known yet.
_BEHIND = """
SELECT EXISTS (SELECT FROM landing.batches WHERE state IN ('landed', 'loading') AND landed_at < %(before)s)
"""

_JUDGE = """
WITH ready AS (
    DELETE FROM fleet_canary_canary AS c USING fleet_sensor AS s, fleet_sensorhealth AS h
    WHERE c.was_sent AND c.ended_at < %(before)s AND s.id = c.sensor_id AND h.sensor_id = s.id
        AND s.state = 'active' AND h.spool_batches <= 1
        AND h.heartbeat_at > c.ended_at + make_interval(secs => s.window_seconds + %(grace)s)
    RETURNING c.sensor_id, c.address, c.protocol, c.port, c.ended_at, c.arrived_at
), marked AS (
    SELECT *, max(ended_at) FILTER (WHERE arrived_at IS NOT NULL)
        OVER (PARTITION BY sensor_id, address, protocol, port) AS last_good
    FROM ready
), summed AS (
    SELECT sensor_id, address, protocol, port, count(arrived_at) AS arrived,
        count(*) FILTER (WHERE arrived_at IS NULL) AS lost,
        count(*) FILTER (WHERE arrived_at IS NULL AND (last_good IS NULL OR ended_at > last_good)) AS tail,
        min(ended_at) FILTER (WHERE arrived_at IS NULL AND (last_good IS NULL OR ended_at > last_good)) AS since,
        max(ended_at) AS tried, max(arrived_at) AS arrived_at
    FROM marked GROUP BY sensor_id, address, protocol, port
), kept AS (
    INSERT INTO fleet_canary_reach AS r (
        sensor_id, address, protocol, port, arrived, lost, lost_in_row, lost_since, last_tried_at, last_arrived_at
    )
    SELECT sensor_id, address, protocol, port, arrived, lost, tail, since, tried, arrived_at FROM summed
    ON CONFLICT (sensor_id, address, protocol, port) DO UPDATE SET
        arrived = r.arrived + excluded.arrived,
        lost = r.lost + excluded.lost,
        lost_in_row = CASE WHEN excluded.arrived > 0 THEN excluded.lost_in_row
            ELSE r.lost_in_row + excluded.lost_in_row END,
        lost_since = CASE WHEN excluded.arrived > 0 THEN excluded.lost_since
            ELSE coalesce(r.lost_since, excluded.lost_since) END,
        last_tried_at = greatest(r.last_tried_at, excluded.last_tried_at),
        last_arrived_at = greatest(r.last_arrived_at, excluded.last_arrived_at)
)
SELECT coalesce(sum(arrived), 0), coalesce(sum(lost), 0) FROM summed
"""

_FORGET = """
DELETE FROM fleet_canary_canary
WHERE (was_sent AND ended_at < %(old)s) OR ended_at < %(older)s
"""

#: Canaries lost since the sensor's last one, on ports that were reached before or by then had not been tried.
_DARK = """
SELECT r.sensor_id, s.organisation_id, sum(r.lost_in_row)::bigint, max(known.last)
FROM fleet_canary_reach AS r
JOIN fleet_sensor AS s ON s.id = r.sensor_id AND s.state = 'active'
JOIN fleet_sensorhealth AS h ON h.sensor_id = s.id AND h.heartbeat_at >= %(heard)s
JOIN (
    SELECT sensor_id, max(last_arrived_at) AS last FROM fleet_canary_reach GROUP BY sensor_id
) AS known ON known.sensor_id = r.sensor_id
WHERE r.lost_in_row > 0 AND (known.last IS NULL OR r.lost_since > known.last)
GROUP BY r.sensor_id, s.organisation_id
HAVING sum(r.lost_in_row) >= %(least)s
"""


def judge_canaries(*, now: datetime, config: FleetConfig) -> dict[str, int]:
    """Judge what can be judged, and raise or close alarms; gives how many arrived, were lost, are unknown."""
    arrived = lost = 0
    with transaction.atomic():
        if not _is_behind(now):
            ((arrived, lost),) = _ask(_JUDGE, {"before": now - GRACE, "grace": GRACE.total_seconds() / 5})
        unknown = _forget(now)
        _set_alarms(now, config)
    for what, count in (("arrived", arrived), ("lost", lost), ("unknown", unknown)):
        metrics.CANARIES.labels(what).inc(int(count))
    return {"arrived": int(arrived), "lost": int(lost), "unknown": unknown}


def _is_behind(now: datetime) -> bool:
    return has_landing() and bool(_ask(_BEHIND, {"before": now - GRACE / 2})[0][0])


def _forget(now: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_FORGET, {"old": now - KEPT / 2, "older": now - KEPT})
        return int(cursor.rowcount)


def _set_alarms(now: datetime, config: FleetConfig) -> None:
    values = {"heard": now - health.silence_allowed(config), "least": config.canary_lost_after}
    dark = {
        sensor: Trouble(
            AlarmKind.CANARY_LOST.value,
            sensor,
            organisation,
            {"lost": count, "last_arrived_at": None if last is None else last.isoformat()},
        )
        for sensor, organisation, count, last in _ask(_DARK, values)
    }
    known = Alarm.objects.filter(kind=AlarmKind.CANARY_LOST, closed_at=None)
    open_now = set(known.values_list("sensor_id", flat=True))
    ledger.open_alarms([trouble for sensor, trouble in dark.items() if sensor not in open_now], at=now)
    over = [(AlarmKind.CANARY_LOST.value, sensor) for sensor in open_now if sensor not in dark]
    ledger.close_alarms(over, at=now)


def _ask(statement: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())
