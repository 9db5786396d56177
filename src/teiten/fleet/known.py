"""What is known of every sensor, in one statement however many there are: 10,000 of them in a fraction of a second."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection

from teiten.fleet.health import Facts
from teiten.fleet.landing_facts import RECENT, has_landing
from teiten.foundation.clock import from_us

_SENSORS = """
SELECT s.id, s.name, s.organisation_id, o.code, s.region_id, s.dataset, s.state,
    s.stopped_by = 'host', {enrolled_at}, {heartbeat_at}, {booted_at}, coalesce(h.software, ''),
    h.clock_offset_us, coalesce(h.captured, 0), coalesce(h.kernel_drops, 0),
    coalesce(h.recent_captured, 0), coalesce(h.recent_drops, 0), coalesce(h.spool_batches, 0),
    coalesce(h.spool_bytes, 0), coalesce(h.last_error, ''), h.disk_free_bytes, h.ring_fill_permille, h.release,
    coalesce(h.update_state, ''), coalesce(h.update_detail, ''), coalesce(c.records, 0),
    coalesce(c.head, ''::bytea), planned.sensor_id IS NOT NULL, {last_at}, {missing}
FROM fleet_sensor AS s
JOIN accounts_organisation AS o ON o.id = s.organisation_id
LEFT JOIN fleet_sensorhealth AS h ON h.sensor_id = s.id
LEFT JOIN fleet_commands_sensorchain AS c ON c.sensor_id = s.id
LEFT JOIN (
    SELECT DISTINCT sensor_id FROM fleet_maintenance WHERE start_at <= %(now)s AND end_at > %(now)s
) AS planned ON planned.sensor_id = s.id
{joins}
WHERE %(dataset)s::text IS NULL OR s.dataset = %(dataset)s
ORDER BY s.id
"""
#: Holes as landing_facts tells of them: missing numbers in front of batches of the last day.
_LANDED = """
LEFT JOIN (
    SELECT sensor, max(last_landed_at) AS at FROM landing.received GROUP BY sensor
) AS last ON last.sensor = s.id
LEFT JOIN (
    SELECT piece.sensor, sum(piece.missing)::bigint AS missing
    FROM (
        SELECT r.sensor, r.epoch, lower(x) AS first_seq,
            lower(x) - lag(upper(x), 1, 1::bigint) OVER (PARTITION BY r.sensor, r.epoch ORDER BY x) AS missing
        FROM landing.received AS r CROSS JOIN LATERAL unnest(r.seqs) AS x
        WHERE r.last_landed_at > %(since)s
    ) AS piece
    JOIN landing.batches AS b
        ON b.sensor = piece.sensor AND b.epoch = piece.epoch AND b.seq = piece.first_seq AND b.landed_at > %(since)s
    WHERE piece.missing > 0
    GROUP BY piece.sensor
) AS holes ON holes.sensor = s.id
"""


#: A number is read ten times as fast as an instant.
_MICROSECONDS = "(extract(epoch FROM {}) * 1000000)::bigint"


class Known(NamedTuple):
    """One sensor with all that its state rests on."""

    id: int
    name: str
    organisation_id: int
    #: Code of the organisation that houses it.
    organisation: str
    region: str
    dataset: str
    #: The state of its row.
    standing: str
    by_host: bool
    enrolled_at: datetime | None
    heartbeat_at: datetime | None
    booted_at: datetime | None
    software: str
    clock_offset_us: int | None
    captured: int
    kernel_drops: int
    recent_captured: float
    recent_drops: float
    spool_batches: int
    spool_bytes: int
    last_error: str
    disk_free_bytes: int | None
    ring_fill_permille: int | None
    release: int | None
    update_state: str
    update_detail: str
    audit_records: int
    audit_head: bytes
    #: Maintenance is planned for now.
    is_planned: bool
    last_batch_at: datetime | None
    missing_batches: int

    def as_facts(self) -> Facts:
        """Give what the judgement of its state rests on."""
        return Facts(
            standing=self.standing,
            enrolled_at=self.enrolled_at,
            heartbeat_at=self.heartbeat_at,
            recent_captured=self.recent_captured,
            recent_drops=self.recent_drops,
            clock_offset_us=self.clock_offset_us,
            missing_batches=self.missing_batches,
            is_planned=self.is_planned,
            by_host=self.by_host,
            disk_free_bytes=self.disk_free_bytes,
            ring_fill_permille=self.ring_fill_permille,
            update_state=self.update_state,
        )


_INSTANTS = [
    Known._fields.index(name) for name in ("enrolled_at", "heartbeat_at", "booted_at", "last_batch_at")
]


def read_known(*, now: datetime, dataset: str | None = None) -> list[Known]:
    """Give every sensor, of one data set or all, by number."""
    values: dict[str, Any] = {"now": now, "since": now - RECENT, "dataset": dataset}
    columns = {"enrolled_at": "s.enrolled_at", "heartbeat_at": "h.heartbeat_at", "booted_at": "h.booted_at"}
    has_ledger = has_landing()
    statement = _SENSORS.format(
        **{name: _MICROSECONDS.format(column) for name, column in columns.items()},
        last_at=_MICROSECONDS.format("last.at") if has_ledger else "NULL::bigint",
        missing="coalesce(holes.missing, 0)" if has_ledger else "0",
        joins=_LANDED if has_ledger else "",
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return [Known._make(_read_instants(row)) for row in cursor.fetchall()]


def _read_instants(row: tuple[Any, ...]) -> list[Any]:
    values = list(row)
    for place in _INSTANTS:
        if values[place] is not None:
            values[place] = from_us(values[place])
    return values
