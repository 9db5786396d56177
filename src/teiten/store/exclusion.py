"""Take a sensor's data of a period out of every figure, and put them back.

A batch is excluded as a whole when its window overlaps the period: rows, payload examples
and coverage move to tables of their own (``schema.EXCLUDED``), and the days that they touch
are rebuilt. Tombstones stay: a lost batch is no datum. Each step does the same when done
twice, the order of the steps is such that no row is ever only in a table that the next step
empties, and the journal (:mod:`teiten.store.changes`) says where to go on after a kill:

exclude
    copy coverage, then rows → remove rows, then coverage → rebuild. A batch in
    ``coverage_excluded`` is one that goes.
include
    remove what an earlier attempt has put back → copy rows and coverage back → rebuild → only
    then remove what was set aside.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from teiten.foundation.clock import to_us
from teiten.store import changes, metrics, partitions, rebuild
from teiten.store.changes import Change, Step
from teiten.store.connections import quote_identifier
from teiten.store.errors import ChangeRefused, RebuildRefused
from teiten.store.partitions import DayOfDataset
from teiten.store.schema import EXCLUDED
from teiten.store.statements import StatementRunner

_log = logging.getLogger(__name__)
_KINDS = ("exclude", "include")
#: Copied and removed in this order: the coverage names the batches, so it comes first and goes last.
_ROWS = ("payload_examples", "packets")
_TIMES = {"packets": "observed_at", "payload_examples": "observed_at", "coverage": "window_start_at"}
#: Numbers, as ClickHouse cannot read back every instant in a mutation's text.
_OVERLAP = (
    "toUnixTimestamp64Micro(window_start_at) < {{{0}end_us:Int64}}"
    " AND toUnixTimestamp64Micro(window_end_at) > {{{0}start_us:Int64}}"
)
#: A copy is no new data: neither its content nor a token may make ClickHouse drop it.
_AS_IT_IS = " SETTINGS insert_deduplicate = 0, deduplicate_blocks_in_dependent_materialized_views = 0"


@dataclass(frozen=True)
class Exclusion:
    """One sensor's data of one period, ``[start_at, end_at)``."""

    dataset: str
    sensor: int
    start_at: datetime
    end_at: datetime


def exclude_sensor(
    store: StatementRunner,
    *,
    dataset: str,
    sensor: int,
    start: datetime,
    end: datetime,
    step: Step | None = None,
) -> dict[str, int]:
    """Set aside the batches of a sensor whose windows overlap ``[start, end)``, and rebuild their days.

    Returns:
        ``batches``: how many were set aside now (0: none had come since), ``days``: how many were rebuilt.

    Raises:
        ChangeRefused: when the period is reversed.
        RebuildRefused: when retention has taken raw rows of a day, so that its figures could not be
            made again; nothing was changed.
        StoreUnavailable: a day grew meanwhile; do it again.
    """
    what = Exclusion(dataset, sensor, start, end)
    _check_period(what)
    with store.changing:
        finish(store, step=step)
        batches = _count_batches(store, what)
        if not batches:
            return {"batches": 0, "days": 0}
        days = _list_days(store, what, "coverage")
        _refuse_thinned(store, days)
        change = changes.begin(store, "exclude", _as_arguments(what), days=days, phase="moving")
        _exclude(store, change, step or _ignore)
        return {"batches": batches, "days": len(days)}


def include_sensor(
    store: StatementRunner,
    *,
    dataset: str,
    sensor: int,
    start: datetime,
    end: datetime,
    standing: Sequence[Exclusion] = (),
    step: Step | None = None,
) -> dict[str, int]:
    """Put back what was set aside, but for batches that another exclusion still covers.

    Args:
        store: the open store.
        dataset: as it was excluded.
        sensor: as it was excluded.
        start: as it was excluded.
        end: as it was excluded.
        standing: exclusions that remain; those of other sensors and data sets do not matter.
        step: hook for tests.

    Returns:
        ``days``: how many were rebuilt.

    Raises:
        ChangeRefused: when the period is reversed.
        RebuildRefused: as :func:`exclude_sensor` does.
    """
    what = Exclusion(dataset, sensor, start, end)
    _check_period(what)
    remaining = [_as_arguments(one) for one in standing if (one.dataset, one.sensor) == (dataset, sensor)]
    with store.changing:
        finish(store, step=step)
        days = _list_days(store, what, "coverage_excluded")
        if not days:
            return {"days": 0}
        _refuse_thinned(store, days)
        arguments = _as_arguments(what) | {"standing": remaining}
        change = changes.begin(store, "include", arguments, days=days, phase="copying")
        _include(store, change, step or _ignore)
        return {"days": len(days)}


def reapply(store: StatementRunner, exclusions: Iterable[Exclusion]) -> dict[str, int]:
    """Set aside what came late under exclusions that stand; batches and days by their sums."""
    done = {"batches": 0, "days": 0}
    finish(store)
    for one in exclusions:
        facts = exclude_sensor(
            store, dataset=one.dataset, sensor=one.sensor, start=one.start_at, end=one.end_at
        )
        done = {name: done[name] + facts[name] for name in done}
    return done


def finish(store: StatementRunner, *, step: Step | None = None) -> int:
    """Finish exclusions and returns that were cut short, and give their number."""
    with store.changing:
        unfinished = changes.list_unfinished(store, _KINDS)
        for change in unfinished:
            run = _exclude if change.kind == "exclude" else _include
            run(store, change, step or _ignore)
    return len(unfinished)


def _exclude(store: StatementRunner, change: Change, note: Step) -> None:
    note("exclude: begun")
    if change.phase == "moving":
        with store.writing:
            _set_aside(store, change, note)
        change = changes.advance(store, change, "rebuilding")
    _rebuild(store, change, note)
    changes.finish(store, change)
    metrics.CHANGES.labels(change.kind).inc()


def _set_aside(store: StatementRunner, change: Change, note: Step) -> None:
    _copy(store, change, "coverage", EXCLUDED["coverage"], batches="coverage")
    note("exclude: coverage copied")
    for table in _ROWS:
        _copy(store, change, table, EXCLUDED[table], batches="coverage_excluded")
        note(f"exclude: {table} copied")
    for table in (*_ROWS, "coverage"):
        _remove(store, change, table)
        note(f"exclude: {table} removed")


def _include(store: StatementRunner, change: Change, note: Step) -> None:
    note("include: begun")
    if change.phase == "copying":
        with store.writing:
            _put_back(store, change, note)
        change = changes.advance(store, change, "rebuilding")
    if change.phase == "rebuilding":
        _rebuild(store, change, note)
        change = changes.advance(store, change, "clearing")
    for table in (*_ROWS, "coverage"):
        _remove(store, change, EXCLUDED[table])
        note(f"include: {table} cleared")
    changes.finish(store, change)
    metrics.CHANGES.labels(change.kind).inc()


def _put_back(store: StatementRunner, change: Change, note: Step) -> None:
    for table in (*_ROWS, "coverage"):
        _remove(store, change, table)
        _copy(store, change, EXCLUDED[table], table, batches="coverage_excluded")
        note(f"include: {table} copied")


def _copy(store: StatementRunner, change: Change, source: str, target: str, *, batches: str) -> None:
    """Copy the batches' rows day by day, so that no insert touches many partitions."""
    condition = _select_batches(change, batches)
    final = " FINAL" if source != "packets" else ""
    for part in _parts_of(store, change, source):
        store.command(
            f"INSERT INTO {quote_identifier(target)} SELECT * FROM {quote_identifier(source)}{final}"  # noqa: S608 - our own names, bound values
            f" WHERE _partition_id = '{part}' AND {condition}{_AS_IT_IS}",
            _bind(change),
        )


def _remove(store: StatementRunner, change: Change, table: str) -> None:
    condition, name = _select_batches(change, "coverage_excluded"), quote_identifier(table)
    for part in _parts_of(store, change, table):
        found = store.select(
            f"SELECT 1 AS one FROM {name} WHERE _partition_id = '{part}' AND {condition} LIMIT 1",  # noqa: S608 - our own names, bound values
            _bind(change),
            role="maintenance",
        )
        if found.num_rows:  # a deletion that finds nothing waits for the background as long as any
            delete = f"DELETE FROM {name} IN PARTITION ID '{part}' WHERE {condition}"  # noqa: S608 - our own names, bound values
            store.command(delete, _bind(change))


def _parts_of(store: StatementRunner, change: Change, table: str) -> list[str]:
    days = set(change.days)
    return [one.id for one in partitions.list_partitions(store.connections, [table]) if one.holds in days]


def _select_batches(change: Change, table: str) -> str:
    """Give the condition of the rows that belong to the change's batches, as ``table`` names them now."""
    excepted = "".join(
        f" AND NOT ({_OVERLAP.format(f's{number}_')})"
        for number in range(len(change.arguments.get("standing", ())))
    )
    return (
        "dataset = {dataset:String} AND sensor = {sensor:UInt32} AND (epoch, batch_seq) IN"  # noqa: S608 - our own names, bound values
        f" (SELECT epoch, batch_seq FROM {table} FINAL"
        " WHERE dataset = {dataset:String} AND sensor = {sensor:UInt32}"
        f" AND {_OVERLAP.format('')}{excepted})"
    )


def _bind(change: Change) -> dict[str, object]:
    values: dict[str, object] = {
        "dataset": change.arguments["dataset"],
        "sensor": change.arguments["sensor"],
        **_read_period(change.arguments, ""),
    }
    for number, one in enumerate(change.arguments.get("standing", ())):
        values |= _read_period(one, f"s{number}_")
    return values


def _read_period(arguments: Mapping[str, Any], prefix: str) -> dict[str, object]:
    return {f"{prefix}{name}": arguments[name] for name in ("start_us", "end_us")}


def _rebuild(store: StatementRunner, change: Change, note: Step) -> None:
    for number, day in enumerate(change.days):
        try:
            rebuild.rebuild_day(store, day)
        except RebuildRefused as error:
            # Retention came between a kill and now: what it left of the day's figures stays.
            _log.warning("A day's figures could not be made again.", extra={"reason": str(error)})
        note(f"{change.kind}: day {number} rebuilt")


def _count_batches(store: StatementRunner, what: Exclusion) -> int:
    values = {"dataset": what.dataset, "sensor": what.sensor, "start": what.start_at, "end": what.end_at}
    found = store.query("batches_to_exclude", values, role="maintenance")
    return int(found["batches"][0].as_py())


def _list_days(store: StatementRunner, what: Exclusion, table: str) -> list[DayOfDataset]:
    values = {"dataset": what.dataset, "sensor": what.sensor, "start": what.start_at, "end": what.end_at}
    bound = {**values, "table": table, "zone": store.config.zone}
    found = store.query("days_of_batches", bound, role="maintenance").to_pylist()
    return sorted(DayOfDataset(what.dataset, row["day"]) for row in found)


def _refuse_thinned(store: StatementRunner, days: Sequence[DayOfDataset]) -> None:
    for day in days:
        taken = rebuild.list_removed_tables(store, day) & {"packets", "packets_excluded"}
        if taken or not rebuild.has_whole_coverage(store, day):
            raise RebuildRefused(
                f"retention has taken rows of {day.day} of {day.dataset}, so its figures could not be made again;"
                " choose a period without that day; nothing was changed"
            )


def _check_period(what: Exclusion) -> None:
    if what.start_at >= what.end_at:
        raise ChangeRefused(
            f"the period {what.start_at.isoformat()} to {what.end_at.isoformat()} ends before it starts;"
            " exchange its ends; nothing was changed"
        )


def _as_arguments(what: Exclusion) -> dict[str, Any]:
    period = {"start_us": to_us(what.start_at), "end_us": to_us(what.end_at)}
    return {"dataset": what.dataset, "sensor": what.sensor} | period


def _ignore(_: str) -> None:
    pass
