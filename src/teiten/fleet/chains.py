"""Sensors' own audit chains, as their heartbeats tell of them: they only ever grow.

A chain that goes back, or has another head at the same length, was cut, put back from
an image, or is kept by two machines. A new epoch begins a new chain.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction

from teiten.fleet import journal
from teiten.fleet.models import SensorEventKind
from teiten.protocol.heartbeat import ChainHead

_ADOPT = """
UPDATE fleet_commands_sensorchain SET records = %(records)s, head = %(head)s, at = %(at)s
WHERE sensor_id = %(sensor)s AND epoch = %(epoch)s AND records = %(known)s
"""


@dataclass(frozen=True)
class ChainBreak:
    """A head that does not follow from the one before."""

    epoch: int
    known: ChainHead
    #: None: the sensor tells of no chain any more.
    said: ChainHead | None

    @property
    def why(self) -> str:
        if self.said is None:
            return "gone"
        return "forked" if self.said.count == self.known.count else "went_back"


def find_break(
    epoch: int, said: ChainHead | None, *, known_epoch: int, known: ChainHead
) -> ChainBreak | None:
    """Compare what a sensor says with what it said before; None when it may be."""
    if known_epoch != epoch or known.count == 0:
        return None
    if said is None or said.count < known.count:
        return ChainBreak(epoch, known, said)
    if said.count == known.count and said.head != known.head:
        return ChainBreak(epoch, known, said)
    return None


def note_break(sensor: int, broken: ChainBreak, *, now: datetime) -> None:
    """Raise the alarm, and go on from what the sensor says: each step back is told once."""
    said = broken.said or ChainHead(0, bytes(32))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            _ADOPT,
            {
                "sensor": sensor,
                "epoch": broken.epoch,
                "known": broken.known.count,
                "records": said.count,
                "head": said.head,
                "at": now,
            },
        )
        if cursor.rowcount:
            journal.record_often(
                SensorEventKind.CHAIN_BROKEN,
                sensor,
                at=now,
                why=broken.why,
                records=said.count,
                head=said.head.hex(),
                known_records=broken.known.count,
                known_head=broken.known.head.hex(),
            )
