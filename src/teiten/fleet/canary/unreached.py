"""From when to when ports were known not to reach sensors: what denominators leave out.

A port is unreachable when it stayed dark for long while other ports of the same sensor
were reached, at every address of an IP version that is still tried. What is known is
revised after each judging: a period begins with the first canary that was lost, ends
with the first that arrives again, and stays, so that a question about the past is
answered with what was true then. One that an arrival within makes too short was none.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import connection

from teiten.fleet.config import FleetConfig

#: Addresses that a sensor has left are not tried any more, and say nothing of it.
_PORTS = """
WITH newest AS (
    SELECT sensor_id, max(last_tried_at) AS tried_at FROM fleet_canary_reach GROUP BY sensor_id
), tried AS (
    SELECT r.*, max(r.last_arrived_at) OVER (PARTITION BY r.sensor_id) AS any_arrived_at
    FROM fleet_canary_reach AS r JOIN newest AS n ON n.sensor_id = r.sensor_id
    WHERE r.last_tried_at >= n.tried_at - make_interval(days => %(days)s)
        AND r.last_tried_at >= %(now)s - make_interval(days => 4 * %(days)s)
), ports AS (
    SELECT sensor_id, family(address) AS ip_version, protocol, port, max(lost_since) AS from_at
    FROM tried GROUP BY sensor_id, family(address), protocol, port
    HAVING bool_and(
        lost_in_row >= %(least)s AND last_tried_at - lost_since >= make_interval(days => %(days)s)
            AND coalesce(any_arrived_at > lost_since, false)
    )
), following AS (SELECT coalesce(max(revision), 0) + 1 AS revision FROM fleet_canary_unreached)
"""
#: Ends what is over, or was interrupted by an arrival; too short to have been anything, it is withdrawn.
_CLOSE = f"""{_PORTS}, over AS (
    SELECT u.id, CASE WHEN t.again_at > u.from_at THEN t.again_at WHEN t.arrived_at > u.from_at THEN t.arrived_at
        ELSE greatest(u.from_at, t.tried_at) END AS to_at
    FROM fleet_canary_unreached AS u
    LEFT JOIN ports AS p ON p.sensor_id = u.sensor_id AND p.ip_version = u.ip_version
        AND p.protocol = u.protocol AND p.port = u.port
    CROSS JOIN LATERAL (
        SELECT min(c.again_at) FILTER (WHERE c.again_at > u.from_at) AS again_at,
            max(c.last_arrived_at) AS arrived_at, max(c.last_tried_at) AS tried_at
        FROM fleet_canary_reach AS c WHERE c.sensor_id = u.sensor_id AND family(c.address) = u.ip_version
            AND c.protocol = u.protocol AND c.port = u.port
    ) AS t
    WHERE u.to_at IS NULL AND (p.sensor_id IS NULL OR p.from_at > u.from_at)
)
UPDATE fleet_canary_unreached AS u SET revision = following.revision,
    to_at = CASE WHEN coalesce(over.to_at, u.from_at) - u.from_at < make_interval(days => %(days)s) THEN u.from_at
        ELSE over.to_at END
FROM over, following WHERE over.id = u.id
"""  # noqa: S608 - constant
_OPEN = f"""{_PORTS}
INSERT INTO fleet_canary_unreached (sensor_id, ip_version, protocol, port, from_at, known_at, revision)
SELECT p.sensor_id, p.ip_version, p.protocol, p.port, p.from_at, %(now)s, following.revision FROM ports AS p, following
WHERE NOT EXISTS (
    SELECT FROM fleet_canary_unreached AS u WHERE u.to_at IS NULL AND u.sensor_id = p.sensor_id
        AND u.ip_version = p.ip_version AND u.protocol = p.protocol AND u.port = p.port
)
ORDER BY 1, 2, 3, 4
"""  # noqa: S608 - constant


def revise(*, now: datetime, config: FleetConfig) -> int:
    """Bring what is known up to date with what was judged; gives how many periods began, ended or changed."""
    values: dict[str, Any] = {"now": now, "least": config.unreachable_after, "days": config.unreachable_days}
    changed = 0
    with connection.cursor() as cursor:
        for statement in (_CLOSE, _OPEN):
            cursor.execute(statement, values)
            changed += cursor.rowcount
    return changed
