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
from dataclasses import dataclass

from teiten.foundation.clock import Clock, to_us
from teiten.foundation.errors import TeitenError
from teiten.foundation.logs import OncePer
from teiten.landing.blocks import Block, BlockLedger, BlockLimits, Quarantine
from teiten.landing.errors import LandingError, LandingUnavailable, LeaseLost
from teiten.loader import members, metrics, tables
from teiten.loader.canaries import take_out
from teiten.loader.config import LoaderConfig
from teiten.loader.doors import CanaryDoor, SensorRegister
from teiten.loader.errors import BlockFailed, ReferenceFileError, ReferenceMissing
from teiten.loader.examples import build_examples
from teiten.loader.facts import Facts, facts_of
from teiten.loader.members import MemberSorter, SortedMembers
from teiten.loader.reference import NONE, ReferenceBook, ReferenceData
from teiten.loader.verifying import Verified
from teiten.store import writer
from teiten.store.service import Store
from teiten.store.writer import BlockRows
from teiten.traffic.rules import RULE_VERSION

_log = logging.getLogger(__name__)

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
        canaries: CanaryDoor | None = None,
        is_helper: bool = False,
        at: Callable[[str], None] = _nothing,
    ) -> None:
        """Build inert; :meth:`run` does the work.

        A helper works only while more than a block waits: it prepares rows while another
        loader of the process inserts. ``at`` is called at the points ``composed``,
        ``inserting``, ``inserted``, ``marked``.
        """
        self._config = config
        self._ledger = ledger
        self._store = store
        self._reference = reference
        self._clock = clock
        self._canaries = canaries
        self._is_helper = is_helper
        self._at = at
        self._limits = BlockLimits(max_batches=config.max_batches, max_bytes=config.max_bytes)
        self._once = OncePer(10.0)
        self._stopping = threading.Event()
        self._register = register
        self._sorter = MemberSorter(config, ledger=ledger, register=register, clock=clock)
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
                if self._is_helper and not self._is_behind():
                    self._stopping.wait(1.0)
                    continue
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
                self._stopping.wait(self._pause_after(time.monotonic() - started))

    def _pause_after(self, seconds: float) -> float:
        """Let batches gather: an insert costs about the same for few rows as for many."""
        shortest, longest = self._config.pace_seconds, self._config.longest_pace_seconds
        return min(max(shortest - seconds, _REST * seconds), longest)

    def _is_behind(self) -> bool:
        backlog = self._ledger.backlog()
        return backlog.batches > self._config.max_batches or backlog.bytes > self._config.max_bytes

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
        self._sorter.close()
        self._ledger.close()

    def step(self) -> Loaded | None:
        """Load one block; None when nothing waits.

        Raises:
            LandingError, StoreError, LoaderError: the block is given back and will be tried again.
        """
        facts = Facts(self._reference.current_version(), self._register.current_revision())
        block = self._ledger.compose(self._limits, rule_version=RULE_VERSION, place_version=str(facts))
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
        landed, aside = self._sorter.read(block.members)
        if block.attempts > 1:
            # The attempt before may have known more of the sensors than we do.
            self._register.refresh()
        rows = batches = 0
        datasets: set[str] = set()
        for number, part in enumerate(members.split_parts(landed, self._config.part_bytes)):
            found = self._sorter.sort(part)
            found.verified = take_out(found.verified, self._canaries)
            rows += self._write(block, number, found)
            aside += found.aside
            batches += len(found.verified)
            datasets.update(one.batch.header.dataset for one in found.verified)
        self._at("inserted")
        self._ledger.mark_loaded(block, rows=rows, quarantined=aside)
        self._at("marked")
        return Loaded(block.id, rows, batches, len(aside), frozenset(datasets)), aside

    def _write(self, block: Block, number: int, found: SortedMembers) -> int:
        """Put a part of a block into the store and give its rows."""
        is_retry = block.attempts > 1
        if not found.verified and not is_retry:
            return 0
        facts = facts_of(block.place_version)
        reference, is_changed = self._open_reference(block, facts.reference)
        is_changed = is_changed or any(one.revision > facts.revision for one in found.verified)
        content = self._build(block, number, found, reference=reference)
        self._ledger.renew(block)
        self._at("inserting")
        step = self._guard(block)
        writer.insert_block(self._store, content, is_retry=is_retry, is_changed=is_changed, step=step)
        return content.packets.num_rows

    def _guard(self, block: Block) -> Callable[[str], None]:
        """Give the writer's hook; before each table it asks whether the block is still ours.

        A loader that was stopped for long may find its block written by another, under
        tokens that the store no longer compares with its own.
        """

        def pass_step(point: str) -> None:
            self._at(point)
            if point.startswith("before "):
                self._ledger.renew(block)

        return pass_step

    def _open_reference(self, block: Block, named: str) -> tuple[ReferenceData, bool]:
        """Give the places that the block names, and whether rules or places are others than at first.

        Files that are gone or damaged cost their columns, never the packets: then those in use
        are taken, then none.
        """
        is_changed = block.rule_version != RULE_VERSION
        for version in (named, self._reference.current_version()):
            try:
                return self._reference.open(version), is_changed or version != named
            except (ReferenceMissing, ReferenceFileError) as error:
                _log.error(
                    "reference data cannot be read; use them again with `teiten geo use`",
                    extra={"block": block.id, "version": version, "reason": str(error)},
                )
        return self._reference.open(NONE), True

    def _build(
        self, block: Block, number: int, found: SortedMembers, *, reference: ReferenceData
    ) -> BlockRows:
        """Build the rows of a part; batches that cannot be built are set aside."""
        try:
            packets = tables.build_packets(found.verified, reference)
        except Exception as error:
            good = [one for one in found.verified if self._can_build(one, reference, found)]
            if len(good) == len(found.verified):
                raise BlockFailed(f"block {block.id} cannot be built: {error!r}") from error
            found.verified = good
            packets = tables.build_packets(good, reference)
        return BlockRows(
            block=block.id,
            composed_at_us=to_us(block.composed_at),
            packets=packets,
            coverage=tables.build_coverage(found.verified, block=block.id),
            lost=tables.build_lost(found.verified, block=block.id),
            examples=build_examples(found.verified),
            refused=tuple(found.refused),
            part=number,
        )

    def _can_build(self, one: Verified, reference: ReferenceData, found: SortedMembers) -> bool:
        try:
            tables.build_packets([one], reference)
        except Exception:  # noqa: BLE001 - a bug over one batch must not stop the others
            _log.exception("a batch cannot be judged or placed", extra={"sensor": one.member.sensor})
            reason = self._sorter.refuse(one.member, "internal", traceback.format_exc(limit=-4))
            found.set_aside(reason, one.batch.header)
            return False
        return True

    def _give_back(self, block: Block, error: Exception) -> None:
        try:
            self._ledger.release(block, str(error))
        except LandingError as another:
            # The claim died with the connection; the block is free for the next attempt.
            _log.warning("block not released", extra={"block": block.id, "reason": str(another)})

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
