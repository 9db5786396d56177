"""The landing log: batches become durable, then receipted, never the other way round.

Arrivals that come while a group is being committed form the next group. A group
costs one write, one fdatasync and one transaction, however many batches it has:

1. numbers that are in the ledger already are answered with their stored receipt;
2. the bodies are appended to the segment and synced;
3. one transaction locks the sensors' intervals, enters what is new, grows them;
4. the receipts are given out.

A crash before 3 leaves bytes that no row points at; the sender tries again. After
3 it gets the stored receipt. So a receipted batch can be read back, and none is
entered twice, whenever the process dies.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.foundation.clock import Clock
from teiten.foundation.logs import OncePer
from teiten.landing import metrics, segments
from teiten.landing.commit import Ledger
from teiten.landing.config import LandingConfig
from teiten.landing.database import AsyncDatabase
from teiten.landing.errors import LandingClosed, LandingError, LandingUnavailable, SequenceConflict
from teiten.landing.groups import GroupCommit, Landed, Waiter
from teiten.landing.pressure import Pressure
from teiten.landing.segments import Arrival, SegmentWriter

_log = logging.getLogger(__name__)

#: One alarm a sensor in this time; the counters show how often.
_ALARM_SECONDS = 600.0


def pass_point(point: str) -> None:
    """Stand where tests kill the process."""


class LandingLog:
    """Lands batches and issues receipts; one for each process and event loop."""

    def __init__(
        self,
        config: LandingConfig,
        dsn: str,
        clock: Clock,
        *,
        signing_key: Ed25519PrivateKey,
        at: Callable[[str], None] = pass_point,
    ) -> None:
        """Build inert; :meth:`start` does the work.

        Args:
            config: with ``folder`` set.
            dsn: PostgreSQL with migrations applied (``landing.migrations.migrate``).
            clock: gives ``landed_at``.
            signing_key: the gateway's, for receipts.
            at: called at the points ``written``, ``synced``, ``committed`` and ``answering``.
        """
        self._config = config
        self._clock = clock
        self._signing_key = signing_key
        self._at = at
        self._database = AsyncDatabase(dsn, connect_seconds=config.connect_seconds)
        self._ledger = Ledger(self._database, clock)
        self._pressure = Pressure(config, dsn, clock)
        self._waiting: deque[Waiter] = deque()
        self._wake = asyncio.Event()
        self._once = OncePer(10.0)
        self._alarm_once = OncePer(_ALARM_SECONDS)
        self._is_open = False
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Make the folder and begin to commit.

        Raises:
            LandingError: when the folder cannot be made.
        """
        segments.prepare_folder(segments.folder_of(self._config))
        self._writer = SegmentWriter(self._config, self._clock, self._at)
        # One thread: the writer is not for sharing.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="landing")
        self._commit = GroupCommit(
            self._ledger,
            self._writer,
            thread=self._thread,
            signing_key=self._signing_key,
            clock=self._clock,
            at=self._at,
            retry_seconds=self._config.retry_seconds,
        )
        await self._pressure.look()
        self._is_open = True
        self._tasks = [
            asyncio.create_task(self._commit_groups(), name="landing-commit"),
            asyncio.create_task(self._pressure.watch(), name="landing-pressure"),
        ]

    async def stop(self) -> None:
        """Commit what has arrived, then close the segment."""
        if not self._is_open:
            return
        self._is_open = False
        self._wake.set()
        commit, watch = self._tasks
        await commit
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        self._writer.close()
        try:
            await self._ledger.close_segments(self._writer.closed)
        except LandingUnavailable as error:
            _log.warning("closed segments could not be noted", extra={"reason": str(error)})
        await self._database.close()
        await self._pressure.close()
        self._thread.shutdown()

    async def append(self, arrival: Arrival) -> bytes:
        """Make a batch durable and give its receipt; a repeat gets the same bytes.

        Raises:
            SequenceConflict: the number was received with another digest.
            ReceiptExpired: it was received, but its receipt is no longer kept.
            LandingFull: no room, or the loader is far behind; nothing was stored.
            LandingUnavailable: the database does not answer.
            LandingClosed: landing is not started, or stopping.
        """
        return (await self.land(arrival)).receipt

    async def land(self, arrival: Arrival) -> Landed:
        """Do as :meth:`append`, and tell whether the batch is new."""
        if not self._is_open:
            raise LandingClosed("landing is not open; come back later")
        self._pressure.check()
        waiter = Waiter(arrival)
        self._waiting.append(waiter)
        self._wake.set()
        try:
            return await waiter.answer
        except SequenceConflict as conflict:
            if self._alarm_once.is_due(str(arrival.sensor), self._clock.monotonic()):
                await self.add_alarm(arrival.sensor, "sequence_conflict", str(conflict))
            raise

    async def find_trouble(self) -> str | None:
        """Say in a sentence why nothing can land now, or None."""
        try:
            if not self._is_open:
                raise LandingClosed("landing is not open")
            self._pressure.check()
            async with self._database.use() as connection:
                await connection.execute("SELECT 1")
        except LandingError as error:
            return str(error)
        return None

    async def add_alarm(self, sensor: int, kind: str, detail: str) -> None:
        """Keep an alarm about a sensor; when even that fails, log it.

        Args:
            sensor: its number.
            kind: a word such as ``sequence_conflict``.
            detail: a sentence.
        """
        metrics.ALARMS.labels(kind).inc()
        _log.warning("alarm", extra={"sensor": sensor, "kind": kind, "detail": detail})
        try:
            await self._ledger.add_alarm(sensor, kind, detail)
        except LandingUnavailable as error:
            _log.error(
                "an alarm could not be kept", extra={"sensor": sensor, "kind": kind, "reason": str(error)}
            )

    async def _commit_groups(self) -> None:
        while self._is_open or self._waiting:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._commit_group(self._take_group())

    async def _commit_group(self, group: list[Waiter]) -> None:
        metrics.GROUP.observe(len(group))
        try:
            with metrics.COMMIT_SECONDS.time():
                await self._commit.commit(group)
        except OSError as error:
            self._pressure.note_disk_error(error)
            self._refuse(group, error)
        except LandingUnavailable as error:
            self._refuse(group, error)
        except Exception as error:  # noqa: BLE001  the commit task is a process boundary: one bad group must not end it
            _log.exception("a group could not be committed", extra={"batches": len(group)})
            self._commit.refuse(group, LandingUnavailable(f"landing failed: {type(error).__name__}"))

    def _refuse(self, group: list[Waiter], error: OSError | LandingUnavailable) -> None:
        if self._once.is_due(type(error).__name__, self._clock.monotonic()):
            _log.error("a group could not be committed", extra={"batches": len(group), "reason": str(error)})
        self._commit.refuse(group, error)

    def _take_group(self) -> list[Waiter]:
        group = [self._waiting.popleft()]
        size_bytes = len(group[0].arrival.body)
        while self._waiting and len(group) < self._config.group_batches:
            size_bytes += len(self._waiting[0].arrival.body)
            if size_bytes > self._config.group_bytes:
                break
            group.append(self._waiting.popleft())
        return group
