"""Facets: the most frequent values of several dimensions, beside the query that they would narrow."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Literal

from teiten.search import dimensions, lines, ranking
from teiten.search.answers import Facet, Facets, FacetValue
from teiten.search.conditions import Condition, Expression, all_of, negate, where
from teiten.search.coverage import observe
from teiten.search.desk import Desk
from teiten.search.dimensions import Dimension, Key
from teiten.search.masking import check_filters
from teiten.search.query import Query
from teiten.search.visibility import Visibility

#: Facets that are shown when none are named.
DEFAULT_FACETS = ("country", "region", "hint", "survey", "tcp_fp", "nature", "dst_port", "asn")
_MOST_VALUES = 50
_MOST_FACETS = 20
#: Facets that are asked side by side.
_AT_ONCE = 4


def answer_facets(
    desk: Desk, visibility: Visibility, query: Query, *, wanted: Sequence[str] | None, limit: int
) -> Facets:
    """See :meth:`teiten.search.service.Search.facets`."""
    started = desk.clock.monotonic()
    check_filters(visibility, query.filters)
    ranking.check_limit(limit, most=_MOST_VALUES)
    names = tuple(dict.fromkeys(wanted or DEFAULT_FACETS))
    ranking.check_limit(len(names), most=_MOST_FACETS)
    splits = [dimensions.get_dimension(name) for name in names]
    shown = [split for split in splits if visibility.grants(split.permission)]
    counted = replace(query, metric="packets")
    made = lines.plan_for(desk, counted)
    total = lines.count_whole(desk, visibility, counted, made, previous=False).total_packets[1]
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="facets") as workers:
        observing = workers.submit(observe, desk, visibility, query, made.window)
        made_facets = workers.map(
            lambda split: _make_facet(desk, visibility, counted, split, limit=limit), shown
        )
        facets = tuple(made_facets)
    return Facets(
        facets=facets,
        packets=total,
        masked=tuple(split.name for split in splits if not visibility.grants(split.permission)),
        basis=observing.result().basis,
        cost=desk.cost(made, started, call="facets"),
    )


def relax(query: Query, field: str) -> Query:
    """Take away the chips of one field, so that its other values, and left-out ones, are counted too."""
    kept = [part for part in query.conditions if not (isinstance(part, Condition) and part.field == field)]
    return replace(query, filters=all_of(kept))


def _make_facet(desk: Desk, visibility: Visibility, query: Query, split: Dimension, *, limit: int) -> Facet:
    # What is real only of the own sensors stays kept to them.
    is_bound = split.field_name == "sensor" and bool(visibility.bound_to)
    relaxed = lines.narrow_to_split(query if is_bound else relax(query, split.field_name), split)
    made = lines.plan_for(desk, relaxed, dimension=split)
    found = ranking.rank(desk, visibility, relaxed, made, dimension=split, limit=limit, previous=False)
    whole = lines.count_whole(desk, visibility, relaxed, made, previous=False).total_packets[1]
    names = desk.name_systems(split, [item.key for item in found.ranked])
    values = tuple(
        FacetValue(
            group=dimensions.describe(split, item.key, names=names),
            packets=item.value,
            share=item.value / whole if whole else 0.0,
            state=_state_of(query, split, item.key),
        )
        for item in found.ranked
    )
    others = 0 if split.is_multiple else whole - sum(value.packets for value in values)
    return Facet(split.name, values, max(0, others), found.distinct)


def _state_of(query: Query, split: Dimension, key: Key) -> Literal["open", "included", "excluded"]:
    if split.parts:
        return "open"
    condition: Expression = where(split.field_name, "=", dimensions.value_of(split, key))
    if condition in query.conditions:
        return "included"
    return "excluded" if negate(condition) in query.conditions else "open"
