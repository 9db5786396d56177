"""The SQL of roll-outs: whole stages at a time, never target by target.

Every statement locks its targets in the order of their numbers, so that no two can
wait for each other.
"""

from __future__ import annotations

#: Who was silent, at an instant: fewer heartbeats than may be missing.
SILENT = """
SELECT s.id FROM fleet_sensor AS s LEFT JOIN fleet_sensorhealth AS h ON h.sensor_id = s.id
WHERE s.id = ANY(%(sensors)s) AND (h.heartbeat_at IS NULL OR h.heartbeat_at < %(silent_before)s)
"""

ENTER = """
INSERT INTO fleet_rollouts_rollouttarget (rollout_id, sensor_id, kind, release, position, state, was_silent, detail)
SELECT %(rollout)s, sensor, %(kind)s, %(release)s, position - 1, 'waiting', false, ''
FROM unnest(%(sensors)s::bigint[]) WITH ORDINALITY AS t (sensor, position)
"""

#: A sensor that fell silent counts against a roll-out unless its owner planned it.
STANDING = """
SELECT
    count(*) FILTER (WHERE t.state <> 'cancelled'),
    count(*) FILTER (WHERE t.released_at IS NOT NULL AND t.state <> 'cancelled'),
    count(*) FILTER (WHERE t.released_at > %(minute_ago)s),
    count(*) FILTER (WHERE t.state = 'ok'),
    count(*) FILTER (WHERE t.state IN ('failed', 'refused')),
    count(*) FILTER (
        WHERE t.released_at IS NOT NULL AND t.state <> 'cancelled' AND NOT t.was_silent
        AND (h.heartbeat_at IS NULL OR h.heartbeat_at < %(silent_before)s)
        AND NOT EXISTS (
            SELECT FROM fleet_maintenance AS m
            WHERE m.sensor_id = t.sensor_id AND m.start_at <= %(now)s AND m.end_at > %(now)s
        )
    ),
    count(*) FILTER (WHERE t.state IN ('released', 'fetched') AND NOT t.was_silent),
    count(*) FILTER (WHERE t.state IN ('released', 'fetched')),
    max(t.released_at)
FROM fleet_rollouts_rollouttarget AS t LEFT JOIN fleet_sensorhealth AS h ON h.sensor_id = t.sensor_id
WHERE t.rollout_id = %(rollout)s
"""

RELEASE = """
WITH next AS (
    SELECT t.id, h.heartbeat_at IS NULL OR h.heartbeat_at < %(silent_before)s AS is_silent
    FROM fleet_rollouts_rollouttarget AS t LEFT JOIN fleet_sensorhealth AS h ON h.sensor_id = t.sensor_id
    WHERE t.rollout_id = %(rollout)s AND t.state = 'waiting'
    ORDER BY t.position LIMIT %(count)s
    FOR NO KEY UPDATE OF t
)
UPDATE fleet_rollouts_rollouttarget AS t
SET state = 'released', released_at = %(now)s, was_silent = next.is_silent
FROM next WHERE t.id = next.id
"""

#: First outcome wins: what has ended stays as it is. An answer proves that it was given, whatever was noted.
REPORT = """
WITH told AS (
    SELECT t.id, told.state, told.detail
    FROM fleet_rollouts_rollouttarget AS t
    JOIN unnest(%(sensors)s::bigint[], %(states)s::text[], %(details)s::text[]) AS told (sensor, state, detail)
        ON t.sensor_id = told.sensor
    WHERE t.rollout_id = %(rollout)s AND t.sensor_id = ANY(%(sensors)s::bigint[])
        AND t.state IN ('waiting', 'released', 'fetched')
    ORDER BY t.id FOR NO KEY UPDATE OF t
)
UPDATE fleet_rollouts_rollouttarget AS t
SET state = told.state, released_at = coalesce(t.released_at, %(now)s), ended_at = %(now)s, detail = told.detail
FROM told WHERE t.id = told.id
RETURNING t.sensor_id
"""

#: What must not begin any more: not fetched yet.
WITHDRAW = """
WITH found AS (
    SELECT id FROM fleet_rollouts_rollouttarget
    WHERE rollout_id = %(rollout)s AND state = 'released'
    ORDER BY id FOR NO KEY UPDATE
)
UPDATE fleet_rollouts_rollouttarget AS t SET state = 'waiting', released_at = NULL
FROM found WHERE t.id = found.id
"""

CANCEL = """
WITH found AS (
    SELECT id FROM fleet_rollouts_rollouttarget
    WHERE rollout_id = %(rollout)s AND state IN ('waiting', 'released')
    ORDER BY id FOR NO KEY UPDATE
)
UPDATE fleet_rollouts_rollouttarget AS t SET state = 'cancelled', ended_at = %(now)s
FROM found WHERE t.id = found.id
"""

#: A sensor that has been revoked can be given nothing any more.
CANCEL_REVOKED = """
WITH found AS (
    SELECT t.id FROM fleet_rollouts_rollouttarget AS t JOIN fleet_sensor AS s ON s.id = t.sensor_id
    WHERE t.rollout_id = %(rollout)s AND s.state = 'revoked' AND t.state IN ('waiting', 'released', 'fetched')
    ORDER BY t.id FOR NO KEY UPDATE OF t
)
UPDATE fleet_rollouts_rollouttarget AS t SET state = 'cancelled', ended_at = %(now)s, detail = 'revoked'
FROM found WHERE t.id = found.id
"""

#: What was fetched in time may still be answered for a while.
EXPIRE = """
WITH found AS (
    SELECT t.id FROM fleet_rollouts_rollouttarget AS t JOIN fleet_rollouts_rollout AS r ON r.id = t.rollout_id
    WHERE t.rollout_id = %(rollout)s AND r.not_after <= %(now)s
        AND (t.state IN ('waiting', 'released') OR (t.state = 'fetched' AND r.not_after <= %(fetched_before)s))
    ORDER BY t.id FOR NO KEY UPDATE OF t
)
UPDATE fleet_rollouts_rollouttarget AS t SET state = 'expired', ended_at = %(now)s
FROM found WHERE t.id = found.id
"""

#: Updates answer by heartbeats: what runs, what was tried and given up, or what has kept the host from trying for
#: too long (its clock, its disk, its way to the repository).
SETTLE_UPDATES = """
WITH found AS (
    SELECT t.id, (told.update ->> 'release')::bigint >= t.release AS runs,
        left(
            CASE WHEN told.update ->> 'state' = 'blocked' THEN 'blocked: ' ELSE '' END
            || coalesce(told.update ->> 'detail', ''), 200
        ) AS detail
    FROM fleet_rollouts_rollouttarget AS t
    JOIN fleet_sensorhealth AS h ON h.sensor_id = t.sensor_id
    CROSS JOIN LATERAL (SELECT h.report -> 'update' AS update) AS told
    WHERE t.rollout_id = %(rollout)s AND t.state = 'released' AND h.heartbeat_at >= t.released_at AND (
        (told.update ->> 'state' = 'steady' AND (told.update ->> 'release')::bigint >= t.release)
        OR (
            told.update ->> 'state' IN ('rolled_back', 'blocked')
            AND starts_with(told.update ->> 'detail', 'release ' || t.release || ':')
        )
        OR (told.update ->> 'state' = 'blocked' AND t.released_at <= %(blocked_before)s)
    )
    ORDER BY t.id FOR NO KEY UPDATE OF t
)
UPDATE fleet_rollouts_rollouttarget AS t
SET state = CASE WHEN found.runs THEN 'ok' ELSE 'failed' END, ended_at = %(now)s, detail = found.detail
FROM found WHERE t.id = found.id
RETURNING t.state
"""
