"""Compare what probers sent with what arrived, once a sensor has nothing left to deliver of that time.

A slot is judged when the sensor has spoken after its end and its window, with an empty
spool, and the loader is not behind; until then nobody knows. What cannot be judged
within a day is forgotten.

A slot in which most sensors that were reached before receive nothing is void: it is the
prober, or the way from it, that failed. So is a port that reaches no sensor at all: the
prober's own network keeps it. What is lost then is unknown, and no sensor's fault.
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
from teiten.fleet.canary import metrics, probers, unreached
from teiten.fleet.config import FleetConfig
from teiten.fleet.landing_facts import has_landing

#: After a slot, and the sensor's window, batches have this long to be landed and loaded.
GRACE = timedelta(minutes=10)
#: Arrivals without a sender's log, and what was never delivered, are kept so long.
KEPT = timedelta(days=2)

#: Verdicts on slots, and which logs were taken up.
SLOTS_KEPT = timedelta(days=30)
#: How often this is run, minutes.
_EVERY_MINUTES = 5
#: Key of the lock that makes judging run once at a time; any number that nobody else takes.
_LOCK = 0x63616E61

#: Batches that wait for the loader longer than this: what arrived may not be known yet.
_BEHIND = """
SELECT EXISTS (SELECT FROM landing.batches WHERE state IN ('landed', 'loading') AND landed_at < %(before)s)
"""

#: A slot is judged once half of its sensors have delivered, or when it is so old.
PATIENCE = timedelta(hours=2)

#: A sensor that started since, or was planned to be off, may not have watched: what it missed says nothing.
_WATCHED = """h.booted_at < c.ended_at AND NOT EXISTS (
            SELECT FROM fleet_maintenance AS m WHERE m.sensor_id = c.sensor_id
                AND m.start_at < c.ended_at AND m.end_at > c.ended_at - make_interval(secs => p.slot_seconds)
        )"""
#: Verdicts on slots: how many sensors that were reached before were reached now. ``expected`` are the sensors
#: whose port arrived when it was tried last; where none is, all that have delivered.
_DECIDE = f"""
WITH delivered AS (
    SELECT c.prober_id, c.slot, c.ended_at, family(c.address) AS ip_version, c.protocol, c.sensor_id,
        c.arrived_at IS NOT NULL AS has_arrived,
        s.state = 'active' AND h.spool_batches <= 1
            AND h.heartbeat_at > c.ended_at + make_interval(secs => s.window_seconds + %(grace)s)
            AND {_WATCHED} AS is_ready,
        r.reached_slot_at IS NOT NULL AND r.lost_in_row = 0 AS was_good
    FROM fleet_canary_canary AS c
    JOIN fleet_sensor AS s ON s.id = c.sensor_id
    JOIN fleet_canary_prober AS p ON p.id = c.prober_id
    LEFT JOIN fleet_sensorhealth AS h ON h.sensor_id = s.id
    LEFT JOIN fleet_canary_reach AS r ON r.sensor_id = c.sensor_id AND r.address = c.address
        AND r.protocol = c.protocol AND r.port = c.port
    WHERE c.was_sent AND c.ended_at < %(before)s AND NOT EXISTS (
        SELECT FROM fleet_canary_slotverdict AS v WHERE v.prober_id = c.prober_id AND v.slot = c.slot
            AND v.ip_version = family(c.address) AND v.protocol = c.protocol
    )
), counted AS (
    SELECT prober_id, slot, ended_at, ip_version, protocol,
        count(*) AS sent, count(*) FILTER (WHERE is_ready) AS ready,
        count(DISTINCT sensor_id) FILTER (WHERE is_ready AND was_good) AS good,
        count(DISTINCT sensor_id) FILTER (WHERE is_ready AND was_good AND has_arrived) AS good_met,
        count(DISTINCT sensor_id) FILTER (WHERE is_ready) AS every,
        count(DISTINCT sensor_id) FILTER (WHERE is_ready AND has_arrived) AS every_met,
        bool_or(has_arrived) AS any_arrived
    FROM delivered GROUP BY prober_id, slot, ended_at, ip_version, protocol
)
INSERT INTO fleet_canary_slotverdict (prober_id, slot, ip_version, protocol, ended_at, expected, met, is_void)
SELECT prober_id, slot, ip_version, protocol, ended_at,
    CASE WHEN good > 0 THEN good ELSE every END, CASE WHEN good > 0 THEN good_met ELSE every_met END,
    CASE WHEN good > 1 THEN good_met * 2 < good WHEN good = 0 THEN every > 1 AND NOT any_arrived ELSE false END
FROM counted
WHERE ready > 0 AND (ready * 2 >= sent OR ended_at < %(patient)s)
ORDER BY prober_id, slot, ip_version, protocol
ON CONFLICT DO NOTHING
"""  # noqa: S608 - constant

#: That a prober's own network lets a port out is known while any sensor receives it.
_KNOW_WAYS = """
INSERT INTO fleet_canary_way AS w (prober_id, ip_version, protocol, port, arrived_at)
SELECT prober_id, family(address), protocol, port, max(ended_at)
FROM fleet_canary_canary WHERE arrived_at IS NOT NULL
GROUP BY prober_id, family(address), protocol, port
ORDER BY 1, 2, 3, 4
ON CONFLICT (prober_id, ip_version, protocol, port)
DO UPDATE SET arrived_at = greatest(w.arrived_at, excluded.arrived_at)
"""

#: What was lost counts against a sensor in a slot that is not void, on a port that its prober can send. What arrived
#: counts always, also without a log once none can come any more.
_JUDGE = f"""
WITH ready AS (
    DELETE FROM fleet_canary_canary AS c
    USING fleet_sensor AS s, fleet_sensorhealth AS h, fleet_canary_prober AS p
    WHERE s.id = c.sensor_id AND h.sensor_id = s.id AND p.id = c.prober_id AND (
        (c.was_sent AND s.state = 'active' AND h.spool_batches <= 1
            AND h.heartbeat_at > c.ended_at + make_interval(secs => s.window_seconds + %(grace)s)
            AND EXISTS (
                SELECT FROM fleet_canary_slotverdict AS v WHERE v.prober_id = c.prober_id AND v.slot = c.slot
                    AND v.ip_version = family(c.address) AND v.protocol = c.protocol
            ))
        OR (c.arrived_at IS NOT NULL AND c.ended_at < %(old)s)
    )
    RETURNING c.sensor_id, c.address, c.protocol, c.port, c.ended_at, c.arrived_at,
        c.arrived_at IS NULL AND {_WATCHED} AND NOT EXISTS (
            SELECT FROM fleet_canary_slotverdict AS v WHERE v.prober_id = c.prober_id AND v.slot = c.slot
                AND v.ip_version = family(c.address) AND v.protocol = c.protocol AND v.is_void
        ) AND EXISTS (
            SELECT FROM fleet_canary_way AS w WHERE w.prober_id = c.prober_id
                AND w.ip_version = family(c.address) AND w.protocol = c.protocol AND w.port = c.port
                AND w.arrived_at >= c.ended_at - greatest(
                    make_interval(hours => 12 * %(days)s), make_interval(secs => 2 * p.slot_seconds * %(ports)s)
                )
        ) AS is_lost
), summed AS (
    SELECT sensor_id, address, protocol, port, count(arrived_at) AS arrived, count(*) FILTER (WHERE is_lost) AS lost,
        count(*) FILTER (WHERE arrived_at IS NULL AND NOT is_lost) AS unknown,
        coalesce(array_agg(ended_at ORDER BY ended_at) FILTER (WHERE is_lost), '{{}}') AS lost_at,
        max(ended_at) FILTER (WHERE arrived_at IS NOT NULL) AS reached_slot_at,
        max(ended_at) FILTER (WHERE arrived_at IS NOT NULL OR is_lost) AS tried_at,
        min(arrived_at) AS first_arrived_at, max(arrived_at) AS last_arrived_at
    FROM ready GROUP BY sensor_id, address, protocol, port
), kept AS (
    INSERT INTO fleet_canary_reach AS r (
        sensor_id, address, protocol, port, arrived, lost, lost_in_row, lost_since, lost_at,
        last_tried_at, last_arrived_at, reached_slot_at, again_at
    )
    SELECT sensor_id, address, protocol, port, arrived, lost, 0, NULL, lost_at,
        tried_at, last_arrived_at, reached_slot_at, first_arrived_at
    FROM summed WHERE tried_at IS NOT NULL
    ORDER BY sensor_id, address, protocol, port
    ON CONFLICT (sensor_id, address, protocol, port) DO UPDATE SET
        arrived = r.arrived + excluded.arrived,
        lost = r.lost + excluded.lost,
        lost_at = r.lost_at || excluded.lost_at,
        last_tried_at = greatest(r.last_tried_at, excluded.last_tried_at),
        last_arrived_at = greatest(r.last_arrived_at, excluded.last_arrived_at),
        reached_slot_at = greatest(r.reached_slot_at, excluded.reached_slot_at),
        again_at = CASE WHEN excluded.arrived > 0 AND (r.lost_in_row > 0 OR r.again_at IS NULL)
            THEN excluded.again_at ELSE r.again_at END
    RETURNING id
)
SELECT coalesce(sum(arrived), 0)::bigint, coalesce(sum(lost), 0)::bigint, coalesce(sum(unknown), 0)::bigint,
    (SELECT array_agg(id) FROM kept)
FROM summed
"""  # noqa: S608 - constant

#: Of what was lost only that counts which came after the last arrival, in whatever order the results came.
_TRIM = """
UPDATE fleet_canary_reach AS r
SET lost_at = t.lost_at[:32] || t.lost_at[greatest(33, cardinality(t.lost_at) - 31):],
    lost_in_row = least(64, cardinality(t.lost_at)), lost_since = t.lost_at[1]
FROM (
    SELECT id, ARRAY(
        SELECT at FROM unnest(lost_at) AS at WHERE reached_slot_at IS NULL OR at > reached_slot_at ORDER BY at
    ) AS lost_at
    FROM fleet_canary_reach WHERE id = ANY(%(ids)s)
) AS t
WHERE t.id = r.id
"""

_FORGET = """
DELETE FROM fleet_canary_canary
WHERE (was_sent AND ended_at < %(old)s) OR ended_at < %(older)s
"""

_FORGET_SLOTS = """
WITH gone AS (DELETE FROM fleet_canary_slotverdict WHERE ended_at < %(before)s)
DELETE FROM fleet_canary_slotlog WHERE ended_at < %(before)s
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
    arrived = lost = unknown = 0
    with transaction.atomic():
        _ask("SELECT pg_advisory_xact_lock(%(lock)s)", {"lock": _LOCK})
        if not _is_behind(now):
            arrived, lost, unknown = _judge(now, config)
        unknown += _forget(now)
        # Nothing else changes what is known, but that what was tried long ago is forgotten.
        if arrived or lost or now.minute < _EVERY_MINUTES:
            unreached.revise(now=now, config=config)
        _set_alarms(now, config)
        probers.watch_probers(now=now)
    for what, count in (("arrived", arrived), ("lost", lost), ("unknown", unknown)):
        metrics.CANARIES.labels(what).inc(int(count))
    return {"arrived": arrived, "lost": lost, "unknown": unknown}


def _judge(now: datetime, config: FleetConfig) -> tuple[int, int, int]:
    values = {
        "before": now - GRACE,
        "grace": GRACE.total_seconds() / 5,
        "patient": now - PATIENCE,
        "old": now - KEPT / 2,
        "days": config.unreachable_days,
        "ports": max(len(config.canary_tcp_ports), len(config.canary_udp_ports)),
    }
    _run(_DECIDE, values)
    _run(_KNOW_WAYS, {})
    ((arrived, lost, unknown, ids),) = _ask(_JUDGE, values)
    if ids:
        _run(_TRIM, {"ids": ids})
    return arrived, lost, unknown


def _is_behind(now: datetime) -> bool:
    return has_landing() and bool(_ask(_BEHIND, {"before": now - GRACE / 2})[0][0])


def _forget(now: datetime) -> int:
    unknown = _run(_FORGET, {"old": now - KEPT / 2, "older": now - KEPT})
    _run(_FORGET_SLOTS, {"before": now - SLOTS_KEPT})
    return unknown


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
    known = Alarm.objects.filter(kind=AlarmKind.CANARY_LOST, closed_at=None, sensor__isnull=False)
    open_now = set(known.values_list("sensor_id", flat=True))
    ledger.open_alarms([trouble for sensor, trouble in dark.items() if sensor not in open_now], at=now)
    over = [(AlarmKind.CANARY_LOST.value, sensor) for sensor in open_now if sensor not in dark]
    ledger.close_alarms(over, at=now)


def _ask(statement: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())


def _run(statement: str, values: Mapping[str, Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return int(cursor.rowcount)
