"""The loader: landed batches become verified rows, exactly once.

    compose (ledger) ─▶ read, verify, unpack ─▶ judge, place ─▶ insert ─▶ mark (ledger)

A block's composition is in the ledger before anything is inserted, so whoever finds
it unfinished repeats exactly it. A batch that does not verify goes to quarantine
whole, with its reason; the rest of its block is loaded. When ledger or store do not
answer, the block is given back and tried again; nothing is dropped.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from teiten.foundation.clock import Clock, to_us
from teiten.foundation.logs import OncePer
from teiten.landing.blocks import Block, BlockLedger, BlockLimits, Member, Quarantine
from teiten.landing.errors import LandingError, LandingUnavailable, LeaseLost, SegmentDamaged
from teiten.loader import metrics, tables, verifying
from teiten.loader.config import LoaderConfig
from teiten.loader.doors import Placement, SensorRegister
from teiten.loader.errors import LoaderError, Unbelievable
from teiten.loader.reference import ReferenceBook
from teiten.loader.verifying import Verified
from teiten.store import writer
from teiten.store.errors import StoreError
from teiten.store.service import Store
from teiten.traffic.rules import RULE_VERSION

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """What one block became."""

    block: str
    rows: int
    batches: int
    quarantined: int


def _nothing(point: str) -> None:
    """Stand where tests kill the process."""


class Loader:
    """Loads blocks one after the other; several loaders may share a ledger."""

    def __init__(
        self,
        config: LoaderConfig,
        *,
        ledger: BlockLedger,
        store: Store,
        register: SensorRegister,
        reference: ReferenceBook,
        clock: Clock,
        at: Callable[[str], None] = _nothing,
    ) -> None:
        """Build inert; :meth:`run` does the work.

        ``at`` is called at the points ``composed``, ``inserting``, ``inserted``, ``marked``.
        """
        self._config = config
        self._ledger = ledger
        self._store = store
        self._register = register
        self._reference = reference
        self._clock = clock
        self._at = at
        self._limits = BlockLimits(max_batches=config.max_batches, max_bytes=config.max_bytes)
        self._once = OncePer(10.0)
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(config.threads, thread_name_prefix="verify")
        self._listeners: list[Callable[[Loaded], None]] = []

    def tell(self, listener: Callable[[Loaded], None]) -> None:
        """Call ``listener`` after every block that was loaded."""
        self._listeners.append(listener)

    def run(self) -> None:
        """Load until :meth:`stop`; errors that may pass are waited for."""
        failures = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                loaded = self.step()
                failures = 0
                if loaded is None:
                    self._measure_backlog()
                    self._ledger.wait(1.0)
            except (LandingError, StoreError, LoaderError) as error:
                failures += 1
                self._note(error)
                self._stopping.wait(min(2.0**failures / 4, self._config.backoff_seconds))
                continue
            if loaded is not None and loaded.batches < self._config.max_batches // 2:
                self._stopping.wait(max(0.0, self._config.pace_seconds - (time.monotonic() - started)))

    def stop(self) -> None:
        """Let :meth:`run` end after the present block."""
        self._stopping.set()

    def close(self) -> None:
        """End the threads and the ledger's connections."""
        self._pool.shutdown()
        self._ledger.close()

    def step(self) -> Loaded | None:
        """Load one block; None when nothing waits.

        Raises:
            LandingError, StoreError, LoaderError: the block is given back and will be tried again.
        """
        version = self._reference.current_version()
        block = self._ledger.compose(self._limits, rule_version=RULE_VERSION, place_version=version)
        if block is None:
            return None
        with metrics.BLOCK_SECONDS.time():
            try:
                loaded = self._load(block)
            except LeaseLost:
                raise
            except (LandingError, StoreError, LoaderError) as error:
                self._ledger.release(block, str(error))
                raise
        self._count(loaded)
        return loaded

    def _load(self, block: Block) -> Loaded:
        self._at("composed")
        verified, aside = self._verify_all(block)
        rows = 0
        if verified:
            reference = self._reference.open(block.place_version)
            content = writer.BlockRows(
                block=block.id,
                composed_at_us=to_us(block.composed_at),
                packets=tables.build_packets(verified, reference),
                coverage=tables.build_coverage(verified, block=block.id),
                lost=tables.build_lost(verified, block=block.id),
            )
            rows = content.packets.num_rows
            self._ledger.renew(block)
            self._at("inserting")
            writer.insert_block(self._store, content, is_retry=block.attempts > 1, step=self._at)
            self._at("inserted")
        self._ledger.mark_loaded(block, rows=rows, quarantined=aside)
        self._at("marked")
        return Loaded(block.id, rows, len(verified), len(aside))

    def _verify_all(self, block: Block) -> tuple[list[Verified], list[Quarantine]]:
        """Verify every member, in order; what fails is set aside with its reason."""
        placed = [(one, self._register.find_placement(one.sensor, one.key_no)) for one in block.members]
        share = max(64, -(-len(placed) // self._config.threads))
        parts = [placed[first : first + share] for first in range(0, len(placed), share)]
        outcomes = [outcome for part in self._pool.map(self._verify_part, parts) for outcome in part]
        verified = [one for one in outcomes if isinstance(one, Verified)]
        return verified, [one for one in outcomes if isinstance(one, Quarantine)]

    def _verify_part(self, placed: Sequence[tuple[Member, Placement | None]]) -> list[Verified | Quarantine]:
        return [self._verify_one(member, placement) for member, placement in placed]

    def _verify_one(self, member: Member, placement: Placement | None) -> Verified | Quarantine:
        try:
            return verifying.verify(member, self._ledger.read(member), placement, config=self._config)
        except Unbelievable as error:
            return self._set_aside(member, error.code, str(error))
        except SegmentDamaged as error:
            return self._set_aside(member, "segment.damaged", str(error))

    def _set_aside(self, member: Member, code: str, message: str) -> Quarantine:
        metrics.BATCHES.labels(code).inc()
        if self._once.is_due(code, self._clock.monotonic()):
            _log.error(
                "batch quarantined",
                extra={
                    "sensor": member.sensor,
                    "epoch": member.epoch,
                    "seq": member.seq,
                    "code": code,
                    "reason": message,
                },
            )
        return Quarantine(member, code, message)

    def _count(self, loaded: Loaded) -> None:
        metrics.ROWS.inc(loaded.rows)
        metrics.BATCHES.labels("loaded").inc(loaded.batches)
        for listener in self._listeners:
            listener(loaded)

    def _measure_backlog(self) -> None:
        backlog = self._ledger.backlog()
        metrics.BACKLOG_BATCHES.set(backlog.batches)
        oldest = backlog.oldest_landed_at
        metrics.LAG_SECONDS.set(0.0 if oldest is None else (self._clock.now() - oldest).total_seconds())

    def _note(self, error: Exception) -> None:
        cause = type(error).__name__
        metrics.FAILURES.labels(cause).inc()
        if self._once.is_due(cause, self._clock.monotonic()):
            level = logging.WARNING if isinstance(error, LandingUnavailable | LeaseLost) else logging.ERROR
            _log.log(
                level, "block not loaded, will be tried again", extra={"cause": cause, "reason": str(error)}
            )
