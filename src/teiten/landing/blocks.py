"""Load blocks: which batches go into the store together, settled before they go.

A block's members, their order and the versions of rules and places are committed
first; its id is the store's deduplication token. Whoever finds a block unfinished
gets exactly the same block again. A claim is held by a lease and, so that a killed
loader's block is free at once, by a session lock that dies with its connection.
Each claim has a higher attempt number than the one before, and only the newest may
finish the block: a loader stopped past its lease finds out that it lost it.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

from teiten.foundation.clock import Clock, to_us
from teiten.landing import metrics, queries
from teiten.landing.config import LandingConfig
from teiten.landing.database import Database
from teiten.landing.errors import LeaseLost
from teiten.landing.segments import SegmentReader, folder_of

#: Class of the advisory locks on blocks.
_LOCK_CLASS = 7_265_103
#: Bytes that a row takes in a batch at least; turns a hint in rows into bytes.
_BYTES_PER_ROW = 18


@dataclass(frozen=True)
class BlockLimits:
    """How much one block may hold; it holds at least one batch."""

    max_batches: int = 4_000
    max_bytes: int = 8 * 1024 * 1024
    #: Rows that a block should have; only a hint, because the ledger knows sizes alone.
    max_rows_hint: int | None = None

    @property
    def size_bytes(self) -> int:
        if self.max_rows_hint is None:
            return self.max_bytes
        return min(self.max_bytes, self.max_rows_hint * _BYTES_PER_ROW)


@dataclass(frozen=True)
class Member:
    """One batch of a block."""

    sensor: int
    key_no: int
    epoch: int
    seq: int
    digest: bytes
    seal: bytes
    landed_at_us: int
    size_bytes: int
    segment: str
    offset: int


@dataclass(frozen=True)
class Block:
    """A load block, claimed."""

    #: UUID text; the store's deduplication token.
    id: str
    rule_version: int
    place_version: str
    members: tuple[Member, ...]
    #: Which claim this is, from 1; above 1 an earlier one may have inserted already.
    attempts: int
    composed_at: datetime
    first_landed_at: datetime
    last_landed_at: datetime


@dataclass(frozen=True)
class Quarantine:
    """What is wrong with a member."""

    member: Member
    #: Stable text, as in ``ProtocolError.code``.
    code: str
    message: str


@dataclass(frozen=True)
class Quarantined:
    """A batch that was set aside."""

    sensor: int
    epoch: int
    seq: int
    landed_at: datetime
    size_bytes: int
    code: str
    message: str


@dataclass(frozen=True)
class Selector:
    """Which quarantined batches to give to the loader again; None narrows nothing."""

    sensor: int | None = None
    epoch: int | None = None
    seq: int | None = None
    code: str | None = None


@dataclass(frozen=True)
class Backlog:
    """What waits for the loader or is with it."""

    batches: int
    bytes: int
    oldest_landed_at: datetime | None


class BlockLedger:
    """The loader's side of the ledger. Calls may come from several threads; they take turns.

    Every call but :meth:`read` raises LandingUnavailable when the database does not answer.
    """

    def __init__(self, config: LandingConfig, dsn: str, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._database = Database(dsn, connect_seconds=config.connect_seconds)
        self._listener = Database(dsn, connect_seconds=config.connect_seconds)
        self._listening = 0
        self._reader = SegmentReader(folder_of(config))
        self._held: set[str] = set()
        self._session = 0

    def close(self) -> None:
        """End the connections; blocks that are still claimed are free for others."""
        self._held.clear()
        self._database.close()
        self._listener.close()
        self._reader.close()

    def compose(self, limits: BlockLimits, *, rule_version: int, place_version: str) -> Block | None:
        """Claim the oldest unfinished block, or compose one from what waits; None when nothing does."""
        with self._database.use() as connection:
            if self._session != self._database.sessions:
                # The session locks went with the old connection; its blocks are free for anybody.
                self._held.clear()
                self._session = self._database.sessions
            return self._claim_unfinished(connection) or self._compose_new(
                connection, limits, rule_version=rule_version, place_version=place_version
            )

    def read(self, member: Member) -> bytes:
        """Read a member's bytes.

        Raises:
            SegmentDamaged: when they are not what was receipted.
        """
        return self._reader.read(
            member.segment, member.offset, size_bytes=member.size_bytes, digest=member.digest
        )

    def renew(self, block: Block) -> None:
        """Give a sign of life.

        Raises:
            LeaseLost: when another loader has claimed the block.
        """
        with self._database.use() as connection:
            changed = connection.execute(
                queries.get("renew_block"), {**_claim(block), "lease_until": self._lease_end()}
            )
            self._require_claim(changed.rowcount, block)

    def mark_loaded(self, block: Block, *, rows: int, quarantined: Sequence[Quarantine] = ()) -> None:
        """Finish a block whose rows are in the store; repeats of it are refused from now on.

        Raises:
            LeaseLost: when another loader has claimed the block; it will finish it.
            LandingUnavailable: when the database does not answer; the block is still claimed.
        """
        with self._database.use() as connection:
            with connection.transaction():
                finished = connection.execute(
                    queries.get("finish_block"), {**_claim(block), "rows": rows, "at": self._clock.now()}
                )
                self._require_claim(finished.rowcount, block)
                aside = connection.execute(
                    queries.get("quarantine_members"), {**_span(block), **_reasons(quarantined)}
                )
                loaded = connection.execute(queries.get("finish_members"), _span(block))
                _require_all(
                    block,
                    aside.rowcount + loaded.rowcount,
                    are_listed=len(quarantined) == aside.rowcount,
                )
            self._let_go(connection, block.id)
        metrics.BLOCKS.labels("loaded").inc()

    def release(self, block: Block, error: str) -> None:
        """Give a block back unfinished; the next claim gets the same block.

        Raises:
            LandingUnavailable: when the database does not answer; then the session lock is gone too.
        """
        with self._database.use() as connection:
            connection.execute(
                queries.get("release_block"),
                {**_claim(block), "at": self._clock.now(), "error": error[:2000]},
            )
            self._let_go(connection, block.id)
        metrics.BLOCKS.labels("released").inc()

    def backlog(self) -> Backlog:
        """Measure what waits."""
        with self._database.use() as connection:
            row = connection.execute(queries.get("measure_backlog")).fetchone()
        return Backlog(*row) if row else Backlog(0, 0, None)

    def quarantined(self, limit: int = 1000) -> list[Quarantined]:
        """List batches that were set aside, newest first."""
        with self._database.use() as connection:
            return [
                Quarantined(*row)
                for row in connection.execute(queries.get("list_quarantined"), {"limit": limit})
            ]

    def requeue(self, selector: Selector) -> int:
        """Give quarantined batches to the loader again, and tell how many."""
        with self._database.use() as connection, connection.transaction():
            changed = connection.execute(queries.get("requeue"), asdict(selector))
            connection.execute(queries.get("notify"))
        return changed.rowcount

    def wait(self, timeout_seconds: float) -> bool:
        """Sleep until something lands or the time is over; tell whether something did."""
        with self._listener.use() as connection:
            if self._listening != self._listener.sessions:
                connection.execute("LISTEN teiten_landed")
                self._listening = self._listener.sessions
                # Something may have landed before we listened.
                return True
            return any(True for _ in connection.notifies(timeout=timeout_seconds, stop_after=1))

    def _claim_unfinished(self, connection: psycopg.Connection) -> Block | None:
        candidates = connection.execute(
            queries.get("find_unfinished_blocks"), {"held": sorted(self._held), "now": self._clock.now()}
        ).fetchall()
        for block_id, attempt, lease_until in candidates:
            is_free = self._take_lock(connection, str(block_id))
            if not is_free and lease_until > self._clock.now():
                continue
            row = connection.execute(
                queries.get("claim_block"),
                {"id": block_id, "attempt": attempt, "lease_until": self._lease_end()},
            ).fetchone()
            if row is not None:
                metrics.BLOCKS.labels("claimed_again").inc()
                return self._begin(connection, row)
            self._let_go(connection, str(block_id))
        return None

    def _begin(self, connection: psycopg.Connection, row: tuple[Any, ...]) -> Block:
        block_id, rule_version, place_version, attempt, composed_at, first, last = row
        self._held.add(str(block_id))
        members = connection.execute(
            queries.get("list_members"), {"id": block_id, "first_landed_at": first, "last_landed_at": last}
        ).fetchall()
        return Block(
            id=str(block_id),
            rule_version=rule_version,
            place_version=place_version,
            members=tuple(_member(one) for one in members),
            attempts=attempt,
            composed_at=composed_at,
            first_landed_at=first,
            last_landed_at=last,
        )

    def _compose_new(
        self, connection: psycopg.Connection, limits: BlockLimits, *, rule_version: int, place_version: str
    ) -> Block | None:
        with connection.transaction():
            waiting = connection.execute(
                queries.get("choose_waiting"), {"max_batches": limits.max_batches}
            ).fetchall()
            members = _take_prefix([_member(row) for row in waiting], limits.size_bytes)
            if not members:
                return None
            landed_ats = [row[6] for row in waiting[: len(members)]]
            block = Block(
                id=str(uuid.uuid4()),
                rule_version=rule_version,
                place_version=place_version,
                members=members,
                attempts=1,
                composed_at=self._clock.now(),
                first_landed_at=landed_ats[0],
                last_landed_at=landed_ats[-1],
            )
            self._take_lock(connection, block.id)
            self._enter(connection, block, landed_ats)
        self._held.add(block.id)
        metrics.BLOCKS.labels("composed").inc()
        return block

    def _enter(self, connection: psycopg.Connection, block: Block, landed_ats: list[datetime]) -> None:
        connection.execute(
            queries.get("add_block"),
            {
                **_span(block),
                "rule_version": block.rule_version,
                "place_version": block.place_version,
                "batches": len(block.members),
                "size_bytes": sum(one.size_bytes for one in block.members),
                "lease_until": self._lease_end(),
                "composed_at": block.composed_at,
            },
        )
        assigned = connection.execute(
            queries.get("assign_members"),
            {
                **_span(block),
                "landed_ats": landed_ats,
                "sensors": [one.sensor for one in block.members],
                "epochs": [one.epoch for one in block.members],
                "seqs": [one.seq for one in block.members],
            },
        )
        _require_all(block, assigned.rowcount, are_listed=True)

    def _take_lock(self, connection: psycopg.Connection, block_id: str) -> bool:
        row = connection.execute(
            "SELECT pg_try_advisory_lock(%s, hashtext(%s))", [_LOCK_CLASS, block_id]
        ).fetchone()
        return bool(row and row[0])

    def _let_go(self, connection: psycopg.Connection, block_id: str) -> None:
        self._held.discard(block_id)
        connection.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", [_LOCK_CLASS, block_id])

    def _lease_end(self) -> datetime:
        return self._clock.now() + timedelta(seconds=self._config.lease_seconds)

    def _require_claim(self, changed: int, block: Block) -> None:
        if changed != 1:
            self._held.discard(block.id)
            metrics.BLOCKS.labels("lease_lost").inc()
            raise LeaseLost(f"block {block.id}: claim {block.attempts} is not the newest, or it is finished")


def _take_prefix(members: list[Member], size_bytes: int) -> tuple[Member, ...]:
    taken = 0
    for count, member in enumerate(members):
        taken += member.size_bytes
        if taken > size_bytes and count > 0:
            return tuple(members[:count])
    return tuple(members)


def _member(row: tuple[Any, ...]) -> Member:
    sensor, key_no, epoch, seq, digest, seal, landed_at, size_bytes, segment, offset = row
    return Member(sensor, key_no, epoch, seq, digest, seal, to_us(landed_at), size_bytes, segment, offset)


def _claim(block: Block) -> dict[str, object]:
    return {"id": block.id, "attempt": block.attempts}


def _span(block: Block) -> dict[str, object]:
    return {"id": block.id, "first_landed_at": block.first_landed_at, "last_landed_at": block.last_landed_at}


def _reasons(quarantined: Sequence[Quarantine]) -> dict[str, object]:
    return {
        "sensors": [one.member.sensor for one in quarantined],
        "epochs": [one.member.epoch for one in quarantined],
        "seqs": [one.member.seq for one in quarantined],
        "codes": [one.code for one in quarantined],
        "reasons": [one.message[:2000] for one in quarantined],
    }


def _require_all(block: Block, changed: int, *, are_listed: bool) -> None:
    if changed != len(block.members) or not are_listed:
        raise LeaseLost(f"block {block.id}: the ledger changed {changed} of {len(block.members)} members")
