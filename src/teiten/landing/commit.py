"""The ledger's side of a group commit: one transaction for many batches."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from teiten.foundation.clock import Clock, to_us
from teiten.landing import partitions, queries
from teiten.landing.database import AsyncDatabase
from teiten.landing.segments import Arrival, Written
from teiten.protocol.receipt import Receipt

#: Sensor, epoch, sequence.
Name = tuple[int, int, int]


class Ledger:
    """Enters batches; knows nothing of files but their names."""

    def __init__(self, database: AsyncDatabase, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._ensured: date | None = None

    async def prepare_day(self) -> None:
        """Make today's partition and the next ones, once a day."""
        today = self._clock.now().date()
        if self._ensured != today:
            async with self._database.use() as connection:
                await partitions.ensure_days(connection, today)
            self._ensured = today

    async def find_received(self, names: Sequence[Name]) -> dict[Name, tuple[bytes, bytes] | None]:
        """Find which numbers were received: digest and receipt, or None when these have expired."""
        async with self._database.use() as connection:
            rows = await connection.execute(queries.get("find_received"), _names(names), binary=True)
            return {
                (sensor, epoch, seq): None if digest is None else (digest, receipt)
                async for sensor, epoch, seq, digest, receipt in rows
            }

    async def enter(
        self, arrivals: Sequence[Arrival], written: Written, *, receipts: Sequence[bytes], landed_at: datetime
    ) -> set[Name]:
        """Enter a written group, and give the numbers that were new; the others changed nothing.

        Raises:
            LandingUnavailable: when the database fails; it may or may not have committed.
        """
        await self.prepare_day()
        names = _names([one.name for one in arrivals])
        async with self._database.use() as connection, connection.pipeline(), connection.transaction():
            await connection.execute(queries.get("add_sensors"), names)
            await connection.execute(queries.get("lock_sensors"), names)
            added = await connection.execute(
                queries.get("add_batches"), _rows(arrivals, written, receipts=receipts, landed_at=landed_at)
            )
            await connection.execute(
                queries.get("note_segment"),
                {"name": written.segment, "at": landed_at, "size_bytes": written.size_bytes},
            )
            await connection.execute(queries.get("notify"))
            return {(row[0], row[1], row[2]) for row in await added.fetchall()}

    async def close_segments(self, names: Sequence[str]) -> None:
        """Note segments that will never grow again."""
        if names:
            async with self._database.use() as connection:
                await connection.execute(
                    queries.get("close_segments"), {"names": list(names), "at": self._clock.now()}
                )

    async def add_alarm(self, sensor: int, kind: str, detail: str) -> None:
        async with self._database.use() as connection:
            await connection.execute(
                queries.get("add_alarm"),
                {"at": self._clock.now(), "sensor": sensor, "kind": kind, "detail": detail},
            )

    async def measure_backlog(self) -> tuple[int, int]:
        """Give how many batches and bytes wait for the loader."""
        async with self._database.use() as connection:
            row = await (await connection.execute(queries.get("measure_backlog"))).fetchone()
        return (row[0], row[1]) if row else (0, 0)


def receipt_of(arrival: Arrival, *, landed_at: datetime, key_id: str) -> Receipt:
    return Receipt(arrival.sensor, arrival.epoch, arrival.seq, arrival.digest, to_us(landed_at), key_id)


def _names(names: Sequence[Name]) -> dict[str, list[int]]:
    return {
        "sensors": [name[0] for name in names],
        "epochs": [name[1] for name in names],
        "seqs": [name[2] for name in names],
    }


def _rows(
    arrivals: Sequence[Arrival], written: Written, *, receipts: Sequence[bytes], landed_at: datetime
) -> dict[str, object]:
    return {
        **_names([one.name for one in arrivals]),
        "key_nos": [one.key_no for one in arrivals],
        "digests": [one.digest for one in arrivals],
        "seals": [one.seal for one in arrivals],
        "sizes": [len(one.body) for one in arrivals],
        "offsets": written.offsets,
        "receipts": list(receipts),
        "states": ["held" if one.held else "landed" for one in arrivals],
        "segment": written.segment,
        "landed_at": landed_at,
    }
