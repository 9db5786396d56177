"""Which questions each screen asks: the table that the query benchmark runs.

A new screen is one entry of :data:`SCREENS`. Its questions go through the real
``teiten.search.service.Search``, side by side as the portal asks them
(``teiten.portal.problems.ask_all``). The calls are those of the portal's presenters; where a
presenter changes, change the entry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from teiten.search.answers_places import SensorGroup
from teiten.search.conditions import where
from teiten.search.dimensions import DIMENSIONS
from teiten.search.query import Query
from teiten.search.service import Search
from teiten.search.visibility import Visibility

Kind = Literal["rollup", "source", "raw"]
Question = Callable[[], Any]
Ask = Callable[[Search, Visibility, Query], Sequence[Question]]

EXPLORE_FACETS = ("country", "region", "hint", "survey", "tcp_fp", "nature", "dst_port", "asn")


@dataclass(frozen=True)
class Screen:
    """One screen, or one panel that loads by itself, over one period."""

    name: str
    #: Which target of ``design.md`` §10 it falls under.
    kind: Kind
    hours: int
    ask: Ask
    #: Members have it too.
    for_members: bool = True
    #: Hours before the end of the data, a midnight, at which the period ends.
    ends_before: int = 0


def _overview(search: Search, viewer: Visibility, query: Query) -> Sequence[Question]:
    lists = {"dst_port": 10, "asn": 10, "country": 10, "actor": 6, "hint": 6, "nature": 6}
    return [
        lambda: search.totals(viewer, query),
        lambda: search.series(viewer, query, dimension="dst_port", limit=6),
        lambda: search.top(viewer, query, dimension="country", limit=300, previous=False, sparks=False),
        *(
            lambda name=name, limit=limit: search.top(viewer, query, dimension=name, limit=limit)
            for name, limit in lists.items()
            if name in DIMENSIONS
        ),
    ]


def _news(search: Search, viewer: Visibility, query: Query) -> Sequence[Question]:
    last = "payload_hash" if viewer.may_see_payload else "probe"
    return [
        lambda name=name: search.news(viewer, query, dimension=name, limit=5)
        for name in ("fingerprint_port", "dst_port", last)
    ]


def _movers(search: Search, viewer: Visibility, query: Query) -> Sequence[Question]:
    return [
        lambda name=name, limit=limit: search.movers(viewer, query, dimension=name, limit=limit)
        for name, limit in (("dst_port", 5), ("asn", 3))
    ]


def _trend(dimension: str | None) -> Ask:
    return lambda search, viewer, query: [lambda: search.series(viewer, query, dimension=dimension)]


def _facets(search: Search, viewer: Visibility, query: Query) -> Sequence[Question]:
    return [lambda: search.facets(viewer, query, dimensions=EXPLORE_FACETS, limit=5)]


def _rows(search: Search, viewer: Visibility, query: Query) -> Sequence[Question]:
    return [lambda: search.rows(viewer, query)]


def _rows_of_port(search: Search, viewer: Visibility, query: Query) -> Sequence[Question]:
    narrowed = query.narrow(where("dst_port", "=", 445))
    return [lambda: search.rows(viewer, narrowed)]


def _free_filter(search: Search, viewer: Visibility, query: Query) -> Sequence[Question]:
    """A filter for which no roll-up and no sort key helps."""
    narrowed = query.narrow(where("ttl", "=", 243)).narrow(where("src_port", "=", 41_414))
    return [lambda: search.rows(viewer, narrowed, count=False)]


def _source(address: str) -> Ask:
    return lambda search, viewer, query: [lambda: search.source(viewer, query, source=address)]


def _value_page(dimension: str, value: Any, *lists: str, news: str = "") -> Ask:
    def ask(search: Search, viewer: Visibility, query: Query) -> Sequence[Question]:
        narrowed = query.narrow(where(dimension, "=", value))
        questions: list[Question] = [
            lambda: search.totals(viewer, narrowed),
            lambda: search.series(viewer, narrowed, dimension=None),
            lambda: search.breadth(viewer, narrowed),
            lambda: search.top(viewer, query, dimension=dimension, limit=1000, sparks=False),
            *(
                lambda name=name: search.top(viewer, narrowed, dimension=name, limit=10, sparks=False)
                for name in lists
            ),
        ]
        if news:
            questions.append(lambda: search.news(viewer, narrowed, dimension=news, limit=10))  # type: ignore[arg-type]  # a literal, out of a list
        return questions

    return ask


def _sensors(search: Search, viewer: Visibility, query: Query) -> Sequence[Question]:
    return [lambda: search.sensors(viewer, query)]


def _compare(search: Search, viewer: Visibility, query: Query) -> Sequence[Question]:
    one, other = SensorGroup(regions=("kanto",)), SensorGroup(regions=("kansai",))
    return [lambda: search.compare(viewer, query, one=one, other=other, dimension="dst_port", limit=20)]


def _datasets(search: Search, viewer: Visibility, query: Query) -> Sequence[Question]:
    return [lambda: search.datasets(viewer), lambda: search.basis(viewer, query)]


def _export(search: Search, viewer: Visibility, query: Query) -> Sequence[Question]:
    def first_rows() -> bytes:
        return next(iter(search.export(viewer, query, file_format="csv", limit=10_000)))

    return [first_rows]


def list_screens(busy: str, quiet: str) -> tuple[Screen, ...]:
    """Give every screen; sources are those that the data hold."""
    ports = ("country", "asn", "region", "hint", "tcp_fp")
    return (
        Screen("overview", "rollup", 24, _overview),
        Screen("overview 14:00 to 14:00", "rollup", 24, _overview, ends_before=10),
        Screen("overview 7d", "rollup", 168, _overview),
        Screen("overview 365d", "rollup", 365 * 24, _overview),
        Screen("overview news", "rollup", 24, _news),
        Screen("overview movers", "rollup", 24, _movers),
        Screen("explore trend", "rollup", 24, _trend("dst_port")),
        Screen("explore trend 30d", "rollup", 720, _trend("country")),
        Screen("explore facets", "rollup", 24, _facets),
        Screen("port page", "rollup", 24, _value_page("dst_port", 445, *ports, news="fingerprint_port")),
        Screen("country page", "rollup", 24, _value_page("country", "AB", "dst_port", "asn", "region")),
        Screen("network page", "rollup", 24, _value_page("asn", 64_530, "region")),
        Screen("fingerprint page", "rollup", 24, _value_page("tcp_fp", "1024::0:0", "dst_port")),
        Screen("probe page", "rollup", 24, _value_page("probe", "sip-options", "dst_port")),
        Screen("sensors", "rollup", 24, _sensors),
        Screen("compare", "rollup", 24, _compare),
        Screen("data sets, basis", "rollup", 24, _datasets),
        Screen("source page, busy", "source", 24, _source(busy)),
        Screen("source page, quiet", "source", 24, _source(quiet)),
        Screen("prefix page", "source", 24, _source(f"{busy.rpartition('.')[0]}.0/24")),
        Screen("explore rows", "raw", 24, _rows),
        Screen("explore rows of a port", "raw", 24, _rows_of_port),
        Screen("explore free filter", "raw", 24, _free_filter),
        Screen("export, first rows", "raw", 24, _export),
    )


def question_over(end: datetime, hours: int) -> Query:
    """Give the plain question over the last ``hours`` before ``end``."""
    return replace(Query("live", end - timedelta(hours=hours), end))
