"""Single packets: pages of rows by keyset, newest first, and the identity of each; lines of alike packets for members."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import pyarrow as pa

from teiten.foundation.clock import from_us, to_us
from teiten.search import cells, fields, grouped, guarding, lines
from teiten.search.answers import Rows
from teiten.search.coverage import observe
from teiten.search.desk import Desk
from teiten.search.errors import NotPermitted, QueryError
from teiten.search.masking import check_filters, choose_columns, mask_batch
from teiten.search.packet_filters import write_where
from teiten.search.predicates import Binding
from teiten.search.query import Query
from teiten.search.ranking import check_limit
from teiten.search.references import RowPlace
from teiten.search.tables import PACKETS
from teiten.search.visibility import Visibility
from teiten.traffic.columns import BY_NAME, COLUMNS

#: Columns of a table of packets, unless others are asked for.
DEFAULT_COLUMNS = (
    "observed_at", "src_addr", "asn", "country", "protocol", "src_port", "dst_port", "tcp_flags", "nature", "hints",
    "tcp_fp", "survey", "payload_length", "region", "sensor",
)  # fmt: skip
_IDENTITY = ("sensor", "epoch", "batch_seq", "row")
_PLACE = ("observed_us", *_IDENTITY)
#: The first stretch of time that is read; each next one is twice as long.
_FIRST_STRETCH = timedelta(hours=1)
_LONGEST_STRETCH = timedelta(days=8)


def answer_rows(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    *,
    page: str | None,
    limit: int,
    columns: Sequence[str] | None,
    count: bool,
) -> Rows:
    """See :meth:`teiten.search.service.Search.rows`."""
    started = desk.clock.monotonic()
    check_filters(visibility, query.filters)
    check_limit(limit, most=desk.config.max_page_rows)
    wanted = check_columns(columns or DEFAULT_COLUMNS)
    if visibility.is_guarded:
        return _answer_groups(desk, visibility, query, wanted, page=page, limit=limit, count=count)
    shown, masked = choose_columns(visibility, wanted)
    below = desk.references.read(visibility, page, name="page") if page else None
    table = _collect(desk, visibility, query, shown, below=below, limit=limit)
    places = _read_places(table, query.dataset)
    references = tuple(desk.references.write(visibility, place) for place in places[:limit])
    batch = mask_batch(visibility, cells.combine(table.slice(0, limit).select(_selected(shown))))
    found, capped = _count(desk, visibility, query) if count else (0, False)
    window = lines.plan_for(desk, query, needs_hosts=False).window
    return Rows(
        columns=wanted,
        rows=cells.to_rows(batch, wanted),
        references=references,
        masked=masked,
        next_page=references[-1] if len(places) > limit else None,
        count=found,
        is_count_capped=capped,
        basis=observe(desk, visibility, query, window).basis,
        cost=desk.cost_of_packets(window, started, call="rows"),
    )


def _answer_groups(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    wanted: Sequence[str],
    *,
    page: str | None,
    limit: int,
    count: bool,
) -> Rows:
    started = desk.clock.monotonic()
    shown, masked = grouped.choose_group_columns(visibility, wanted)
    if not shown:
        raise NotPermitted(
            f"a {visibility.role} may see none of {', '.join(wanted)}; take columns of packets that are open",
            field="columns",
        )
    below = grouped.parse_place(desk, visibility, page, shown) if page else None
    table = _collect_groups(desk, visibility, query, shown, below=below, limit=limit)
    kept = table.slice(0, limit)
    following = None
    if table.num_rows > limit:
        last = grouped.read_place(kept, limit - 1, shown)
        following = grouped.write_place(desk, visibility, last, shown)
    found, capped = _count(desk, visibility, query) if count else (0, False)
    window = lines.plan_for(desk, query, needs_hosts=False).window
    return Rows(
        columns=tuple(wanted),
        rows=cells.to_rows(grouped.to_batch(visibility, query, kept, shown), wanted),
        references=(),
        masked=masked,
        next_page=following,
        count=found,
        is_count_capped=capped,
        basis=observe(desk, visibility, query, window).basis,
        cost=desk.cost_of_packets(window, started, call="rows"),
        packets=tuple(int(found) for found in kept.column("packet_count").to_numpy()),
    )


def _collect_groups(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    columns: Sequence[str],
    *,
    below: grouped.Place | None,
    limit: int,
) -> pa.Table:
    """Read whole hours (or days), back from the end, until the page (and one line more) is full."""
    unit = grouped.unit_of(query)
    tables: list[pa.Table] = []
    missing = limit + 1
    end_us = to_us(query.end) if below is None else min(to_us(query.end), grouped.end_of(below, unit))
    for start, end in _list_stretches(query, end_us, first=unit):
        part = grouped.read_groups(
            desk, visibility, query.within(start, end), columns, below=below, limit=missing, unit=unit
        )
        tables.append(part)
        missing -= part.num_rows
        if missing <= 0:
            break
    return pa.concat_tables(tables)


def check_columns(columns: Sequence[str]) -> tuple[str, ...]:
    """Refuse what is no column of a packet.

    Raises:
        QueryError: naming the nearest columns.
    """
    for name in columns:
        if name not in BY_NAME:
            known = tuple(column.name for column in COLUMNS)
            raise QueryError(
                f"columns: {name!r} is no column; {fields.suggest_names(name, known)}",
                field="columns",
                value=name,
                rule="one of " + ", ".join(known),
            )
    return tuple(dict.fromkeys(columns))


def write_columns(columns: Sequence[str]) -> str:
    """Give the SELECT list: bytes as hexadecimal text, since they may be no UTF-8."""
    return ", ".join(
        f"hex({name}) AS {name}_hex" if BY_NAME[name].kind == "bytes" else name for name in columns
    )


def _selected(columns: Sequence[str]) -> list[str]:
    return [f"{name}_hex" if BY_NAME[name].kind == "bytes" else name for name in columns]


def _collect(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    columns: Sequence[str],
    *,
    below: RowPlace | None,
    limit: int,
) -> pa.Table:
    """Read stretch by stretch, back from the end, until the page (and one row more) is full."""
    tables: list[pa.Table] = []
    missing = limit + 1
    end_us = to_us(query.end) if below is None else min(to_us(query.end), below.observed_us + 1)
    for start, end in _list_stretches(query, end_us):
        part = _read_stretch(desk, visibility, query.within(start, end), columns, below=below, limit=missing)
        tables.append(part)
        missing -= part.num_rows
        if missing <= 0:
            break
    return pa.concat_tables(tables)


def _list_stretches(
    query: Query, end_us: int, *, first: timedelta = _FIRST_STRETCH
) -> Iterator[tuple[datetime, datetime]]:
    length = first
    end = max(from_us(end_us), query.start + timedelta(microseconds=1))
    while end > query.start:
        start = max(query.start, end - length)
        yield start, end
        end, length = start, min(2 * length, _LONGEST_STRETCH)


def _read_stretch(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    columns: Sequence[str],
    *,
    below: RowPlace | None,
    limit: int,
) -> pa.Table:
    binding = Binding()
    extra = [name for name in _IDENTITY if name not in columns]
    where = write_where(query, binding)
    if below is not None:
        mark = binding.bind(
            "Tuple(Int64, UInt32, UInt32, UInt64, UInt32)",
            (below.observed_us, below.sensor, below.epoch, below.batch_seq, below.row),
        )
        where += f" AND (toUnixTimestamp64Micro(observed_at), {', '.join(_IDENTITY)}) < {mark}"
    selected = write_columns([*columns, *extra])
    statement = (
        f"SELECT toUnixTimestamp64Micro(observed_at) AS observed_us, {selected} FROM {PACKETS.name} WHERE {where}"  # noqa: S608 - declared names, bound values
        " ORDER BY observed_at DESC, sensor DESC, epoch DESC, batch_seq DESC, row DESC"
        f" LIMIT {binding.bind('UInt32', limit)}"
    )
    return desk.select(visibility, statement, binding.parameters)


def _read_places(table: pa.Table, dataset: str) -> list[RowPlace]:
    columns = [table.column(name).to_pylist() for name in _PLACE]
    return [
        RowPlace(observed_us, sensor, epoch, batch_seq, row, dataset)
        for observed_us, sensor, epoch, batch_seq, row in zip(*columns, strict=True)
    ]


def _count(desk: Desk, visibility: Visibility, query: Query) -> tuple[int, bool]:
    binding = Binding()
    most = desk.config.count_limit
    statement = (
        f"SELECT {guarding.count_packets(visibility, PACKETS)} AS found FROM (SELECT sensor"  # noqa: S608 - as above
        f" FROM {PACKETS.name} WHERE {write_where(query, binding)} LIMIT {binding.bind('UInt32', most + 1)})"
    )
    found = int(desk.select(visibility, statement, binding.parameters).column("found")[0].as_py() or 0)
    return min(found, most), found > most
