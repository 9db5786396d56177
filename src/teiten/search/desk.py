"""Runs statements for a viewer: limits by role, the clock, and the store's errors in our words."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import pyarrow as pa

from teiten.foundation.clock import Clock, from_us
from teiten.search import guarding, metrics
from teiten.search.basis import Cost
from teiten.search.config import SearchConfig
from teiten.search.dimensions import Dimension, Key
from teiten.search.doors import FleetFacts, ObservationStore, SystemNames
from teiten.search.errors import SearchUnavailable, TooExpensive
from teiten.search.periods import Window
from teiten.search.planner import Plan
from teiten.search.references import ReferenceDesk
from teiten.search.remembering import Memory
from teiten.search.tables import PACKETS, Table
from teiten.search.visibility import Visibility
from teiten.store.errors import LimitExceeded, StoreError

Answer = TypeVar("Answer")
#: Tables that hold no packets and no counts of them by anything that a sender chooses.
_OBSERVATION = frozenset(
    {
        "coverage",
        "coverage_1h",
        "coverage_1d",
        "coverage_regions_1h",
        "coverage_regions_1d",
        "lost_batches",
        "coverage_excluded",
    }
)
_TABLE = re.compile(r"\b(?:FROM|JOIN)\s+([a-z]\w*)")
#: Panels of a screen that ask side by side.
_PANELS_AT_ONCE = 4
#: As :mod:`teiten.search.predicates` writes a condition on a sensor.
_BOUND = re.compile(r"\bsensor (?:=|IN) \{p\d+:")


def check_statement(visibility: Visibility, statement: str) -> None:
    """Refuse a fault of ours: a member's statement over packets that nobody has guarded.

    Raises:
        TypeError: naming the tables.
    """
    tables = set(_TABLE.findall(statement)) - _OBSERVATION
    if not tables or guarding.HARMLESS in statement:
        return
    if visibility.is_guarded and guarding.MARK not in statement:
        raise TypeError(f"a statement over {', '.join(sorted(tables))} is not guarded; see search.guarding")
    if visibility.bound_to and not _BOUND.search(statement):
        raise TypeError(f"a statement over {', '.join(sorted(tables))} does not keep to the own sensors")


def _limit_threads(statement: str) -> str:
    """Keep a statement over roll-ups to its share of the processors, which the panels of a screen fill together.

    Threads that aggregate one small table spend more on merging than they save.
    """
    if PACKETS.name in _TABLE.findall(statement):
        return ""
    return f", max_threads = {max(1, (os.cpu_count() or 1) // _PANELS_AT_ONCE)}"


@dataclass
class Desk:
    """What every kind of search works with."""

    store: ObservationStore
    clock: Clock
    config: SearchConfig
    #: Zone whose midnights bound days: the store's, which its roll-ups were made with.
    zone: str
    #: Threads that ask the store: it keeps a client per thread, and a web server makes a thread per request.
    workers: ThreadPoolExecutor
    references: ReferenceDesk = field(default_factory=ReferenceDesk)
    memory: Memory = field(default_factory=Memory)
    #: Holders of AS numbers, when a file that knows them is in use.
    system_names: SystemNames | None = None
    #: The register of sensors; without it nothing is known of them and nothing planned.
    fleet: FleetFacts | None = None

    def remember(
        self, key: Hashable, make: Callable[[], Answer], *, seconds: float, viewer: Visibility | None
    ) -> Answer:
        """Give an answer that was made less than ``seconds`` ago, or make it.

        Args:
            key: the kind of the answer, and everything that it follows from besides this desk and the viewer.
            make: asks the store.
            seconds: for how long it may be given again.
            viewer: who asks; None only where the answer is the same for all, and masked on its way out.
        """
        whose = None if viewer is None else viewer.cache_key
        return self.memory.recall((key, whose), now=self.clock.monotonic(), keep_seconds=seconds, make=make)

    def select(
        self,
        visibility: Visibility,
        statement: str,
        parameters: Mapping[str, Any],
        *,
        role: Literal["screen", "export"] = "screen",
    ) -> pa.Table:
        """Run one statement within the viewer's limits.

        Raises:
            TooExpensive: when it goes beyond them.
            SearchUnavailable: when the store does not answer.
            TypeError: for a statement that would tell a member what few sensors saw.
        """
        check_statement(visibility, statement)
        is_member = visibility.role == "member"
        most_rows = self.config.member_max_rows if is_member else self.config.analyst_max_rows
        started = self.clock.monotonic()
        try:
            waiting = self.workers.submit(
                self.store.select,
                f"{statement} SETTINGS max_rows_to_read = {int(most_rows)}, group_by_use_nulls = 0"
                f"{_limit_threads(statement)}",
                parameters,
                role=role,
            )
            return waiting.result()
        except LimitExceeded as error:
            metrics.REFUSALS.labels("too_expensive").inc()
            raise TooExpensive(
                "the question reads more than your role may in one go; shorten the period or add a filter"
            ) from error
        except StoreError as error:
            metrics.REFUSALS.labels("store_unavailable").inc()
            # The store's own words name statements, columns and folders: not for members.
            why = "" if is_member else f" ({str(error)[:300]})"
            raise SearchUnavailable(
                f"the store did not answer{why}; try again, or run teiten doctor"
            ) from error
        finally:
            metrics.STATEMENT_SECONDS.observe(self.clock.monotonic() - started)

    def cost(self, made: Plan, started: float, *, call: str) -> Cost:
        """Say what a planned answer took since ``started`` (monotonic seconds)."""
        return self.cost_of(made.table, made.window, started, call=call)

    def cost_of(self, table: Table, window: Window, started: float, *, call: str) -> Cost:
        """Say what an answer from ``table`` took."""
        elapsed = self.clock.monotonic() - started
        metrics.CALLS.labels(call, table.name).inc()
        metrics.CALL_SECONDS.labels(call).observe(elapsed)
        return Cost(
            elapsed_seconds=elapsed,
            table=table.name,
            grain_seconds=table.grain_seconds,
            start_at=from_us(window.start_us),
            end_at=from_us(window.end_us),
        )

    def cost_of_packets(self, window: Window, started: float, *, call: str) -> Cost:
        """Say what an answer from single packets took."""
        return self.cost_of(PACKETS, window, started, call=call)

    def name_systems(self, dimension: Dimension, keys: Sequence[Key]) -> Mapping[int, str]:
        """Give the names of the AS numbers among ``keys``; empty for other dimensions."""
        if dimension.name != "asn" or self.system_names is None:
            return {}
        return self.system_names.list_names([int(key[0]) for key in keys])
