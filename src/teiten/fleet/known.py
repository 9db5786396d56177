"""What is known of every sensor, in one statement however many there are: 10,000 of them in a fraction of a second.

A screen of all sensors needs little of each (:class:`Brief`), a list of some of them everything (:class:`Known`).
Instants stay microseconds until somebody asks for one: most are never looked at.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection

from teiten.fleet.landing_facts import RECENT, has_landing
from teiten.foundation.clock import from_us

_SENSORS = """
SELECT {columns}
FROM fleet_sensor AS s
JOIN accounts_organisation AS o ON o.id = s.organisation_id
LEFT JOIN fleet_sensorhealth AS h ON h.sensor_id = s.id
{chains}
LEFT JOIN (
    SELECT DISTINCT sensor_id FROM fleet_maintenance WHERE start_at <= %(now)s AND end_at > %(now)s
) AS planned ON planned.sensor_id = s.id
{joins}
WHERE (%(dataset)s::text IS NULL OR s.dataset = %(dataset)s)
AND (%(sensors)s::bigint[] IS NULL OR s.id = ANY(%(sensors)s))
ORDER BY s.id
"""
_CHAINS = "LEFT JOIN fleet_commands_sensorchain AS c ON c.sensor_id = s.id"
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
_COLUMNS = {
    "id": "s.id",
    "name": "s.name",
    "organisation_id": "s.organisation_id",
    "organisation": "o.code",
    "region": "s.region_id",
    "dataset": "s.dataset",
    "standing": "s.state",
    "by_host": "s.stopped_by = 'host'",
    "enrolled_us": _MICROSECONDS.format("s.enrolled_at"),
    "heartbeat_us": _MICROSECONDS.format("h.heartbeat_at"),
    "booted_us": _MICROSECONDS.format("h.booted_at"),
    "software": "coalesce(h.software, '')",
    "clock_offset_us": "h.clock_offset_us",
    "captured": "coalesce(h.captured, 0)",
    "kernel_drops": "coalesce(h.kernel_drops, 0)",
    "recent_captured": "coalesce(h.recent_captured, 0)",
    "recent_drops": "coalesce(h.recent_drops, 0)",
    "spool_batches": "coalesce(h.spool_batches, 0)",
    "spool_bytes": "coalesce(h.spool_bytes, 0)",
    "last_error": "coalesce(h.last_error, '')",
    "disk_free_bytes": "h.disk_free_bytes",
    "ring_fill_permille": "h.ring_fill_permille",
    "release": "h.release",
    "update_state": "coalesce(h.update_state, '')",
    "update_detail": "coalesce(h.update_detail, '')",
    "audit_records": "coalesce(c.records, 0)",
    "audit_head": "coalesce(c.head, ''::bytea)",
    "is_planned": "planned.sensor_id IS NOT NULL",
    "last_batch_us": _MICROSECONDS.format("last.at"),
    "missing_batches": "coalesce(holes.missing, 0)",
}
#: What stands in the place of a column while no gateway has ever prepared its ledger.
_WITHOUT_LEDGER = {"last_batch_us": "NULL::bigint", "missing_batches": "0"}


class Brief(NamedTuple):
    """One sensor with what its state rests on, and by what it is found."""

    id: int
    name: str
    organisation_id: int
    #: Code of the organisation that houses it.
    organisation: str
    region: str
    #: The state of its row.
    standing: str
    by_host: bool
    enrolled_us: int | None
    heartbeat_us: int | None
    software: str
    clock_offset_us: int | None
    recent_captured: float
    recent_drops: float
    disk_free_bytes: int | None
    ring_fill_permille: int | None
    update_state: str
    #: Maintenance is planned for now.
    is_planned: bool
    missing_batches: int

    @property
    def enrolled_at(self) -> datetime | None:
        return _instant(self.enrolled_us)

    @property
    def heartbeat_at(self) -> datetime | None:
        return _instant(self.heartbeat_us)


class Known(NamedTuple):
    """One sensor with all that is known of it."""

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
    enrolled_us: int | None
    heartbeat_us: int | None
    booted_us: int | None
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
    last_batch_us: int | None
    missing_batches: int

    @property
    def enrolled_at(self) -> datetime | None:
        return _instant(self.enrolled_us)

    @property
    def heartbeat_at(self) -> datetime | None:
        return _instant(self.heartbeat_us)

    @property
    def booted_at(self) -> datetime | None:
        return _instant(self.booted_us)

    @property
    def last_batch_at(self) -> datetime | None:
        return _instant(self.last_batch_us)


def read_known(
    *, now: datetime, dataset: str | None = None, sensors: Collection[int] | None = None
) -> list[Known]:
    """Give sensors by number: of one data set or all, every one or only those named."""
    return [Known._make(row) for row in _read(Known._fields, now=now, dataset=dataset, sensors=sensors)]


def read_briefs(*, now: datetime, dataset: str | None = None) -> list[Brief]:
    """Give every sensor by number, of one data set or all, with little of each."""
    return [Brief._make(row) for row in _read(Brief._fields, now=now, dataset=dataset, sensors=None)]


def _read(
    names: Collection[str], *, now: datetime, dataset: str | None, sensors: Collection[int] | None
) -> list[tuple[Any, ...]]:
    has_ledger = has_landing()
    columns = _COLUMNS if has_ledger else _COLUMNS | _WITHOUT_LEDGER
    statement = _SENSORS.format(
        columns=", ".join(columns[name] for name in names),
        chains=_CHAINS if "audit_head" in names else "",
        joins=_LANDED if has_ledger else "",
    )
    # What is no number of the database is nobody's.
    wanted = None if sensors is None else [number for number in sensors if 0 < number < 1 << 63]
    with connection.cursor() as cursor:
        cursor.execute(statement, {"now": now, "since": now - RECENT, "dataset": dataset, "sensors": wanted})
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def _instant(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else from_us(microseconds)
