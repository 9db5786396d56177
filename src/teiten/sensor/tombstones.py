"""Batches that will never come: ranges kept until the gateway has receipted them.

A range is *carried* from the first batch whose header held it in its present form.
When a batch from there on is receipted, the gateway knows, and the range goes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from teiten.protocol.header import LostBatch

#: Ranges that one header carries; the protocol allows 256.
MAX_CARRIED = 200
#: Ranges kept; beyond it the two that lie closest are joined, and the gateway's ledger
#: knows better about what lies between them.
MAX_KEPT = 400


@dataclass(frozen=True)
class _Range:
    lost: LostBatch
    #: First batch that carried this range as it is now; None: none yet.
    carrier_seq: int | None = None


class Tombstones:
    """Ascending, disjoint ranges of lost sequence numbers."""

    def __init__(self, rows: list[list[int | None]] | None = None) -> None:
        self._ranges = [_from_row(row) for row in rows or []]

    def __len__(self) -> int:
        return len(self._ranges)

    @property
    def batches(self) -> int:
        """How many batches all ranges speak of."""
        return sum(item.lost.last_seq - item.lost.first_seq + 1 for item in self._ranges)

    def as_rows(self) -> list[list[int | None]]:
        """Give all that must be kept, as JSON knows it."""
        return [_to_row(item) for item in self._ranges]

    def list_carried(self) -> tuple[LostBatch, ...]:
        """Give what the next header carries."""
        return tuple(item.lost for item in self._ranges[:MAX_CARRIED])

    def add(self, lost: LostBatch) -> None:
        """Add a range; neighbours and overlaps become one."""
        apart, joined = [], lost
        for item in self._ranges:
            if item.lost.last_seq + 1 < lost.first_seq or lost.last_seq + 1 < item.lost.first_seq:
                apart.append(item)
            else:
                joined = _join(joined, item.lost)
        self._ranges = sorted([*apart, _Range(joined)], key=lambda item: item.lost.first_seq)
        if len(self._ranges) > MAX_KEPT:
            self._join_closest()

    def carry(self, seq: int) -> None:
        """Note that batch ``seq`` carries what :meth:`list_carried` gave."""
        self._ranges = [
            replace(item, carrier_seq=seq) if place < MAX_CARRIED and item.carrier_seq is None else item
            for place, item in enumerate(self._ranges)
        ]

    def receipt(self, seq: int) -> None:
        """Forget what batch ``seq``, now receipted, told the gateway; ``seq`` itself is not lost."""
        self._ranges = [item for item in self._ranges if item.carrier_seq is None or seq < item.carrier_seq]
        self._ranges = [part for item in self._ranges for part in _without(item, seq)]

    def _join_closest(self) -> None:
        pairs = zip(self._ranges, self._ranges[1:], strict=False)
        distances = [second.lost.first_seq - first.lost.last_seq for first, second in pairs]
        place = distances.index(min(distances))
        joined = _join(self._ranges[place].lost, self._ranges[place + 1].lost)
        self._ranges[place : place + 2] = [_Range(joined)]


def _join(one: LostBatch, other: LostBatch) -> LostBatch:
    return LostBatch(
        first_seq=min(one.first_seq, other.first_seq),
        last_seq=max(one.last_seq, other.last_seq),
        window_start_us=min(one.window_start_us, other.window_start_us),
        window_end_us=max(one.window_end_us, other.window_end_us),
    )


def _without(item: _Range, seq: int) -> list[_Range]:
    """Take one number out of a range; what is left has not been carried in this form."""
    lost = item.lost
    if not lost.first_seq <= seq <= lost.last_seq:
        return [item]
    before = replace(lost, last_seq=seq - 1)
    after = replace(lost, first_seq=seq + 1)
    return [_Range(part) for part in (before, after) if part.first_seq <= part.last_seq]


def _to_row(item: _Range) -> list[int | None]:
    lost = item.lost
    return [lost.first_seq, lost.last_seq, lost.window_start_us, lost.window_end_us, item.carrier_seq]


def _from_row(row: list[int | None]) -> _Range:
    first, last, start, end, carrier = row
    return _Range(LostBatch(int(first or 0), int(last or 0), int(start or 0), int(end or 0)), carrier)
