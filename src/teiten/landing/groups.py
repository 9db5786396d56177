"""One group commit: many arrivals, one sync of the segment, one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.foundation.clock import Clock
from teiten.landing import metrics
from teiten.landing.commit import Ledger, Name, receipt_of
from teiten.landing.errors import (
    LandingError,
    LandingFull,
    LandingUnavailable,
    ReceiptExpired,
    SequenceConflict,
)
from teiten.landing.segments import Arrival, SegmentWriter, Written
from teiten.protocol import keys, receipt

#: Digest and receipt that the ledger has for a number; None when they have expired.
Known = dict[Name, "tuple[bytes, bytes] | None"]


class Landed(NamedTuple):
    """A receipt, and whether this attempt made the batch land."""

    receipt: bytes
    is_new: bool


class Waiter:
    """One arrival and whoever waits for its receipt."""

    def __init__(self, arrival: Arrival) -> None:
        self.arrival = arrival
        self.answer: asyncio.Future[Landed] = asyncio.get_running_loop().create_future()

    def give(self, landed: Landed) -> None:
        # The connection may have gone away meanwhile; the batch has landed all the same.
        if not self.answer.done():
            metrics.BATCHES.labels("new" if landed.is_new else "repeat").inc()
            self.answer.set_result(landed)

    def fail(self, error: LandingError) -> None:
        if not self.answer.done():
            metrics.BATCHES.labels(type(error).__name__).inc()
            self.answer.set_exception(error)


class GroupCommit:
    """Commits groups one after the other."""

    def __init__(
        self,
        ledger: Ledger,
        writer: SegmentWriter,
        *,
        thread: ThreadPoolExecutor,
        signing_key: Ed25519PrivateKey,
        clock: Clock,
        at: Callable[[str], None],
        retry_seconds: int,
    ) -> None:
        self._ledger = ledger
        self._writer = writer
        self._thread = thread
        self._key = signing_key
        self._key_id = keys.gateway_key_id(keys.public_bytes(signing_key))
        self._clock = clock
        self._at = at
        self._retry_seconds = retry_seconds

    async def commit(self, group: Sequence[Waiter]) -> None:
        """Land a group and answer every waiter in it.

        Raises:
            LandingUnavailable: when the database failed; the caller fails the waiters.
            OSError: when the disk failed; likewise.
        """
        known = await self._ledger.find_received([one.arrival.name for one in group])
        fresh: dict[Name, Waiter] = {}
        repeats: list[Waiter] = []
        for waiter in group:
            if waiter.arrival.name in known:
                self._answer_known(waiter, known)
            elif waiter.arrival.name in fresh:
                repeats.append(waiter)
            else:
                fresh[waiter.arrival.name] = waiter
        if not fresh:
            return
        receipts = await self._land(list(fresh.values()))
        self._at("answering")
        for waiter in fresh.values():
            if waiter.arrival.name in receipts:
                waiter.give(Landed(receipts[waiter.arrival.name][1], is_new=True))
        await self._answer_late(
            [*repeats, *(one for one in fresh.values() if not one.answer.done())], receipts
        )

    async def _land(self, fresh: list[Waiter]) -> dict[Name, tuple[bytes, bytes]]:
        """Write and enter; give digest and receipt of what this call made land."""
        await self._ledger.prepare_day()
        arrivals = [one.arrival for one in fresh]
        written = await self._write(arrivals)
        landed_at = self._clock.now()
        receipts = [
            receipt.issue(self._key, receipt_of(one, landed_at=landed_at, key_id=self._key_id))
            for one in arrivals
        ]
        entered = await self._ledger.enter(arrivals, written, receipts=receipts, landed_at=landed_at)
        self._at("committed")
        closed, self._writer.closed = self._writer.closed, []
        await self._note_closed(closed)
        metrics.BYTES.inc(sum(len(one.body) for one in arrivals if one.name in entered))
        return {
            one.name: (one.digest, text)
            for one, text in zip(arrivals, receipts, strict=True)
            if one.name in entered
        }

    async def _write(self, arrivals: Sequence[Arrival]) -> Written:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._writer.write, arrivals)

    async def _note_closed(self, names: list[str]) -> None:
        try:
            await self._ledger.close_segments(names)
        except LandingUnavailable:
            # What has landed has landed; the next group notes them.
            self._writer.closed += names

    async def _answer_late(self, waiters: list[Waiter], receipts: dict[Name, tuple[bytes, bytes]]) -> None:
        """Answer those whose number this group, or another process meanwhile, has taken."""
        known: Known = dict(receipts)
        missing = [one.arrival.name for one in waiters if one.arrival.name not in known]
        if missing:
            known.update(await self._ledger.find_received(missing))
        for waiter in waiters:
            self._answer_known(waiter, known)

    def _answer_known(self, waiter: Waiter, known: Known) -> None:
        sensor, epoch, seq = waiter.arrival.name
        if waiter.arrival.name not in known:
            # Neither entered nor found: somebody changed the ledger under us. Never call that received.
            waiter.fail(LandingUnavailable(f"batch {seq} of sensor {sensor} is not in the ledger; try again"))
            return
        stored = known[waiter.arrival.name]
        if stored is None:
            waiter.fail(
                ReceiptExpired(
                    f"batch {seq} of sensor {sensor}, epoch {epoch}, was received long ago; forget it"
                )
            )
        elif stored[0] == waiter.arrival.digest:
            waiter.give(Landed(stored[1], is_new=False))
        else:
            waiter.fail(
                SequenceConflict(
                    f"batch {seq} of sensor {sensor}, epoch {epoch}, was received with another digest"
                )
            )

    def refuse(self, group: Sequence[Waiter], error: LandingUnavailable | OSError) -> None:
        """Answer everybody that is still waiting with what went wrong."""
        for waiter in group:
            if isinstance(error, OSError):
                text = f"the disk refuses to write: {error.strerror}"
                waiter.fail(LandingFull(text, retry_after_seconds=self._retry_seconds))
            else:
                waiter.fail(LandingUnavailable(str(error)))
