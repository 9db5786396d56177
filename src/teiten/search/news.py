"""What is seen for the first time: values of the period that the days before it did not have.

Read by whole days from roll-ups, so that a month costs little. A value is new when no
packet of the question's kind (mode, survey switch, filter) had it in the days before.
What one source alone sent is counted, and not listed (:mod:`teiten.search.lone`); fingerprints
without TCP options are one value, whatever their window (:mod:`teiten.search.plain_syns`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

from teiten.foundation.clock import from_us
from teiten.search import dimensions, guarding, lines, lone, periods, unreached
from teiten.search.answers import Group
from teiten.search.answers_news import News, NewsDimension, NewsItem
from teiten.search.coverage import observe
from teiten.search.desk import Desk
from teiten.search.dimensions import Dimension, Key, get_dimension, write_chosen
from teiten.search.errors import QueryError
from teiten.search.lone import Found
from teiten.search.masking import check_column
from teiten.search.periods import DAY, Window
from teiten.search.plain_syns import FOLDED
from teiten.search.planner import Plan
from teiten.search.predicates import Binding, columns_of
from teiten.search.query import Query
from teiten.search.ranking import check_limit
from teiten.search.statements import Draft
from teiten.search.tables import FINGERPRINTS_PORTS, PAYLOADS, PORTS_DAILY, PORTS_HOURLY, PROBES, Table
from teiten.search.visibility import Visibility
from teiten.search.watched import Watched

MOST_DAYS = 90
MOST_ITEMS = 200


@dataclass(frozen=True)
class _Kind:
    """How one dimension's news are read."""

    splits: tuple[str, ...]
    #: Of the days, and of those before them.
    table: Table
    #: What knows the first packet and the sources of a value.
    details: Table
    #: Instant of the first packet, seconds.
    first: str


_KINDS: Mapping[str, _Kind] = {
    "fingerprint_port": _Kind(
        ("tcp_fp", "dst_port"), FINGERPRINTS_PORTS, FINGERPRINTS_PORTS, "min(first_seen_at)"
    ),
    "dst_port": _Kind(("dst_port",), PORTS_DAILY, PORTS_HOURLY, "min(hour)"),
    "tcp_fp": _Kind(("tcp_fp",), FINGERPRINTS_PORTS, FINGERPRINTS_PORTS, "min(first_seen_at)"),
    "payload_hash": _Kind(("payload_hash",), PAYLOADS, PAYLOADS, "min(first_seen_at)"),
    "probe": _Kind(("probe",), PROBES, PROBES, "toDateTime(min(day), {zone})"),
}


def answer_news(
    desk: Desk, visibility: Visibility, query: Query, *, dimension: NewsDimension, days: int, limit: int
) -> News:
    """See :meth:`teiten.search.service.Search.news`."""
    started = desk.clock.monotonic()
    kind = _check(visibility, query, dimension)
    check_limit(limit, most=MOST_ITEMS)
    _check_days(days)
    window = periods.lay_out(query, step_seconds=DAY, zone=desk.zone)
    before = list_days_before(window, days, zone=desk.zone)
    watched_days = count_watched_days(desk, visibility, query, before)
    splits = [get_dimension(name) for name in kind.splits]
    asked = query if kind.table.only == () else lines.narrow_to_split(query, splits[0])
    found = Found([], 0, 0)
    if watched_days:
        # Of whole days: asked again until now, the question is the same.
        days_asked = asked.within(from_us(window.start_us), from_us(window.end_us))
        found = desk.remember(
            ("news", dimension, days_asked, asked.length, days, limit),
            lambda: _find(desk, visibility, asked, kind, dimension, windows=(window, before), limit=limit),
            seconds=periods.keep_seconds(desk.config.freshness_cache_seconds, window),
            viewer=visibility,
        )
    rows = found.rows
    return News(
        dimension=dimension,
        items=tuple(_make_item(visibility, splits, row) for row in rows),
        distinct=found.distinct,
        from_one_source=found.lone,
        days=days,
        days_watched=watched_days,
        basis=observe(desk, visibility, query, window).basis,
        cost=desk.cost_of(kind.details, window, started, call="news"),
    )


def _find(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    kind: _Kind,
    dimension: str,
    *,
    windows: tuple[Window, Window],
    limit: int,
) -> Found:
    """Find the new values, and what is told of those that are shown."""
    splits = [get_dimension(name) for name in kind.splits]
    found = _read(desk, visibility, query, kind, splits, windows=windows, limit=limit)
    if found.rows:
        _add_details(
            desk, visibility, query, kind, get_dimension(dimension), rows=found.rows, window=windows[0]
        )
    return found


def list_days_before(window: Window, days: int, *, zone: str) -> Window:
    """Give the whole days before the day in which ``window`` starts."""
    end_us = periods.find_midnight(window.start_us, zone)
    noon_us = end_us - days * DAY * 1_000_000 + DAY * 500_000
    span = Query("live", from_us(periods.find_midnight(noon_us, zone)), from_us(end_us))
    return periods.lay_out(span, step_seconds=DAY, zone=zone)


def count_watched_days(desk: Desk, visibility: Visibility, query: Query, window: Window) -> int:
    """Count the days on which any sensor watched."""
    parts = unreached.read_counted(desk, visibility, query, window)
    return int((Watched.together(parts.values(), window.count).sensor_seconds > 0).sum())


def _check(visibility: Visibility, query: Query, dimension: str) -> _Kind:
    kind = _KINDS.get(dimension)
    if kind is None:
        rule = f"one of {', '.join(get_args(NewsDimension))}"
        raise QueryError(
            f"dimension {dimension!r}: there are no news of it; take {rule}",
            field="dimension",
            value=dimension,
            rule=rule,
        )
    for name in kind.splits:
        check_column(visibility, name, get_dimension(name).permission)
    known = kind.table.columns & kind.details.columns
    unknown = sorted(columns_of(query.filters) - known)
    if unknown:
        rule = f"news of {dimension} may be filtered by {', '.join(sorted(known - {'dataset'}))}"
        raise QueryError(
            f"{rule}, not by {', '.join(unknown)}; take that condition away", field="q", rule=rule
        )
    return kind


def _check_days(days: int) -> None:
    if not 1 <= days <= MOST_DAYS:
        rule = f"days must be 1 to {MOST_DAYS}"
        raise QueryError(f"{rule}, not {days}", field="days", value=str(days), rule=rule)


def _read(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    kind: _Kind,
    splits: list[Dimension],
    *,
    windows: tuple[Window, Window],
    limit: int,
) -> Found:
    """Read the new values, by packets and sensors alone; the rest is read for those that are shown."""
    binding = Binding()
    now, past = (
        Draft(
            Plan(kind.table, window, query.filters),
            query.dataset,
            query.survey,
            previous=False,
            binding=binding,
        )
        for window in windows
    )
    keys = [key for split in splits for key in _list_keys(split)]
    names, selected = _join_names(keys), _join_keys(keys)
    values = ", ".join(key.expression for key in keys)
    table = kind.table
    # A set of hashes is a tenth of the work of a set of keys; one in 10^12 new values may hide behind another's hash.
    enough = f" GROUP BY {values}{guarding.having(visibility, table)}" if visibility.is_guarded else ""
    order = "packet_count DESC" if visibility.is_guarded else "sensor_count DESC, packet_count DESC"
    is_lone = lone.write_lone(visibility, query, kind.splits[0], windows[0], binding)
    inner = (
        f"SELECT {selected}, {guarding.count_packets(visibility, table)} AS packet_count,"  # noqa: S608 - declared names, bound values
        " bitCount(groupBitOr(sensor_bits)) AS sensor_count"
        f" FROM {table.name} WHERE {now.where()} AND cityHash64({values}) NOT IN (SELECT cityHash64({values})"
        f" FROM {table.name} WHERE {past.where()}{enough})"
        f" GROUP BY {names}{guarding.having(visibility, table)}"
    )
    statement = (
        f"SELECT *, {is_lone} AS is_lone, countIf(is_lone = 0) OVER () AS distinct_count,"  # noqa: S608 - as above
        f" countIf(is_lone = 1) OVER () AS lone_count FROM ({inner})"
        f" ORDER BY is_lone, {order}, {names} LIMIT {binding.bind('UInt32', limit + lone.MORE)}"
    )
    rows = desk.select(visibility, statement, binding.parameters).to_pylist()
    return lone.drop_lone(desk, visibility, query, rows, splits=kind.splits, window=windows[0], limit=limit)


def _add_details(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    kind: _Kind,
    split: Dimension,
    *,
    rows: list[dict[str, Any]],
    window: Window,
) -> None:
    """Add the sources and the first instant of the values that are shown; the past beyond hourly roll-ups has neither."""
    draft, chosen = _draft_chosen(query, kind.details, split, rows=rows, window=window)
    keys = _list_keys(split)
    first = kind.first.format(zone=draft.binding.bind("String", desk.zone))
    first_second = "toUInt32(0)" if visibility.is_guarded else f"toUnixTimestamp({first})"
    statement = (
        f"SELECT {_join_keys(keys)}, {guarding.count_hosts(visibility, kind.details)} AS host_count,"  # noqa: S608 - declared names, bound values
        f" {first_second} AS first_second FROM {kind.details.name} WHERE {draft.where()} AND {chosen}"
        f" GROUP BY {_join_names(keys)}"
    )
    found = {
        _take(row, keys): row for row in desk.select(visibility, statement, draft.parameters).to_pylist()
    }
    for row in rows:
        known = found.get(_take(row, keys), {})
        row["host_count"] = known.get("host_count", 0)
        row["first_second"] = known.get("first_second", window.start_us // 1_000_000)
    if visibility.is_guarded:
        _date_by_days(desk, visibility, query, kind, split, rows=rows, window=window)


def _date_by_days(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    kind: _Kind,
    split: Dimension,
    *,
    rows: list[dict[str, Any]],
    window: Window,
) -> None:
    """Date values by the first day on which enough sensors saw them: the first packet is one sensor's.

    What had enough sensors on no single day is dated by the period's last.
    """
    table, keys = kind.table, _list_keys(split)
    draft, chosen = _draft_chosen(query, table, split, rows=rows, window=window)
    names = _join_names(keys)
    statement = (
        f"SELECT {names}, min(bucket) AS first_day FROM (SELECT {_join_keys(keys)}, {draft.bucket()} AS bucket"  # noqa: S608 - as above
        f" FROM {table.name} WHERE {draft.where()} AND {chosen}"
        f" GROUP BY {names}, bucket{guarding.having(visibility, table)}) GROUP BY {names}"
    )
    found = desk.select(visibility, statement, draft.parameters).to_pylist()
    first = {_take(row, keys): row["first_day"] for row in found}
    for row in rows:
        day = first.get(_take(row, keys), window.count - 1)
        row["first_second"] = window.edges_us[day] // 1_000_000


def _draft_chosen(
    query: Query, table: Table, split: Dimension, *, rows: list[dict[str, Any]], window: Window
) -> tuple[Draft, str]:
    """Give a statement's draft over the values of some rows, and the clause that keeps them."""
    draft = Draft(Plan(table, window, query.filters), query.dataset, query.survey, previous=False)
    keys = _list_keys(split)
    expressions = tuple(key.expression for key in keys)
    chosen = write_chosen(split, [_take(row, keys) for row in rows], draft.binding, expressions=expressions)
    return draft, chosen


class _Key(NamedTuple):
    """A column by which values are told apart, and the expression of it."""

    expression: str
    name: str


def _list_keys(split: Dimension) -> list[_Key]:
    """Give the columns of a value; of fingerprints without options any window is the same."""
    return [_Key(FOLDED, "folded_fp") if key == "tcp_fp" else _Key(key, key) for key in split.keys]


def _join_keys(keys: list[_Key]) -> str:
    return ", ".join(
        key.name if key.name == key.expression else f"{key.expression} AS {key.name}" for key in keys
    )


def _join_names(keys: list[_Key]) -> str:
    return ", ".join(key.name for key in keys)


def _take(row: Mapping[str, Any], keys: list[_Key]) -> Key:
    return tuple(row[key.name] for key in keys)


def _make_item(visibility: Visibility, splits: list[Dimension], row: Mapping[str, Any]) -> NewsItem:
    first_second = row["first_second"]
    return NewsItem(
        groups=tuple(_describe(split, row) for split in splits),
        first_seen_at=from_us(first_second * 1_000_000),
        packets=row["packet_count"],
        hosts=row["host_count"] or None,
        sensors_at_least=visibility.least_sensors if visibility.is_guarded else row["sensor_count"],
    )


def _describe(split: Dimension, row: Mapping[str, Any]) -> Group:
    return dimensions.describe(split, _take(row, _list_keys(split)))
