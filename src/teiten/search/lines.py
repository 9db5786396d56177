"""Packets and hosts per line and bucket: what series, rankings and key figures are made of."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import pyarrow as pa

from teiten.search import guarding
from teiten.search.conditions import Condition, Expression, all_of, where
from teiten.search.desk import Desk
from teiten.search.dimensions import Dimension, Key, write_chosen
from teiten.search.planner import Plan, plan
from teiten.search.query import Query
from teiten.search.statements import Draft, write_line_number
from teiten.search.tables import PACKETS
from teiten.search.visibility import Visibility

#: Numbers of the line that sums all, and of what no chosen key has; the chosen keys are 1, 2 and so on.
ALL = -1
OTHERS = 0
#: For how long what the panels of one screen have in common is kept, seconds.
_SHARED_SECONDS = 2.0
Answer = TypeVar("Answer")


@dataclass
class Counts:
    """One line over both periods: bucket by bucket, and each period as a whole."""

    #: Buckets in one period.
    steps: int
    #: ``2 * steps`` values: the previous period's, then this one's.
    packets: list[int] = field(default_factory=list)
    hosts: list[int] = field(default_factory=list)
    #: Of the whole previous period, and of this one.
    total_packets: list[int] = field(default_factory=lambda: [0, 0])
    total_hosts: list[int] = field(default_factory=lambda: [0, 0])

    def __post_init__(self) -> None:
        self.packets = self.packets or [0] * (2 * self.steps)
        self.hosts = self.hosts or [0] * (2 * self.steps)


def plan_for(
    desk: Desk,
    query: Query,
    *,
    dimension: Dimension | None = None,
    step_seconds: int | None = None,
    needs_hosts: bool | None = None,
    needs_buckets: bool = True,
) -> Plan:
    """Plan a query; without ``needs_hosts`` its metric tells whether sources are counted."""
    return plan(
        query,
        dimension=dimension,
        step_seconds=step_seconds,
        zone=desk.zone,
        needs_hosts=query.metric == "hosts" if needs_hosts is None else needs_hosts,
        needs_buckets=needs_buckets,
    )


def narrow_to_split(query: Query, split: Dimension) -> Query:
    """Keep the packets that have a value of a label, unless the query already asks about that label."""
    if split.only is None or any(
        isinstance(part, Condition) and part.field == split.field_name for part in query.conditions
    ):
        return query
    return query.narrow(split.only)


def narrow_to_family(query: Query) -> Query:
    """For a rate, keep IPv4 alone unless the query says otherwise: families are never mixed."""
    if query.metric != "rate" or family_of(query):
        return query
    return query.narrow(where("ip_version", "=", 4))


def family_of(query: Query) -> int:
    """Give the one address family that a query keeps: 4, 6, or 0 when it keeps both."""
    for part in query.conditions:
        if part in (where("ip_version", "=", 4), where("ip_version", "!=", 6)):
            return 4
        if part in (where("ip_version", "=", 6), where("ip_version", "!=", 4)):
            return 6
    return 0


def count_lines(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    made: Plan,
    *,
    dimension: Dimension | None = None,
    keys: Sequence[Key] = (),
    more: Sequence[Key] = (),
    previous: bool = True,
    buckets: bool = True,
    hosts: bool | None = None,
    total_by_bucket: bool = True,
) -> dict[int, Counts]:
    """Count packets, and hosts where the metric (or ``hosts``) asks for them, of each line.

    A dimension of which a packet may have several values (hints) multiplies rows, so
    that its total is counted by a statement of its own. Packets add up: where they alone
    are counted, only the rows of the chosen keys are told apart, and others are the rest.
    ``more`` are the ones that a panel with a longer list would show: they are counted with them.
    """
    with_hosts = query.metric == "hosts" if hosts is None else hosts
    if dimension is None:
        return _count_total(
            desk, visibility, query, made, previous=previous, buckets=buckets, with_hosts=with_hosts
        )
    if keys and not dimension.is_multiple and not with_hosts and not visibility.is_guarded:
        every = (*keys, *more)
        found = _count_apart(
            desk, visibility, query, made, dimension=dimension, keys=every, previous=previous, buckets=buckets
        )
        mine = {line: counts for line, counts in found.items() if OTHERS < line <= len(keys)}
        return add_rest(desk, visibility, query, made, mine, previous=previous, buckets=buckets)
    sets = _sets("line, current", buckets=buckets), _sets("current", buckets=buckets and total_by_bucket)
    found = _count_together(
        desk,
        visibility,
        query,
        made,
        dimension=dimension,
        keys=keys,
        previous=previous,
        sets=sets,
        with_hosts=with_hosts,
    )
    if dimension.is_multiple:
        found |= _count_total(
            desk, visibility, query, made, previous=previous, buckets=buckets, with_hosts=with_hosts
        )
    return found


def _count_together(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    made: Plan,
    *,
    dimension: Dimension,
    keys: Sequence[Key],
    previous: bool,
    sets: tuple[str, str],
    with_hosts: bool,
) -> dict[int, Counts]:
    """Count lines, others and all in one pass over all rows: neither hosts nor guarded figures add up."""

    def write(draft: Draft) -> str:
        return _write_counts(
            visibility,
            draft,
            line=write_line_number(dimension, keys, draft.binding),
            all_lines="grouping(line)",
            sets=", ".join(sets),
            buckets="bucket" in sets[0],
            with_hosts=with_hosts,
        )

    return _ask(desk, visibility, query, made, write, previous=previous)


def _ask(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    made: Plan,
    write: Callable[[Draft], str],
    *,
    previous: bool,
) -> dict[int, Counts]:
    """Run the statement that ``write`` gives for a draft, and gather its lines."""
    draft = Draft(made, query.dataset, query.survey, previous=previous)
    statement = write(draft)
    return _gather(desk.select(visibility, statement, draft.parameters), made.steps, previous=previous)


def share(desk: Desk, visibility: Visibility, key: Hashable, make: Callable[[], Answer]) -> Answer:
    """Make an answer once for the panels of one screen, which ask at the same moment."""
    return desk.remember(key, make, seconds=_SHARED_SECONDS, viewer=visibility)


def _count_total(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    made: Plan,
    *,
    previous: bool,
    buckets: bool,
    with_hosts: bool,
) -> dict[int, Counts]:
    def write(draft: Draft) -> str:
        return _write_counts(
            visibility,
            draft,
            line="toUInt32(0)",
            all_lines="1",
            sets=_sets("current", buckets=buckets),
            buckets=buckets,
            with_hosts=with_hosts,
        )

    key = ("total", query.dataset, query.survey, made, previous, buckets, with_hosts)
    return share(desk, visibility, key, lambda: _ask(desk, visibility, query, made, write, previous=previous))


def _write_counts(
    visibility: Visibility,
    draft: Draft,
    *,
    line: str,
    all_lines: str,
    sets: str,
    buckets: bool,
    with_hosts: bool = False,
    chosen: str = "",
) -> str:
    table = draft.table
    all_buckets, bucket = ("grouping(bucket)", draft.bucket()) if buckets else ("1", "toUInt32(0)")
    host_count = guarding.count_hosts(visibility, table) if with_hosts else "toUInt64(0)"
    rows = f"FROM {table.name} WHERE {draft.where()}" if buckets or chosen else draft.rows()
    return (
        f"SELECT {all_lines} AS all_lines, {all_buckets} AS all_buckets, {line} AS line,"
        f" toUInt8({draft.current()}) AS current, {bucket} AS bucket,"
        f" {guarding.count_packets(visibility, table)} AS packet_count, {host_count} AS host_count"
        f" {rows}{chosen} GROUP BY GROUPING SETS ({sets})"
    )


def _count_apart(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    made: Plan,
    *,
    dimension: Dimension,
    keys: tuple[Key, ...],
    previous: bool,
    buckets: bool,
) -> dict[int, Counts]:
    """Count the rows of the chosen keys alone."""

    def write(draft: Draft) -> str:
        return _write_counts(
            visibility,
            draft,
            line=write_line_number(dimension, keys, draft.binding),
            all_lines="0",
            sets=_sets("line, current", buckets=buckets),
            buckets=buckets,
            chosen=f" AND {write_chosen(dimension, list(keys), draft.binding, expressions=dimension.keys)}",
        )

    key = ("lines", query.dataset, query.survey, made, dimension.name, keys, previous, buckets)
    return share(desk, visibility, key, lambda: _ask(desk, visibility, query, made, write, previous=previous))


def add_rest(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    made: Plan,
    found: dict[int, Counts],
    *,
    previous: bool,
    buckets: bool = False,
) -> dict[int, Counts]:
    """Add the total to the packets of chosen lines, and with it what all others have."""
    lines = [counts for line, counts in found.items() if line > OTHERS]
    found[ALL] = count_whole(desk, visibility, query, made, previous=previous, buckets=buckets)
    found[OTHERS] = _subtract(found[ALL], lines)
    return found


def count_whole(
    desk: Desk, visibility: Visibility, query: Query, made: Plan, *, previous: bool, buckets: bool = False
) -> Counts:
    """Count all packets of a question, from a smaller roll-up than that of a split where there is one."""
    plain = _plan_total(desk, query, made, needs_buckets=buckets)
    return count_lines(desk, visibility, query, plain, previous=previous, buckets=buckets, hosts=False)[ALL]


def _plan_total(desk: Desk, query: Query, made: Plan, *, needs_buckets: bool) -> Plan:
    """Take a smaller roll-up for the total when there is one, of the same grain where buckets matter."""
    if made.table is PACKETS and (needs_buckets or query.is_guarded):
        return made
    plain = plan(
        query,
        step_seconds=made.window.step_seconds,
        zone=desk.zone,
        needs_hosts=False,
        needs_buckets=needs_buckets,
    )
    is_alike = plain.table.grain_seconds == made.table.grain_seconds or not needs_buckets
    return plain if is_alike and plain.window == made.window else made


def _subtract(whole: Counts, parts: Sequence[Counts]) -> Counts:
    rest = Counts(whole.steps)
    for name in ("packets", "total_packets"):
        sums = (sum(values) for values in zip(*(getattr(part, name) for part in parts), strict=True))
        taken = list(sums) or [0] * len(getattr(whole, name))
        kept = [max(0, count - part) for count, part in zip(getattr(whole, name), taken, strict=True)]
        setattr(rest, name, kept)
    return rest


def _sets(columns: str, *, buckets: bool) -> str:
    return f"({columns}, bucket), ({columns})" if buckets else f"({columns})"


def _gather(table: pa.Table, steps: int, *, previous: bool) -> dict[int, Counts]:
    found: dict[int, Counts] = {ALL: Counts(steps)}
    shift = 0 if previous else steps
    columns = [table.column(name).to_pylist() for name in _RESULT]
    for all_lines, all_buckets, line, current, bucket, packets, hosts in zip(*columns, strict=True):
        counts = found.setdefault(ALL if all_lines else line, Counts(steps))
        if all_buckets:
            counts.total_packets[current] = packets
            counts.total_hosts[current] = hosts
        elif 0 <= bucket + shift < 2 * steps:
            counts.packets[bucket + shift] = packets
            counts.hosts[bucket + shift] = hosts
    return found


_RESULT = ("all_lines", "all_buckets", "line", "current", "bucket", "packet_count", "host_count")


def narrow(query: Query, extra: Expression) -> Query:
    """Add a condition without regard to chips."""
    return replace(query, filters=all_of([part for part in (query.filters, extra) if part is not None]))
