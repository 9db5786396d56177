"""SELECT statements over any of the tables, built from declarations and bound values.

A statement covers the period and the one before it in a single pass: bucket numbers
run from 0 (start of the previous period) to ``2 * steps``, and ``current`` tells the
halves apart. No text of a viewer is ever part of the SQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from teiten.search.conditions import Expression
from teiten.search.dimensions import Dimension, Key, key_types, to_text
from teiten.search.periods import DAY, Window, is_midnight, part_days
from teiten.search.planner import Plan
from teiten.search.predicates import Binding, write_filter
from teiten.search.query import Survey
from teiten.search.tables import Table

#: Types of a port and its protocol.
_SERVICE = ("UInt16", "UInt8")
#: What roll-ups by hour and by day have in common besides their keys; the last where sources are counted.
_MEASURES = ("packets", "sensor_bits", "sources")


#: The day of a packet's partition, in the store's zone.
_PARTITION_DAY = "_partition_value.2"


@dataclass
class Draft:
    """The parts that every statement over a plan shares."""

    plan: Plan
    dataset: str
    survey: Survey
    #: Whether the previous period is read too.
    previous: bool = True
    binding: Binding = field(default_factory=Binding)

    @property
    def table(self) -> Table:
        return self.plan.table

    @property
    def span(self) -> Window:
        """All buckets that are read."""
        return join_windows(self.plan.window) if self.previous else self.plan.window

    def where(self, extra: Expression | None = None) -> str:
        """Give the WHERE clause: data set, time, survey switch, filters."""
        parts = [
            write_time(self.table, self.span, self.binding),
            self._keep(),
            *([] if extra is None else [write_filter(extra, self.binding)]),
        ]
        return " AND ".join(parts)

    def rows(self) -> str:
        """Give what is read by a statement without buckets, ``FROM … WHERE …``: whole days by day, the rest by hour."""
        table, days = self.table, self.plan.by_days
        bounds = (self.span.start_us, self.plan.window.start_us, self.span.end_us)
        wholly, partly = part_days(bounds, self.span.zone) if days else ([], [])
        if days is None or not wholly:
            return f"FROM {table.name} WHERE {self.where()}"
        columns = ", ".join(
            sorted((table.columns & days.columns) | set(_MEASURES[: 2 + bool(days.hosts and table.hosts)]))
        )
        zone = self.binding.bind("String", self.span.zone)
        daily = (
            f"SELECT {columns}, toDateTime(day, {zone}) AS hour FROM {days.name}"  # noqa: S608 - declared names, bound values
            f" WHERE day IN {self.binding.bind('Array(Date)', wholly)} AND {self._keep()}"
        )
        hourly = (
            f"SELECT {columns}, hour FROM {table.name}"  # noqa: S608 - as above
            f" WHERE toDate(hour, {zone}) IN {self.binding.bind('Array(Date)', partly)} AND {self.where()}"
        )
        return f"FROM ({f'{daily} UNION ALL {hourly}' if partly else daily})"

    def _keep(self) -> str:
        parts = [
            f"dataset = {self.binding.bind('String', self.dataset)}",
            *([] if self.survey == "all" else [write_survey(self.survey)]),
            *([] if self.plan.filters is None else [write_filter(self.plan.filters, self.binding)]),
        ]
        return " AND ".join(parts)

    def bucket(self) -> str:
        """Give the expression of the bucket number in :attr:`span`."""
        return write_bucket(self.table, self.span, self.binding)

    def current(self) -> str:
        """Give the expression that is 1 in the period itself, 0 in the one before."""
        if not self.previous:
            return "1"
        return write_after(self.table, self.plan.window, self.binding)

    @property
    def parameters(self) -> dict[str, Any]:
        return self.binding.parameters


def write_survey(survey: Survey) -> str:
    """Give the clause of the survey switch: on a list or by behaviour, both are survey scanners."""
    return "survey > 0" if survey == "only" else "survey = 0"


def join_windows(window: Window) -> Window:
    """Give the window with the one before it, as one span."""
    edges = (*window.before().edges_us[:-1], *window.edges_us)
    return Window(edges, window.step_seconds, window.zone)


def write_time(table: Table, span: Window, binding: Binding) -> str:
    """Give the clause of a half-open time range."""
    if table.grain_seconds == DAY:
        first, last = binding.bind("Date", span.first_day), binding.bind("Date", span.last_day)
        return f"day BETWEEN {first} AND {last}"
    if table.grain_seconds:
        start, end = _seconds(span.start_us, binding), _seconds(span.end_us, binding)
        return f"{table.time} >= {start} AND {table.time} < {end}"
    if is_midnight(span.start_us, span.zone) and is_midnight(span.end_us, span.zone):
        # Partitions of packets are days: the largest column need not be read to keep some.
        first, last = binding.bind("Date", span.first_day), binding.bind("Date", span.last_day)
        return f"{_PARTITION_DAY} BETWEEN {first} AND {last}"
    return (
        f"{table.time} >= {binding.instant(span.start_us)} AND {table.time} < {binding.instant(span.end_us)}"
    )


def write_bucket(table: Table, span: Window, binding: Binding) -> str:
    """Give the expression of a row's bucket number in ``span``, from 0."""
    if span.step_seconds >= DAY:
        days = span.step_seconds // DAY
        day = table.time if table.grain_seconds == DAY else _local_date(table, span, binding)
        number = f"dateDiff('day', {binding.bind('Date', span.first_day)}, {day})"
        return f"toUInt32({number})" if days == 1 else f"toUInt32(intDiv({number}, {days}))"
    if table.grain_seconds:
        origin = binding.bind("Int64", span.start_us // 1_000_000)
        return f"toUInt32(intDiv(toInt64(toUnixTimestamp({table.time})) - {origin}, {span.step_seconds}))"
    origin, step = binding.bind("Int64", span.start_us), span.step_seconds * 1_000_000
    return f"toUInt32(intDiv(toUnixTimestamp64Micro({table.time}) - {origin}, {step}))"


def write_after(table: Table, window: Window, binding: Binding) -> str:
    """Give the expression that is 1 from the start of ``window`` on."""
    if table.grain_seconds == DAY:
        return f"({table.time} >= {binding.bind('Date', window.first_day)})"
    if table.grain_seconds:
        return f"({table.time} >= {_seconds(window.start_us, binding)})"
    if is_midnight(window.start_us, window.zone):
        return f"({_PARTITION_DAY} >= {binding.bind('Date', window.first_day)})"
    return f"({table.time} >= {binding.instant(window.start_us)})"


def write_line_number(dimension: Dimension, keys: Sequence[Key], binding: Binding) -> str:
    """Give the expression of a row's line: 1 for the first of ``keys`` …, 0 for others."""
    if not keys:
        return "toUInt32(0)"
    kinds = key_types(dimension)
    if len(kinds) == 1:
        mark = binding.bind(f"Array({kinds[0]})", [to_text(key[0]) for key in keys])
        if kinds[0] == "IPv6":
            return f"toUInt32(indexOf({mark}, {dimension.keys[0]}))"
        numbers = binding.bind("Array(UInt32)", list(range(1, len(keys) + 1)))
        return f"transform({dimension.keys[0]}, {mark}, {numbers}, toUInt32(0))"
    if kinds == _SERVICE:  # a number can be looked up, a tuple must be compared with each
        packed = binding.bind("Array(UInt32)", [port * 256 + protocol for port, protocol in keys])
        numbers = binding.bind("Array(UInt32)", list(range(1, len(keys) + 1)))
        first, second = dimension.keys
        return f"transform(toUInt32(toUInt32({first}) * 256 + {second}), {packed}, {numbers}, toUInt32(0))"
    mark = binding.bind(f"Array(Tuple({', '.join(kinds)}))", [tuple(key) for key in keys])
    return f"toUInt32(indexOf({mark}, ({', '.join(dimension.keys)})))"


def _seconds(instant_us: int, binding: Binding) -> str:
    return f"toDateTime({binding.bind('Int64', instant_us // 1_000_000)}, 'UTC')"


def _local_date(table: Table, span: Window, binding: Binding) -> str:
    return f"toDate({table.time}, {binding.bind('String', span.zone)})"
