"""What an import changes: pure, and independent of the order of entries.

An entry that a list still names goes on; one that it names anew begins; one that it
names no longer is closed **now**, so that what was said of the past stays. An entry
that never held (its validity lies ahead) and is named no longer is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from teiten.datasets.entries import StatedEntry


@dataclass(frozen=True)
class HeldEntry:
    """One entry as it is kept."""

    id: int
    network: str
    owner: str
    valid_from: datetime
    valid_to: datetime | None
    source: str = ""
    reason: str = ""

    def holds_after(self, now: datetime) -> bool:
        """Tell whether it holds now or will."""
        return self.valid_to is None or self.valid_to > now


@dataclass
class Merge:
    """What is to be done."""

    #: To be entered, with the start that it gets.
    add: list[tuple[StatedEntry, datetime]] = field(default_factory=list)
    #: To be changed: number of the row, what is stated of it now.
    change: list[tuple[int, StatedEntry]] = field(default_factory=list)
    #: To be closed now.
    close: list[int] = field(default_factory=list)
    #: To be dropped, since it never held.
    drop: list[int] = field(default_factory=list)
    keep: list[int] = field(default_factory=list)


_Key: TypeAlias = tuple[str, str]


def merge(held: Iterable[HeldEntry], stated: Sequence[StatedEntry], *, now: datetime) -> Merge:
    """Compare what is kept of a list with what it states now."""
    rows = sorted(held, key=lambda row: (row.valid_from, row.id), reverse=True)
    exact = {(row.network, row.owner, row.valid_from): row for row in rows}
    current: dict[_Key, HeldEntry] = {}
    for row in rows:
        if row.valid_from <= now and row.holds_after(now):
            current.setdefault((row.network, row.owner), row)
    done, named = Merge(), set()
    for entry in sorted(stated, key=lambda one: (one.network, one.owner, one.valid_from or now)):
        found = _find(entry, exact, current)
        if found is None:
            done.add.append((entry, now if entry.valid_from is None else entry.valid_from))
            continue
        named.add(found.id)
        if _says_the_same(found, entry):
            done.keep.append(found.id)
        else:
            done.change.append((found.id, entry))
    for row in rows:
        if row.id not in named and row.holds_after(now):
            (done.close if row.valid_from < now else done.drop).append(row.id)
    return done


def _find(
    entry: StatedEntry,
    exact: dict[tuple[str, str, datetime], HeldEntry],
    current: dict[_Key, HeldEntry],
) -> HeldEntry | None:
    if entry.valid_from is None:
        return current.get((entry.network, entry.owner))
    return exact.get((entry.network, entry.owner, entry.valid_from))


def _says_the_same(row: HeldEntry, entry: StatedEntry) -> bool:
    return (row.valid_to, row.source, row.reason) == (entry.valid_to, entry.source, entry.reason)
