"""Open and close alarms, many in one statement."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection

from teiten.fleet.alarms import metrics

_OPEN = """
INSERT INTO fleet_alarms_alarm (kind, sensor_id, organisation_id, "group", opened_at, detail)
SELECT kind, sensor, organisation, '', %(at)s, detail
FROM unnest(%(kinds)s::text[], %(sensors)s::integer[], %(organisations)s::bigint[], %(details)s::jsonb[])
    AS t (kind, sensor, organisation, detail)
ORDER BY kind, sensor
ON CONFLICT DO NOTHING
RETURNING kind, sensor_id
"""
_CLOSE = """
UPDATE fleet_alarms_alarm AS a SET closed_at = greatest(%(at)s, a.opened_at)
FROM unnest(%(kinds)s::text[], %(sensors)s::integer[]) AS t (kind, sensor)
WHERE a.closed_at IS NULL AND a.kind = t.kind AND a.sensor_id = t.sensor
RETURNING a.kind, a.sensor_id
"""


@dataclass(frozen=True)
class Trouble:
    """What is wrong with one sensor."""

    kind: str
    sensor: int
    organisation: int
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, int]:
        return self.kind, self.sensor


def open_alarms(troubles: Iterable[Trouble], *, at: datetime) -> list[tuple[str, int]]:
    """Open an alarm for each trouble that has none; gives kind and sensor of those that are new."""
    rows = list(troubles)
    if not rows:
        return []
    values = {
        "at": at,
        "kinds": [row.kind for row in rows],
        "sensors": [row.sensor for row in rows],
        "organisations": [row.organisation for row in rows],
        "details": [json.dumps(dict(row.detail)) for row in rows],
    }
    return _change(_OPEN, values, "opened")


def close_alarms(keys: Sequence[tuple[str, int]], *, at: datetime) -> list[tuple[str, int]]:
    """Close the open alarms of these kinds and sensors; gives those that were open."""
    if not keys:
        return []
    values = {"at": at, "kinds": [key[0] for key in keys], "sensors": [key[1] for key in keys]}
    return _change(_CLOSE, values, "closed")


def _change(statement: str, values: Any, what: str) -> list[tuple[str, int]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        changed: list[tuple[str, int]] = cursor.fetchall()
    for kind, _ in changed:
        metrics.ALARMS.labels(kind, what).inc()
    return changed
