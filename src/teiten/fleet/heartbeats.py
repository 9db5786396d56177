"""Record heartbeats, many in one statement, and see what they tell.

The counter is the guard against replays: a row changes only when the counter
grows. Packets captured and dropped are also kept as sums that fade with a quarter
of an hour, so that a state follows what happens now and not what happened since
the start.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from teiten.fleet import chains, journal, services
from teiten.fleet.chains import ChainBreak
from teiten.fleet.models import SensorEventKind
from teiten.fleet.stated import NOTHING_KEY, Stated, read_stated
from teiten.protocol.heartbeat import NO_BOOT, ChainHead, Heartbeat
from teiten.protocol.sensor_config import SensorConfig

FADE_SECONDS = 900

_NOTE = """
WITH beat AS (
    SELECT * FROM unnest(
        %(sensor)s::bigint[], %(at)s::timestamptz[], %(counter)s::bigint[], %(boot_id)s::text[],
        %(software)s::text[], %(offset)s::bigint[], %(captured)s::bigint[], %(drops)s::bigint[],
        %(batches)s::bigint[], %(bytes)s::bigint[], %(error)s::text[], %(peer)s::inet[], %(report)s::jsonb[],
        %(records)s::bigint[], %(head)s::bytea[], %(disk)s::bigint[], %(ring)s::smallint[], %(release)s::integer[],
        %(update_state)s::text[], %(update_detail)s::text[]
    ) AS t (
        sensor, at, counter, boot_id, software, clock_offset, captured, drops, batches, bytes, error, peer, report,
        records, head, disk, ring, release, update_state, update_detail
    )
), earlier AS MATERIALIZED (
    SELECT h.sensor_id, h.counter, h.boot_id, h.previous_boot_id, h.silent_since, h.heartbeat_at, h.address_key,
        h.address_due_at
    FROM fleet_sensorhealth AS h JOIN beat ON beat.sensor = h.sensor_id
), noted AS (
    INSERT INTO fleet_sensorhealth AS h (
        sensor_id, heartbeat_at, counter, boot_id, previous_boot_id, booted_at, software, clock_offset_us,
        captured, kernel_drops, recent_captured, recent_drops, spool_batches, spool_bytes, silent_since,
        last_error, peer, report, disk_free_bytes, ring_fill_permille, release, update_state, update_detail
    )
    SELECT sensor, at, counter, boot_id, '', at, software, clock_offset, captured, drops, captured, drops,
        batches, bytes, NULL, error, peer, report, disk, ring, release, update_state, update_detail
    FROM beat ORDER BY sensor
    ON CONFLICT (sensor_id) DO UPDATE SET
        heartbeat_at = excluded.heartbeat_at,
        counter = excluded.counter,
        -- Without a recording process there is no boot of it to tell apart.
        boot_id = CASE WHEN excluded.boot_id = %(no_boot)s THEN h.boot_id ELSE excluded.boot_id END,
        previous_boot_id = CASE WHEN excluded.boot_id IN (h.boot_id, %(no_boot)s) THEN h.previous_boot_id
            ELSE h.boot_id END,
        booted_at = CASE WHEN h.boot_id = excluded.boot_id THEN h.booted_at ELSE excluded.booted_at END,
        software = excluded.software,
        clock_offset_us = excluded.clock_offset_us,
        captured = excluded.captured,
        kernel_drops = excluded.kernel_drops,
        recent_captured = h.recent_captured * exp(-least(greatest(
                extract(epoch FROM excluded.heartbeat_at - h.heartbeat_at), 0) / %(fade)s, 100))
            + greatest(excluded.captured - CASE WHEN h.boot_id = excluded.boot_id THEN h.captured ELSE 0 END, 0),
        recent_drops = h.recent_drops * exp(-least(greatest(
                extract(epoch FROM excluded.heartbeat_at - h.heartbeat_at), 0) / %(fade)s, 100))
            + greatest(excluded.kernel_drops
                - CASE WHEN h.boot_id = excluded.boot_id THEN h.kernel_drops ELSE 0 END, 0),
        spool_batches = excluded.spool_batches,
        spool_bytes = excluded.spool_bytes,
        silent_since = NULL,
        last_error = excluded.last_error,
        peer = excluded.peer,
        report = excluded.report,
        disk_free_bytes = excluded.disk_free_bytes,
        ring_fill_permille = excluded.ring_fill_permille,
        release = excluded.release,
        update_state = excluded.update_state,
        update_detail = excluded.update_detail
    WHERE h.counter < excluded.counter
    RETURNING h.sensor_id
), grown AS (
    INSERT INTO fleet_commands_sensorchain AS c (sensor_id, epoch, records, head, at)
    SELECT beat.sensor, s.epoch, beat.records, beat.head, beat.at
    FROM beat JOIN noted ON noted.sensor_id = beat.sensor JOIN fleet_sensor AS s ON s.id = beat.sensor
    LEFT JOIN fleet_commands_sensorchain AS k ON k.sensor_id = beat.sensor
    WHERE beat.records IS NOT NULL
        AND (k.sensor_id IS NULL OR k.epoch < s.epoch OR (k.epoch = s.epoch AND k.records < beat.records))
    ORDER BY beat.sensor
    ON CONFLICT (sensor_id) DO UPDATE SET
        epoch = excluded.epoch, records = excluded.records, head = excluded.head, at = excluded.at
    WHERE c.epoch < excluded.epoch OR (c.epoch = excluded.epoch AND c.records < excluded.records)
)
SELECT beat.sensor, noted.sensor_id IS NOT NULL, earlier.counter, earlier.boot_id, earlier.previous_boot_id,
    earlier.silent_since, earlier.heartbeat_at, earlier.address_key, earlier.address_due_at, s.epoch, chain.epoch, chain.records, chain.head, owed.commands, owed.release,
    s.config_version, s.live, s.window_seconds, s.payload_bytes, s.examples_per_window
FROM beat
JOIN fleet_sensor AS s ON s.id = beat.sensor
LEFT JOIN noted ON noted.sensor_id = beat.sensor
LEFT JOIN earlier ON earlier.sensor_id = beat.sensor
LEFT JOIN fleet_commands_sensorchain AS chain ON chain.sensor_id = beat.sensor
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE t.kind = 'command') AS commands, max(t.release) AS release
    FROM fleet_rollouts_rollouttarget AS t
    WHERE t.sensor_id = beat.sensor AND t.state IN ('released', 'fetched')
) AS owed
"""


@dataclass(frozen=True)
class Beat:
    """A heartbeat on its way into the database."""

    sensor: int
    at: datetime
    peer: str
    said: Heartbeat


@dataclass(frozen=True)
class Noted:
    """What became of a heartbeat, and what it tells."""

    #: False: the counter did not grow, nothing was written.
    is_new: bool
    last_counter: int
    #: The sensor's process was started again.
    is_restarted: bool
    #: Two machines speak with one key: a boot id that had been left came back, or a counter
    #: that does not grow comes with a boot id never heard of (a replay brings a known one).
    is_cloned: bool
    silent_since: datetime | None
    config: SensorConfig
    #: The heartbeat before this one.
    heard_at: datetime | None = None
    #: What it tells of public addresses, where that is not recorded yet.
    unsettled: Stated | None = None
    #: Its own audit chain does not follow from what it was.
    chain_break: ChainBreak | None = None
    #: Commands released to it and not answered.
    commands_pending: int = 0
    #: Newest release that it may take and does not run yet.
    release: int | None = None

    @property
    def is_remarkable(self) -> bool:
        """Tell whether the sensor's history grows."""
        return (
            self.is_restarted
            or self.is_cloned
            or self.silent_since is not None
            or self.chain_break is not None
        )


async def note_beats(
    connection: psycopg.AsyncConnection[tuple[Any, ...]], beats: Sequence[Beat]
) -> list[Noted]:
    """Write heartbeats of different sensors; gives what became of each, in order."""
    rows = await (await connection.execute(_NOTE, _columns_of(beats), prepare=True)).fetchall()
    by_sensor = {row[0]: row for row in rows}
    return [_read(by_sensor[beat.sensor], beat) for beat in beats]


def write_history(sensor: int, beat: Heartbeat, noted: Noted, *, now: datetime) -> None:
    """Write what a heartbeat told into the sensor's history (in a thread: it uses Django)."""
    if noted.silent_since is not None:
        journal.record_often(
            SensorEventKind.HEARD_AGAIN, sensor, at=now, silent_since=noted.silent_since.isoformat()
        )
    if noted.chain_break is not None:
        chains.note_break(sensor, noted.chain_break, now=now)
    if noted.is_cloned:
        services.quarantine_sensor(
            sensor, at=now, why=_explain_clone(noted), boot_id=beat.boot_id, counter=beat.counter
        )
    elif noted.is_restarted:
        journal.record_often(
            SensorEventKind.RESTARTED, sensor, at=now, boot_id=beat.boot_id, software=beat.software
        )


def _explain_clone(noted: Noted) -> str:
    if noted.is_new:
        return "a boot id that had been left came back"
    return "a counter that had been passed came with a boot id never heard of"


def _read(row: tuple[Any, ...], beat: Beat) -> Noted:
    _, is_new, counter, boot_id, previous_boot_id, silent_since, heard_at, key, due_at, *rest = row
    *chain, commands_pending, release = rest[:6]
    stated = read_stated(beat.said, address_of(beat.peer))
    is_settled = stated.key == (key or NOTHING_KEY) and (due_at is None or beat.at < due_at)
    moved = boot_id not in (None, "", beat.said.boot_id) and beat.said.boot_id != NO_BOOT
    is_known = previous_boot_id == beat.said.boot_id
    return Noted(
        is_new=is_new,
        last_counter=counter or 0,
        is_restarted=is_new and moved,
        is_cloned=moved and is_known == is_new,
        silent_since=silent_since if is_new else None,
        config=SensorConfig(*rest[6:]),
        heard_at=heard_at,
        unsettled=None if is_settled or not is_new else stated,
        chain_break=_find_chain_break(beat.said, *chain) if is_new else None,
        commands_pending=commands_pending,
        release=release,
    )


def _find_chain_break(
    said: Heartbeat, epoch: int, known_epoch: int | None, records: int, head: bytes
) -> ChainBreak | None:
    if known_epoch is None:
        return None
    known = ChainHead(records, bytes(head))
    return chains.find_break(epoch, said.audit, known_epoch=known_epoch, known=known)


def _columns_of(beats: Sequence[Beat]) -> dict[str, Any]:
    said = [beat.said for beat in beats]
    return {
        "sensor": [beat.sensor for beat in beats],
        "at": [beat.at for beat in beats],
        "peer": [address_of(beat.peer) for beat in beats],
        "counter": [one.counter for one in said],
        "boot_id": [one.boot_id for one in said],
        "software": [one.software for one in said],
        "offset": [one.clock_offset_us for one in said],
        "captured": [one.captured for one in said],
        "drops": [one.kernel_drops for one in said],
        "batches": [one.spool_batches for one in said],
        "bytes": [one.spool_bytes for one in said],
        "error": [one.last_error for one in said],
        "records": [None if one.audit is None else one.audit.count for one in said],
        "head": [None if one.audit is None else one.audit.head for one in said],
        "disk": [one.disk_free_bytes for one in said],
        "ring": [one.ring_fill_permille for one in said],
        "release": [None if one.update is None else one.update.release or None for one in said],
        "update_state": ["" if one.update is None else one.update.state for one in said],
        "update_detail": ["" if one.update is None else one.update.detail for one in said],
        "report": [one.to_json().decode() for one in said],
        "fade": FADE_SECONDS,
        "no_boot": NO_BOOT,
    }


def address_of(peer: str) -> str | None:
    """Give the peer as an address, an IPv4-mapped one as IPv4; None when it is none."""
    try:
        parsed = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or parsed)
