"""Write load blocks exactly once.

A block's composition is fixed before it comes here, so a repeated block has the same
rows, is cut into the same chunks and carries the same tokens: ClickHouse drops what it
already has, in the table and in every roll-up behind it. That holds while ClickHouse
remembers the tokens (10,000 parts), and while the same rows come again. So a repeated
block is looked up first; where an earlier attempt left other rows than these, or may lie
beyond the memory, its rows are replaced. Whatever a repeated block was, its rows are
counted before it counts as written, and days that do not agree with their roll-ups are
rebuilt: a full disk may have kept a token and not its part, or the other way round.

Rows of excluded batches lie in tables of their own; a repeated block of theirs is written
anew, and ``exclusion.reapply`` sets it aside again. Erased rows count as present.

Order: packets, examples, coverage, lost batches, what must be mended, then the block's own
record. Only the record says that a block is wholly there.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from teiten.foundation.clock import from_us
from teiten.store import check, damage, metrics, rebuild
from teiten.store.partitions import DayOfDataset
from teiten.store.schema import EXCLUDED
from teiten.store.service import Store

#: Beyond this age, or this many blocks later, tokens may have been forgotten.
LATE_SECONDS = 3_600
LATE_BLOCKS = 1_000
#: Within this age no loader can have written that many.
SURE_SECONDS = 60
#: A chunk touches at most this many (data set, UTC day) pairs; ClickHouse refuses 100 partitions.
DAYS_PER_CHUNK = 30
ROWS_PER_CHUNK = 1_000_000

Outcome: TypeAlias = Literal["written", "known", "repaired"]
#: What an earlier attempt left behind.
Earlier: TypeAlias = Literal["none", "same", "erased", "other"]
#: Told of each step before or after which a test may kill the process.
Step: TypeAlias = Callable[[str], None]

_DAY_US = 86_400_000_000
_TIME_COLUMNS = {
    "packets": "observed_at",
    "payload_examples": "observed_at",
    "coverage": "window_start_at",
    "lost_batches": "window_start_at",
}
#: The same of the tables in which excluded rows lie.
_TIMES = _TIME_COLUMNS | {aside: _TIME_COLUMNS[table] for table, aside in EXCLUDED.items()}


@dataclass(frozen=True)
class BatchSpan:
    """A batch of the block, and where its rows are if it has been written."""

    dataset: str
    sensor: int
    epoch: int
    seq: int
    window_start_us: int
    window_end_us: int


@dataclass(frozen=True)
class BlockRows:
    """Everything that one load block puts into the store; the same at each repetition."""

    #: UUID of the block, the root of its tokens.
    block: str
    #: When the ledger composed it, µs.
    composed_at_us: int
    #: All columns of ``traffic.columns.COLUMNS``.
    packets: pa.Table
    #: One row per batch.
    coverage: pa.Table
    #: One row per tombstone; None when there are none.
    lost: pa.Table | None = None
    #: Whole examples of payloads (``arrow_schemas.EXAMPLES``); None when there are none.
    examples: pa.Table | None = None
    #: Batches that are refused now; an earlier attempt may have taken them.
    refused: tuple[BatchSpan, ...] = ()
    #: A block with very many rows comes in parts; their members are always the same.
    part: int = 0

    @property
    def token(self) -> str:
        """Root of the tokens of everything in this part."""
        return f"{self.block}:{self.part}"

    @property
    def repair(self) -> uuid.UUID:
        """Name under which is noted that the rows of this part are being replaced."""
        return uuid.uuid5(uuid.UUID(self.block), f"{self.part}:repair")

    @property
    def record(self) -> uuid.UUID:
        """Name of the finished part: another one when other batches were accepted."""
        names = sorted(self.rows_by_batch())
        return uuid.uuid5(uuid.UUID(self.block), f"{self.part}:{names}")

    def rows_by_batch(self) -> dict[tuple[int, int, int], int]:
        """Give (sensor, epoch, sequence) → rows of the accepted batches."""
        columns = [self.coverage[name].to_pylist() for name in ("sensor", "epoch", "batch_seq", "rows")]
        return {(sensor, epoch, seq): rows for sensor, epoch, seq, rows in zip(*columns, strict=True)}

    def list_spans(self) -> list[BatchSpan]:
        """Name every batch that any attempt may have written."""
        instants = ("window_start_at", "window_end_at")
        columns = [self.coverage[name].to_pylist() for name in ("dataset", "sensor", "epoch", "batch_seq")]
        columns += [pc.cast(self.coverage[name], pa.int64()).to_pylist() for name in instants]
        return [*map(BatchSpan, *columns), *self.refused]


def insert_block(
    store: Store,
    rows: BlockRows,
    *,
    is_retry: bool = False,
    is_changed: bool = False,
    step: Step | None = None,
) -> Outcome:
    """Put a block into the store so that it is there once, whatever happened before.

    Args:
        store: the open store.
        rows: the block; its tables hold each batch wholly.
        is_retry: an earlier attempt may have written some of it.
        is_changed: rules or places are not those of the earlier attempt.
        step: hook for tests.

    Raises:
        StoreError: nothing is lost; repeat the same block with ``is_retry``.
    """
    note = step or _ignore
    with store.writing:
        if is_retry:
            damage.set_aside_broken(store, since=from_us(rows.composed_at_us))
        is_late = _is_late(store, rows)
        if (is_retry or is_late) and has_block(store, rows):
            metrics.BLOCKS.labels("known").inc()
            return "known"
        earlier = _compare_earlier(store, rows, is_changed=is_changed) if is_retry else "none"
        if is_late:
            return _repair(store, rows, note)
        if earlier == "other":
            return _repair_for_good(store, rows, note)
        # Whole, but for what was erased: the record alone is missing.
        missing = replace(rows, packets=rows.packets[:0], examples=None) if earlier == "erased" else rows
        _insert_rows(store, missing, token=rows.token, note=note)
        if is_retry:
            if not _is_there(store, rows):
                return _repair_for_good(store, rows, note)
            _mend_days(store, list_days_of(store, rows))
        _record(store, rows, token=rows.token, note=note)
        metrics.BLOCKS.labels("written").inc()
        return "written"


def has_block(store: Store, rows: BlockRows) -> bool:
    """Tell whether exactly these batches of the block are wholly in the store."""
    return _has_record(store, rows.record)


def _has_record(store: Store, name: uuid.UUID) -> bool:
    found = store.query("find_block", {"block": name}, role="loader")
    return bool(found["blocks"][0].as_py())


def _insert_rows(store: Store, rows: BlockRows, *, token: str, note: Step) -> None:
    tables = {
        "packets": rows.packets,
        "payload_examples": rows.examples,
        "coverage": rows.coverage,
        "lost_batches": rows.lost,
    }
    for table, content in tables.items():
        note(f"before {table}")
        if content is not None and content.num_rows:
            for number, chunk in enumerate(split_chunks(content, _TIME_COLUMNS[table])):
                store.connections.insert(table, chunk, token=f"{token}:{table}:{number}")
        note(f"after {table}")


def _record(store: Store, rows: BlockRows, *, token: str, note: Step) -> None:
    """Write down that a block is wholly there, in its raw rows and in what is made of them."""
    sums = (rows.packets.num_rows, rows.coverage.num_rows)
    store.connections.insert("blocks", _record_of(store, rows.record, *sums), token=f"{token}:block")
    note("after record")


def split_chunks(rows: pa.Table, time_column: str) -> Iterator[pa.Table]:
    """Cut rows so that no insert touches too many partitions; the same rows give the same chunks."""
    names = rows["dataset"].cast(pa.string()).to_numpy(zero_copy_only=False)
    codes = np.unique(names.astype(str), return_inverse=True)[1]
    days = pc.cast(rows[time_column], pa.int64()).to_numpy() // _DAY_US
    keys = codes.astype(np.int64) * (1 << 32) + days
    groups, which = np.unique(keys, return_inverse=True)
    for first in range(0, len(groups), DAYS_PER_CHUNK):
        chosen = rows
        if len(groups) > DAYS_PER_CHUNK:
            chosen = rows.filter(pa.array((which >= first) & (which < first + DAYS_PER_CHUNK)))
        for offset in range(0, chosen.num_rows, ROWS_PER_CHUNK):
            yield chosen.slice(offset, ROWS_PER_CHUNK)


def _record_of(store: Store, name: uuid.UUID, rows: int, batches: int) -> pa.Table:
    columns = {
        "block": pa.array([name.bytes], pa.binary(16)),
        "loaded_at": pa.array([from_us(store.clock.now_us())], pa.timestamp("us", "UTC")),
        "rows": pa.array([rows], pa.uint64()),
        "batches": pa.array([batches], pa.uint64()),
    }
    return pa.table(columns)


def _is_late(store: Store, rows: BlockRows) -> bool:
    """Tell whether tokens of an attempt right after composing may have been forgotten."""
    age_us = store.clock.now_us() - rows.composed_at_us
    if age_us > LATE_SECONDS * 1_000_000:
        return True
    return age_us > SURE_SECONDS * 1_000_000 and _count_blocks_since(store, rows.composed_at_us) > LATE_BLOCKS


def _count_blocks_since(store: Store, instant_us: int) -> int:
    found = store.query("blocks_since", {"since": from_us(instant_us)}, role="loader")
    return int(found["blocks"][0].as_py())


def _compare_earlier(store: Store, rows: BlockRows, *, is_changed: bool) -> Earlier:
    """Tell whether an earlier attempt wrote nothing, rows that the same tokens complete, or others."""
    if any(_find_excluded(store, rows, table) for table in ("packets", "coverage")):
        return "other"  # the tokens may be forgotten with the parts that were emptied
    if _has_record(store, rows.repair):
        return "other"  # what is there was written under tokens that nobody knows any more
    found: Earlier = "none"
    for table, expected in _expect(rows).items():
        present = _count_present(store, rows, table)
        if present and (is_changed or present != expected):
            return "other"
        found = "same" if present else found
    return "erased" if found == "same" and _find_erased(store, rows) else found


def _expect(rows: BlockRows) -> dict[str, dict[tuple[int, int, int], int]]:
    """Give how many rows each batch has in each table when it is wholly there."""
    accepted = rows.rows_by_batch()
    return {
        "coverage": dict.fromkeys(accepted, 1),
        "packets": {name: count for name, count in accepted.items() if count},
    }


def _count_present(store: Store, rows: BlockRows, table: str) -> dict[tuple[int, int, int], int]:
    """Count the rows of each batch; erased ones count."""
    erased = _find_erased(store, rows) if table == "packets" else []
    return _sum_by_batch([*_find_present(store, rows, table), *erased])


def _is_there(store: Store, rows: BlockRows) -> bool:
    """Tell whether every batch has its rows, neither fewer nor more."""
    return all(_count_present(store, rows, table) == expected for table, expected in _expect(rows).items())


def _sum_by_batch(found: Iterable[dict[str, Any]]) -> dict[tuple[int, int, int], int]:
    sums: dict[tuple[int, int, int], int] = {}
    for one in found:
        name = (one["sensor"], one["epoch"], one["batch_seq"])
        sums[name] = sums.get(name, 0) + one["rows"]
    return sums


def _repair_for_good(store: Store, rows: BlockRows, note: Step) -> Outcome:
    """Repair a block so that, cut short, it is repaired again and not completed by its first tokens."""
    store.connections.insert("blocks", _record_of(store, rows.repair, 0, 0), token=f"{rows.token}:repair")
    note("after mark")
    return _repair(store, rows, note)


def _repair(store: Store, rows: BlockRows, note: Step) -> Outcome:
    """Write a block of which an attempt may have left a part that tokens cannot complete."""
    days = set(list_days_of(store, rows))
    for table in ("packets", "payload_examples", "coverage"):
        present = [*_find_present(store, rows, table), *_find_excluded(store, rows, table)]
        days.update(DayOfDataset(one["dataset"], one["day"]) for one in present)
        if present:
            for stored in (table, EXCLUDED[table], *(["erased_rows"] if table == "packets" else [])):
                _remove_batches(store, rows, stored)
    token = f"{rows.block}:{uuid.uuid4()}"
    _insert_rows(store, rows, token=token, note=note)
    _mend_days(store, sorted(days))
    _record(store, rows, token=token, note=note)
    metrics.BLOCKS.labels("repaired").inc()
    return "repaired"


def _mend_days(store: Store, days: Sequence[DayOfDataset]) -> None:
    for day in days:
        if check.check_day(store, day):
            rebuild.rebuild_day(store, day)


def _find_present(store: Store, rows: BlockRows, table: str) -> list[dict[str, Any]]:
    """Give batch, data set, day and number of the rows of a table that belong to the block's batches."""
    found: list[dict[str, Any]] = []
    for batches in _slice_spans(rows):
        values = {**batches, "table": table, "time": _TIME_COLUMNS[table], "zone": store.config.zone}
        found.extend(store.query("rows_of_batches", values, role="maintenance").to_pylist())
    return found


def _find_excluded(store: Store, rows: BlockRows, table: str) -> list[dict[str, Any]]:
    """Give what :func:`_find_present` gives, of the rows that are set aside for excluded sensors."""
    aside, time = EXCLUDED[table], _TIME_COLUMNS[table]
    found: list[dict[str, Any]] = []
    for batches in _slice_spans(rows):
        values = {**batches, "table": aside, "time": time, "zone": store.config.zone}
        found.extend(store.query("excluded_rows_of_batches", values, role="maintenance").to_pylist())
    return found


def _find_erased(store: Store, rows: BlockRows) -> list[dict[str, Any]]:
    """Give batch and number of the packets of the block that were erased since."""
    found: list[dict[str, Any]] = []
    for batches in _slice_spans(rows):
        found.extend(store.query("erased_rows_of_batches", batches, role="maintenance").to_pylist())
    return found


def _remove_batches(store: Store, rows: BlockRows, table: str) -> None:
    span = ""
    if table in _TIMES:
        time = _TIMES[table]
        span = f" AND {time} >= {{start:DateTime64(6, 'UTC')}} AND {time} < {{end:DateTime64(6, 'UTC')}}"
    for batches in _slice_spans(rows):
        store.command(
            f"DELETE FROM {table} WHERE dataset IN {{datasets:Array(String)}}{span}"  # noqa: S608 - our own tables
            " AND (sensor, epoch, batch_seq) IN {batches:Array(Tuple(UInt32, UInt32, UInt64))}",
            batches,
        )


def _slice_spans(rows: BlockRows) -> Iterator[dict[str, object]]:
    """Name batches for a statement, a thousand at a time."""
    spans = sorted(rows.list_spans(), key=lambda span: (span.dataset, span.window_start_us))
    for first in range(0, len(spans), 1_000):
        part = spans[first : first + 1_000]
        yield {
            "datasets": sorted({span.dataset for span in part}),
            "start": from_us(min(span.window_start_us for span in part)),
            "end": from_us(max(span.window_end_us for span in part)),
            "batches": [(span.sensor, span.epoch, span.seq) for span in part],
        }


def list_days_of(store: Store, rows: BlockRows) -> list[DayOfDataset]:
    """Give the days of the zone that packets or windows of a block touch."""
    from zoneinfo import ZoneInfo

    zone = ZoneInfo(store.config.zone)
    found = set()
    instants = [
        (rows.packets, "observed_at"),
        (rows.coverage, "window_start_at"),
        (rows.coverage, "window_end_at"),
    ]
    for table, column in instants:
        seconds = pc.cast(table[column], pa.int64()).to_numpy() // 1_000_000
        hours = pa.table({"dataset": table["dataset"].cast(pa.string()), "hour": seconds // 900})
        for row in hours.group_by(["dataset", "hour"]).aggregate([]).to_pylist():
            found.add(
                DayOfDataset(row["dataset"], from_us(row["hour"] * 900_000_000).astimezone(zone).date())
            )
    return sorted(found)


def _ignore(_: str) -> None:
    pass
