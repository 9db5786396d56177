"""Seals closed windows into the spool, in its own thread, so that capture never waits for a disk.

A window that the disk refuses is kept in memory and tried again; beyond
``MAX_HELD_ROWS`` the oldest is given up: its number gets a tombstone.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable

from teiten.foundation.clock import Clock
from teiten.foundation.logs import OncePer
from teiten.protocol.errors import BatchError
from teiten.protocol.header import LostBatch
from teiten.sensor import column_sets
from teiten.sensor.errors import SpoolFullError, StateError
from teiten.sensor.sealing import BatchDraft, SealedBatch, SealingIdentity, seal_batch
from teiten.sensor.spool import Spool
from teiten.sensor.windows import Window

_log = logging.getLogger(__name__)

#: Rows of windows held in memory while the disk is full.
MAX_HELD_ROWS = 131_072
#: Windows held in memory while the disk is full.
MAX_HELD_WINDOWS = 1_000
#: Rows between capture and sealing; beyond it capture waits, and the kernel counts what it drops.
MAX_QUEUED_ROWS = 131_072
_TICK_SECONDS = 0.5
_SWEEP_SECONDS = 1.0


class Keeper:
    """Takes closed windows and answers for them until they are in the spool.

    Args:
        identity: whose key seals.
        spool: where they go; used by this thread only once started.
        boot_id: of this process.
        clock_offset_us: asked at sealing time.
        clock: for intervals.
        renew: asked before a batch is sealed; gives the identity when it has changed, by rotation or recovery.
    """

    def __init__(
        self,
        identity: SealingIdentity,
        spool: Spool,
        *,
        boot_id: str,
        clock_offset_us: Callable[[], int | None],
        clock: Clock,
        renew: Callable[[], SealingIdentity | None] = lambda: None,
    ) -> None:
        self._identity = identity
        self._renew = renew
        self.spool = spool
        self._boot_id = boot_id
        self._clock_offset_us = clock_offset_us
        self._clock = clock
        self._queue: queue.SimpleQueue[Window | None] = queue.SimpleQueue()
        self._queued_rows = 0
        self._taken = threading.Condition()
        self._held: deque[tuple[BatchDraft, column_sets.WireColumns]] = deque()
        self._held_rows = 0
        self._last_sweep = 0.0
        self._once = OncePer(30.0)
        self._thread = threading.Thread(target=self._run, name="keeper")
        #: The last thing that went wrong, for status and heartbeat.
        self.last_error = ""
        #: Windows in memory that the disk has not taken yet.
        self.held_windows = 0
        #: When the thread last looked around, monotonic seconds.
        self.stepped_at = clock.monotonic()
        #: An error that ended the thread; capture stops when it sees it.
        self.failure: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def put(self, window: Window) -> None:
        """Hand over a closed window; waits while too many rows are on their way."""
        with self._taken:
            while self._queued_rows > MAX_QUEUED_ROWS and self.failure is None:
                self._taken.wait(_TICK_SECONDS)
            self._queued_rows += window.rows
        self._queue.put(window)

    def stop(self) -> None:
        """Seal all that was handed over, then close the spool."""
        self._queue.put(None)
        self._thread.join()
        self.spool.close()

    def _run(self) -> None:
        try:
            while self._step():
                pass
        except BaseException as error:  # noqa: BLE001  # the thread's border: capture must learn of it
            self.failure = error
            _log.exception("Sealing stopped")

    def _step(self) -> bool:
        """Take one window, or the time to look around; give False at the end."""
        self.stepped_at = self._clock.monotonic()
        try:
            window = self._queue.get(timeout=_TICK_SECONDS)
        except queue.Empty:
            self._keep_held()
            self._sweep()
            return True
        if window is None:
            self._keep_held()
            self._sweep()
            return False
        self._hold(window)
        self._keep_held()
        self._note_taken(window.rows)
        self._sweep()
        return True

    def _note_taken(self, rows: int) -> None:
        with self._taken:
            self._queued_rows -= rows
            self._taken.notify()

    def _hold(self, window: Window) -> None:
        draft = BatchDraft(
            window_start_us=window.start_us,
            window_end_us=window.end_us,
            boot_id=self._boot_id,
            watched=window.watched,
            kernel_drops=window.kernel_drops,
            excluded=window.excluded,
            gap_us=window.gap_us,
            clock_stepped=window.clock_stepped,
            payload_bytes=window.payload_bytes,
            clock_offset_us=self._clock_offset_us(),
        )
        self._held_rows += window.rows
        chunks, window.chunks = window.chunks, []
        self._held.append((draft, column_sets.join(chunks)))

    def _renew_identity(self) -> None:
        """Seal by the sensor's present key; in a new epoch, numbers begin again."""
        try:
            found = self._renew()
        except StateError as error:
            self._complain("The changed identity cannot be read", error)
            return
        if found is not None:
            if found.epoch != self._identity.epoch:
                self.spool.begin_epoch(found.epoch)
            self._identity = found

    def _keep_held(self) -> None:
        if self._held:
            self._renew_identity()
        while self._held:
            draft, columns = self._held[0]
            try:
                self.spool.add(self._sealer(draft, columns))
            except SpoolFullError as error:
                self._complain("The spool takes nothing", error)
                self._bound_held()
                break
            except BatchError as error:
                # Our own columns break the protocol: a bug, but no reason to stop watching.
                self._complain("A window cannot be encoded", error)
                self.spool.give_up(draft.window_start_us, draft.window_end_us)
            self._release_first()
        self.held_windows = len(self._held)

    def _sealer(
        self, draft: BatchDraft, columns: column_sets.WireColumns
    ) -> Callable[[int, tuple[LostBatch, ...]], SealedBatch]:
        def seal(seq: int, lost: tuple[LostBatch, ...]) -> SealedBatch:
            return seal_batch(self._identity, draft, columns=columns, seq=seq, lost=lost)

        return seal

    def _bound_held(self) -> None:
        while self._held_rows > MAX_HELD_ROWS or len(self._held) > MAX_HELD_WINDOWS:
            draft = self._held[0][0]
            self.spool.give_up(draft.window_start_us, draft.window_end_us)
            self._release_first()

    def _release_first(self) -> None:
        _draft, columns = self._held.popleft()
        self._held_rows -= column_sets.count_rows(columns)

    def _sweep(self) -> None:
        now = self._clock.monotonic()
        if now - self._last_sweep < _SWEEP_SECONDS:
            return
        self.spool.sweep()
        # A large spool takes longer to look through: never spend more than a twentieth on it.
        self._last_sweep = now + 20 * (self._clock.monotonic() - now)

    def _complain(self, what: str, error: Exception) -> None:
        self.last_error = str(error)
        if self._once.is_due(what, self._clock.monotonic()):
            _log.error("%s", what, extra={"error": str(error), "held_windows": len(self._held)})
