"""Erase an address, or what sensors sent, from everything that the store holds.

What is searched for an address or prefix: source and destination of every raw packet,
the addresses of the packet that an ICMP or ICMPv6 error quotes, the payload examples of
all of these, excluded rows as well, and the sources' days. Not searched: other payload bytes.
Roll-ups of the days are made again. Where retention has taken raw rows of a day, its
``sources_1d`` rows go; the other roll-ups hold no addresses (their sketches keep hashes of
which at most the number can be asked), so they stay.

Rows go physically: parts are rewritten, and the replaced files are removed within some
ten minutes. A batch keeps its coverage, and how many of its rows were erased is noted, so that
neither the check nor a repeated block takes them for lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from teiten.foundation.clock import to_us
from teiten.store import changes, exclusion, holding, metrics, partitions, rebuild
from teiten.store.changes import Change, Step
from teiten.store.errors import ChangeRefused
from teiten.store.holding import Hold
from teiten.store.partitions import DayOfDataset
from teiten.store.schema import COVERAGE_ROLLUPS, EXCLUDED
from teiten.store.statements import StatementRunner

#: Nobody erases a broader network than this by IP version: it is a slip.
_BROADEST = {4: 8, 6: 16}
_PACKETS = ("packets", EXCLUDED["packets"])
_EXAMPLES = ("payload_examples", EXCLUDED["payload_examples"])
_BATCHES = ("coverage", EXCLUDED["coverage"], "lost_batches")
#: Where the quoted source and destination stand in the payload of an error (RFC 792, RFC 4443): first byte and length.
_QUOTES = {
    4: ("protocol = 1 AND icmp_type IN (3, 4, 5, 11, 12)", (13, 17), 4),
    6: ("protocol = 58 AND icmp_type IN (1, 2, 3, 4, 137)", (9, 25), 16),
}
_TABLES = {
    "erase_address": (*_EXAMPLES, *_PACKETS, "sources_1d"),
    "erase_sensors": (*_EXAMPLES, *_PACKETS, *_BATCHES, *COVERAGE_ROLLUPS),
}
#: Tables in which a row may stand twice until parts are merged.
_REPLACING = (*_EXAMPLES, EXCLUDED["packets"], *_BATCHES)
#: Whether a row belongs to the period. Numbers, as ClickHouse cannot read back every instant in a mutation's text.
_SPAN = "{0} >= {{start_us:Int64}} AND {0} < {{end_us:Int64}}"
_DAY_SPAN = (
    "day BETWEEN toDate(fromUnixTimestamp64Micro({start_us:Int64}), {zone:String})"
    " AND toDate(fromUnixTimestamp64Micro({end_us:Int64} - 1), {zone:String})"
)
_PERIODS = {
    **dict.fromkeys((*_EXAMPLES, *_PACKETS), _SPAN.format("toUnixTimestamp64Micro(observed_at)")),
    **dict.fromkeys(_BATCHES, _SPAN.format("toUnixTimestamp64Micro(window_start_at)")),
    "coverage_1h": _SPAN.format("toInt64(toUnixTimestamp(hour)) * 1000000"),
    "coverage_1d": _DAY_SPAN,
    "sources_1d": _DAY_SPAN,
}
_WINDOW_DAYS = (
    "arrayJoin(arrayDistinct([toDate(window_start_at, {zone:String}),"
    " toDate(greatest(window_start_at, window_end_at - toIntervalMicrosecond(1)), {zone:String})]))"
)
#: The days whose figures a row stands in.
_DAYS = {
    **dict.fromkeys((*_EXAMPLES, *_PACKETS), "toDate(observed_at, {zone:String})"),
    **dict.fromkeys(_BATCHES, _WINDOW_DAYS),
    "coverage_1h": "toDate(hour, {zone:String})",
    "coverage_1d": "day",
    "sources_1d": "day",
}
_FIRST_AT = datetime(1970, 1, 2, tzinfo=timezone.utc)
_LAST_AT = datetime(2105, 1, 1, tzinfo=timezone.utc)


def erase_address(
    store: StatementRunner,
    *,
    network: str,
    start: datetime | None = None,
    end: datetime | None = None,
    dataset: str | None = None,
    held: Sequence[Hold] = (),
    step: Step | None = None,
) -> dict[str, int]:
    """Erase every packet in which an address of ``network`` occurs.

    Args:
        store: the open store.
        network: an address or a prefix, IPv4 or IPv6.
        start: packets observed from here on; None: from the first. A day without raw rows counts as a whole.
        end: packets observed before this; None: to the last.
        dataset: None: every data set.
        held: legal holds that stand.
        step: hook for tests.

    Returns:
        ``rows``: raw rows erased, ``examples``, ``days``: how many days they were of.

    Raises:
        ChangeRefused: when the network is malformed or over-broad, or the period is reversed.
        DayHeld: when a day in which it occurs is under a legal hold; nothing was changed.
    """
    what = {"network": str(_read_network(network)), **_as_period(start, end), "dataset": dataset or ""}
    return _erase(store, "erase_address", what, held=held, step=step)


def erase_sensors(
    store: StatementRunner,
    *,
    sensors: Iterable[int],
    start: datetime | None = None,
    end: datetime | None = None,
    dataset: str | None = None,
    held: Sequence[Hold] = (),
    step: Step | None = None,
) -> dict[str, int]:
    """Erase everything that sensors sent: packets, examples, coverage, tombstones.

    Packets observed in the period go, and batches whose window begins in it. Where raw rows or batches of a day are
    gone already, the sensors' rows of the coverage roll-ups go, and the other roll-ups stay: they have sensors' numbers only.

    Raises:
        ChangeRefused: when no sensor is named or the period is reversed.
        DayHeld: as :func:`erase_address` does.
    """
    numbers = sorted(set(sensors))
    if not numbers:
        raise ChangeRefused("no sensor is named; name at least one; nothing was changed")
    what = {"sensors": numbers, **_as_period(start, end), "dataset": dataset or ""}
    return _erase(store, "erase_sensors", what, held=held, step=step)


def finish(store: StatementRunner, *, step: Step | None = None) -> int:
    """Finish exclusions, returns and erasures that were cut short, and give their number."""
    with store.changing:
        done = exclusion.finish(store)
        unfinished = changes.list_unfinished(store, tuple(_TABLES))
        for change in unfinished:
            _run(store, change, step or _ignore)
    return done + len(unfinished)


def _erase(
    store: StatementRunner, kind: str, what: Mapping[str, Any], *, held: Sequence[Hold], step: Step | None
) -> dict[str, int]:
    with store.changing:
        finish(store)
        found = {table: _count(store, kind, what, table=table) for table in _TABLES[kind]}
        days = sorted({day for counts in found.values() for day in counts})
        holding.refuse_held(held, days, store.config.zone)
        if days:
            _run(store, changes.begin(store, kind, what, days=days, phase="noting"), step or _ignore)
    rows = {table: sum(counts.values()) for table, counts in found.items()}
    return {
        "rows": sum(rows[table] for table in _PACKETS),
        "examples": sum(rows[table] for table in _EXAMPLES),
        "days": len(days),
    }


def _run(store: StatementRunner, change: Change, note: Step) -> None:
    note("erase: begun")
    if change.phase != "rebuilding":
        with store.writing:  # what comes between noting and removing would go without a note
            change = _remove_rows(store, change, note)
    for number, day in enumerate(change.days):
        _bring_forward(store, change, day)
        note(f"erase: day {number} rebuilt")
    changes.finish(store, change)
    metrics.CHANGES.labels(change.kind).inc()


def _remove_rows(store: StatementRunner, change: Change, note: Step) -> Change:
    if change.phase == "noting":
        _note_rows(store, change)
        note("erase: noted")
        change = changes.advance(store, change, "removing")
    for table in (*_EXAMPLES, *_PACKETS, *(_BATCHES if change.kind == "erase_sensors" else ())):
        _remove(store, change, table, days=change.days)
        note(f"erase: {table} removed")
    return changes.advance(store, change, "rebuilding")


def _bring_forward(store: StatementRunner, change: Change, day: DayOfDataset) -> None:
    """Make a day's roll-ups again; where the rows behind them are gone, remove what names the erased."""
    if "packets" not in rebuild.list_removed_tables(store, day):
        rebuild.rebuild_day(store, day)
    elif change.kind == "erase_address":
        _remove(store, change, "sources_1d", days=[day])
    if change.kind == "erase_sensors" and not rebuild.rebuild_coverage(store, day):
        for table in COVERAGE_ROLLUPS:
            _remove(store, change, table, days=[day])
        rebuild.sum_up_coverage(store, day)


def _count(
    store: StatementRunner, kind: str, what: Mapping[str, Any], *, table: str
) -> dict[DayOfDataset, int]:
    """Give the rows of one table that an erasure is about, by day."""
    final = " FINAL" if table in _REPLACING else ""
    rows = store.select(
        f"SELECT toString(dataset) AS dataset, toDate32({_DAYS[table]}) AS day, count() AS n FROM {table}{final}"  # noqa: S608 - our own names, bound values
        f" WHERE {_condition(kind, what, table)} GROUP BY dataset, day ORDER BY dataset, day",
        _bind(what, store.config.zone),
        role="maintenance",
    ).to_pylist()
    return {DayOfDataset(row["dataset"], row["day"]): row["n"] for row in rows}


def _note_rows(store: StatementRunner, change: Change) -> None:
    """Write down how many rows of each batch go, before any does."""
    for table in _PACKETS:
        store.command(
            "INSERT INTO erased_rows SELECT {change:UUID}, dataset, toDate(observed_at, {zone:String}) AS day,"  # noqa: S608 - our own names, bound values
            f" sensor, epoch, batch_seq, count() FROM {table}{' FINAL' if table in _REPLACING else ''}"
            f" WHERE {_condition(change.kind, change.arguments, table)}"
            " GROUP BY dataset, day, sensor, epoch, batch_seq SETTINGS insert_deduplicate = 0",
            _bind(change.arguments, store.config.zone) | {"change": change.id},
        )


def _remove(store: StatementRunner, change: Change, table: str, *, days: Sequence[DayOfDataset]) -> None:
    condition = _condition(change.kind, change.arguments, table)
    for partition in partitions.list_partitions(store.connections, [table]):
        if partition.holds in days:
            store.command(
                f"ALTER TABLE {table} DELETE IN PARTITION ID '{partition.id}' WHERE {condition}"
                " SETTINGS mutations_sync = 1",
                _bind(change.arguments, store.config.zone),
            )


def _condition(kind: str, what: Mapping[str, Any], table: str) -> str:
    """Give the condition of the rows of ``table`` that an erasure is about."""
    whose = "sensor IN {sensors:Array(UInt32)}" if kind == "erase_sensors" else _find_address(what, table)
    return f"({{dataset:String}} = '' OR dataset = {{dataset:String}}) AND {_PERIODS[table]} AND ({whose})"


def _find_address(what: Mapping[str, Any], table: str) -> str:
    source = _between("src_addr")
    if table in _EXAMPLES:
        names = "sensor, epoch, batch_seq, row"
        rows = " UNION ALL ".join(
            f"SELECT {names} FROM {packets} WHERE {_condition('erase_address', what, packets)}"  # noqa: S608 - our own names, bound values
            for packets in _PACKETS
        )
        return f"{source} OR ({names}) IN ({rows})"
    if table not in _PACKETS:
        return source
    errors, places, size = _QUOTES[ip_network(what["network"]).version]
    quoted = " OR ".join(
        f"substring(payload, {place}, {size}) BETWEEN unhex({{first_bytes:String}}) AND unhex({{last_bytes:String}})"
        for place in places
    )
    return f"{source} OR {_between('dst_addr')} OR ({errors} AND ({quoted}))"


def _between(column: str) -> str:
    return f"{column} BETWEEN {{first_address:IPv6}} AND {{last_address:IPv6}}"


def _bind(what: Mapping[str, Any], zone: str) -> dict[str, object]:
    values: dict[str, object] = {"zone": zone} | {
        name: what[name] for name in ("dataset", "start_us", "end_us")
    }
    if "sensors" in what:
        return values | {"sensors": list(what["sensors"])}
    network = ip_network(what["network"])
    mapped = "::ffff:" if network.version == 4 else ""
    return values | {
        "first_address": f"{mapped}{network[0]}",
        "last_address": f"{mapped}{network[-1]}",
        "first_bytes": network[0].packed.hex(),
        "last_bytes": network[-1].packed.hex(),
    }


def _read_network(text: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(text)
    except ValueError as error:
        raise ChangeRefused(
            f"{text!r} is no address and no prefix ({error}); write 192.0.2.1 or 2001:db8::/48; nothing was changed"
        ) from error
    if network.prefixlen < _BROADEST[network.version]:
        raise ChangeRefused(
            f"{network} is broader than /{_BROADEST[network.version]}: that much is not erased at once;"
            " name a longer prefix; nothing was changed"
        )
    return network


def _as_period(start: datetime | None, end: datetime | None) -> dict[str, int]:
    first, last = start or _FIRST_AT, end or _LAST_AT
    if first >= last:
        raise ChangeRefused(
            f"the period {first.isoformat()} to {last.isoformat()} ends before it starts;"
            " exchange its ends; nothing was changed"
        )
    return {"start_us": to_us(first), "end_us": to_us(last)}


def _ignore(_: str) -> None:
    pass
