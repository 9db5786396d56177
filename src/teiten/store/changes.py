"""Journal of what is done to stored rows on purpose: exclusion, return, erasure.

ClickHouse has no transaction over tables. So a change is written down before its first
step, together with the days whose figures it touches; each step does the same when done
twice; a change cut short is finished before another begins, and when the store is
opened. What it was about is forgotten once it is done: an erased address must not
stay in the journal of erasures.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, TypeAlias

import pyarrow as pa

from teiten.foundation.clock import from_us
from teiten.store.partitions import DayOfDataset
from teiten.store.statements import StatementRunner

#: Told of each step before which a test may kill the process.
Step: TypeAlias = Callable[[str], None]

_DONE = "done"
_SCHEMA: list[tuple[str, pa.DataType]] = [
    ("id", pa.binary(16)),
    ("kind", pa.string()),
    ("arguments", pa.string()),
    ("phase", pa.string()),
    ("step", pa.uint32()),
    ("noted_at", pa.timestamp("us", "UTC")),
]


@dataclass(frozen=True)
class Change:
    """One change, at the phase that it has reached."""

    id: uuid.UUID
    kind: str
    #: What it is about, as JSON has it.
    arguments: Mapping[str, Any]
    #: Days whose roll-ups must be made again.
    days: tuple[DayOfDataset, ...]
    phase: str
    step: int = 0


def begin(
    store: StatementRunner,
    kind: str,
    arguments: Mapping[str, Any],
    *,
    days: Sequence[DayOfDataset],
    phase: str,
) -> Change:
    """Write down what will be done."""
    change = Change(uuid.uuid4(), kind, arguments, tuple(days), phase)
    _write(store, change)
    return change


def advance(store: StatementRunner, change: Change, phase: str) -> Change:
    """Write down that everything before ``phase`` is done."""
    after = replace(change, phase=phase, step=change.step + 1)
    _write(store, after)
    return after


def finish(store: StatementRunner, change: Change) -> None:
    """Write down that a change is done, and forget what it was about."""
    _write(store, replace(change, arguments={}, days=(), phase=_DONE, step=change.step + 1))
    store.command("OPTIMIZE TABLE changes FINAL")


def list_unfinished(store: StatementRunner, kinds: Sequence[str]) -> list[Change]:
    """Give the changes of some kinds that were cut short, oldest first."""
    rows = store.query("unfinished_changes", {"kinds": list(kinds)}, role="maintenance").to_pylist()
    return [_read(row) for row in rows]


def _read(row: Mapping[str, Any]) -> Change:
    text = json.loads(row["arguments"])
    days = tuple(DayOfDataset(dataset, date.fromisoformat(day)) for dataset, day in text["days"])
    return Change(uuid.UUID(row["id"]), row["kind"], text["arguments"], days, row["phase"], row["step"])


def _write(store: StatementRunner, change: Change) -> None:
    days = [[day.dataset, day.day.isoformat()] for day in change.days]
    row: dict[str, list[Any]] = {
        "id": [change.id.bytes],
        "kind": [change.kind],
        "arguments": [json.dumps({"arguments": dict(change.arguments), "days": days})],
        "phase": [change.phase],
        "step": [change.step],
        "noted_at": [from_us(store.clock.now_us())],
    }
    columns = {name: pa.array(row[name], kind) for name, kind in _SCHEMA}
    token = f"change:{change.id}:{change.step}"
    store.connections.insert("changes", pa.table(columns), token=token, role="maintenance")
