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
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

from teiten.foundation.clock import Clock, to_us
from teiten.foundation.errors import TeitenError
from teiten.foundation.logs import OncePer
from teiten.landing.blocks import Block, BlockLedger, BlockLimits, Member, Quarantine
from teiten.landing.errors import LandingError, LandingUnavailable, LeaseLost, SegmentDamaged
from teiten.loader import metrics, tables, verifying
from teiten.loader.config import LoaderConfig
from teiten.loader.doors import Placement, SensorRegister
from teiten.loader.errors import BlockFailed, ReferenceMissing, Unbelievable
from teiten.loader.reference import ReferenceBook, ReferenceData
from teiten.loader.verifying import Verified
from teiten.protocol.header import BatchHeader
from teiten.store import writer
from teiten.store.service import Store
from teiten.store.writer import BatchSpan, BlockRows
from teiten.traffic.rules import RULE_VERSION

_log = logging.getLogger(__name__)

#: A batch set aside, with what it says about itself where that could be read.
_Refused: TypeAlias = tuple[Quarantine, BatchHeader | None]

#: While little arrives, the loader rests so many times as long as a block took.
_REST = 2.0


@dataclass(frozen=True)
class Loaded:
    """What one block became."""

    block: str
    rows: int
    batches: int
    quarantined: int
    #: Data sets of which something new can be seen.
    datasets: frozenset[str] = frozenset()


@dataclass
class _Sorted:
    """The members of a block, by what becomes of them."""

    verified: list[Verified]
    aside: list[Quarantine]
    #: Batches among those set aside that an earlier attempt may have taken.
    refused: list[BatchSpan]


def _nothing(_: str) -> None:
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
        """Load until :meth:`stop`; whatever fails is waited for and tried again."""
        failures = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                loaded = self.step()
                failures = 0
                self._measure_backlog()
                if loaded is None:
                    self._ledger.wait(1.0)
            except Exception as error:  # noqa: BLE001 - the thread must outlive a bug; it is logged and counted
                failures += 1
                self._note(error)
                self._stopping.wait(min(2.0**failures / 4, self._config.backoff_seconds))
                loaded = None
            metrics.ATTEMPTS.set(failures)
            if loaded is not None and loaded.batches < self._config.max_batches // 2:
                self._stopping.wait(max(0.0, self._config.pace_seconds - (time.monotonic() - started)))

    def run_until_empty(self) -> int:
        """Load what waits now and give the number of blocks; errors as :meth:`step` raises them."""
        blocks = 0
        while self.step() is not None:
            blocks += 1
        return blocks

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
                loaded, aside = self._load(block)
            except LeaseLost:
                raise
            except Exception as error:
                self._give_back(block, error)
                raise
        self._count(block, loaded, aside)
        return loaded

    def _load(self, block: Block) -> tuple[Loaded, list[Quarantine]]:
        self._at("composed")
        members = self._verify_all(block)
        is_retry = block.attempts > 1
        rows = 0
        if members.verified or is_retry:
            reference, is_changed = self._open_reference(block)
            content = self._build(block, members, reference)
            rows = content.packets.num_rows
            self._ledger.renew(block)
            self._at("inserting")
            writer.insert_block(self._store, content, is_retry=is_retry, is_changed=is_changed, step=self._at)
            self._at("inserted")
        self._ledger.mark_loaded(block, rows=rows, quarantined=members.aside)
        self._at("marked")
        datasets = frozenset(one.batch.header.dataset for one in members.verified)
        return Loaded(block.id, rows, len(members.verified), len(members.aside), datasets), members.aside

    def _open_reference(self, block: Block) -> tuple[ReferenceData, bool]:
        """Give the places that the block names, and whether rules or places are others than at first."""
        is_changed = block.rule_version != RULE_VERSION
        try:
            return self._reference.open(block.place_version), is_changed
        except ReferenceMissing as error:
            _log.warning(
                "reference data of a block are gone", extra={"block": block.id, "reason": str(error)}
            )
            return self._reference.open(self._reference.current_version()), True

    def _build(self, block: Block, members: _Sorted, reference: ReferenceData) -> BlockRows:
        """Build the rows of a block; batches that cannot be built are set aside."""
        try:
            packets = tables.build_packets(members.verified, reference)
        except Exception as error:
            good = [one for one in members.verified if self._can_build(one, reference, members)]
            if len(good) == len(members.verified):
                raise BlockFailed(f"block {block.id} cannot be built: {error!r}") from error
            members.verified = good
            packets = tables.build_packets(good, reference)
        return BlockRows(
            block=block.id,
            composed_at_us=to_us(block.composed_at),
            packets=packets,
            coverage=tables.build_coverage(members.verified, block=block.id),
            lost=tables.build_lost(members.verified, block=block.id),
            refused=tuple(members.refused),
        )

    def _can_build(self, one: Verified, reference: ReferenceData, members: _Sorted) -> bool:
        try:
            tables.build_packets([one], reference)
        except Exception:  # noqa: BLE001 - a bug over one batch must not stop the others
            _log.exception("a batch cannot be judged or placed", extra={"sensor": one.member.sensor})
            members.aside.append(self._set_aside(one.member, "internal", traceback.format_exc(limit=-4)))
            members.refused.append(_span_of(one.batch.header))
            return False
        return True

    def _give_back(self, block: Block, error: Exception) -> None:
        try:
            self._ledger.release(block, str(error))
        except LandingError as another:
            # The claim died with the connection; the block is free for the next attempt.
            _log.warning("block not released", extra={"block": block.id, "reason": str(another)})

    def _verify_all(self, block: Block) -> _Sorted:
        """Verify every member, in order; what fails is set aside with its reason."""
        placed = [(one, self._register.find_placement(one.sensor, one.key_no)) for one in block.members]
        share = max(64, -(-len(placed) // self._config.threads))
        parts = [placed[first : first + share] for first in range(0, len(placed), share)]
        members = _Sorted([], [], [])
        for outcome in (outcome for part in self._pool.map(self._verify_part, parts) for outcome in part):
            if isinstance(outcome, Verified):
                members.verified.append(outcome)
            else:
                quarantine, header = outcome
                members.aside.append(quarantine)
                members.refused.extend([_span_of(header)] if header is not None else [])
        return members

    def _verify_part(self, placed: Sequence[tuple[Member, Placement | None]]) -> list[Verified | _Refused]:
        return [self._verify_one(member, placement) for member, placement in placed]

    def _verify_one(self, member: Member, placement: Placement | None) -> Verified | _Refused:
        try:
            return verifying.verify(member, self._ledger.read(member), placement, config=self._config)
        except Unbelievable as error:
            return self._set_aside(member, error.code, str(error)), error.header
        except SegmentDamaged as error:
            return self._set_aside(member, "segment.damaged", str(error)), None
        except LandingError:
            raise
        except Exception:  # noqa: BLE001 - a bug over one batch must not stop the others
            _log.exception("a batch cannot be verified", extra={"sensor": member.sensor, "seq": member.seq})
            return self._set_aside(member, "internal", traceback.format_exc(limit=-4)), None

    def _set_aside(self, member: Member, code: str, message: str) -> Quarantine:
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

    def _count(self, block: Block, loaded: Loaded, aside: Sequence[Quarantine]) -> None:
        metrics.ROWS.inc(loaded.rows)
        metrics.BATCHES.labels("loaded").inc(loaded.batches)
        for one in aside:
            metrics.BATCHES.labels(one.code).inc()
        metrics.DELAY_SECONDS.observe((self._clock.now() - block.first_landed_at).total_seconds())
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
        if not isinstance(error, TeitenError):
            _log.error("block not loaded for a bug, will be tried again", exc_info=error)
        elif self._once.is_due(cause, self._clock.monotonic()):
            level = logging.WARNING if isinstance(error, LandingUnavailable | LeaseLost) else logging.ERROR
            _log.log(
                level, "block not loaded, will be tried again", extra={"cause": cause, "reason": str(error)}
            )


def _span_of(header: BatchHeader) -> BatchSpan:
    return BatchSpan(
        header.dataset, header.sensor, header.epoch, header.seq, header.window_start_us, header.window_end_us
    )
