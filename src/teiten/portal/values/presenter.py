"""What a value's page shows: how much, since when, who, where, and what is new about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, cast

from django.utils.translation import gettext as _

from teiten.datasets.models import FingerprintKind
from teiten.datasets.selectors import names_of
from teiten.portal.asking import ask_all
from teiten.portal.charts.trend import describe_trend
from teiten.portal.naming.groups import name_group
from teiten.portal.presenting.breadth import describe_breadth
from teiten.portal.presenting.comparing import compare_fairly, is_comparable
from teiten.portal.presenting.news import describe_news
from teiten.portal.presenting.notes import list_notes, mark_trend
from teiten.portal.presenting.rankings import rank
from teiten.portal.problems import Panel
from teiten.portal.screen import Screen
from teiten.portal.values.examples import describe_examples
from teiten.portal.values.subject import Subject, name_better
from teiten.search.answers import Figure, Points, Series, Top, TopRow, Totals
from teiten.search.answers_news import NewsDimension
from teiten.search.dimensions import DIMENSIONS
from teiten.search.query import Metric, Query
from teiten.search.service import Search

#: Ranks that are looked at to place the value among the others.
_RANKS = 200
_ROWS = 8
#: Kinds whose roll-up knows which sensors saw a value; of others, packets are counted one by one.
_KNOWN_BREADTH = frozenset({"port", "actor"})
_LONGEST_COUNTED = timedelta(hours=48)


@dataclass(frozen=True)
class ValueFigure:
    """A key figure with what it leads to."""

    label: str
    figure: Figure
    unit: str
    spark: Points
    previous_spark: Points
    url: str
    is_current: bool


def describe_value(search: Search, screen: Screen, subject: Subject) -> dict[str, Any]:
    """Ask everything the page shows; a panel that fails fails alone."""
    asked = ask_all(_questions(search, screen, subject))
    totals, place = asked["totals"], asked["place"]
    found = _find(place.answer, subject)
    subject = name_better(subject, found.group if found else None)
    name, small = name_group(subject.group, screen.language)
    comparable = totals.answer is None or is_comparable(
        totals.answer.sparks.get("packets", ()), totals.answer.previous_sparks.get("packets", ())
    )
    trend = asked["trend"]
    return {
        "kind": subject.kind,
        "name": name,
        "small": small,
        "group": subject.group,
        "condition": subject.group.condition,
        "totals": totals,
        "figures": _list_figures(totals.answer, screen, comparable=comparable) if totals.answer else [],
        "basis": totals.answer.basis if totals.answer else None,
        "place": describe_place(place.answer, found),
        "trend": trend if trend.answer is None else Panel(_describe_trend(trend.answer, screen)),
        "breadth": _present(asked["breadth"], lambda breadth: describe_breadth(
            breadth, screen, within=subject.group.condition
        )),
        "news": _present(asked["news"], lambda news: describe_news(news, screen)) if "news" in asked else None,
        "names": list_names_of(subject, screen),
        "examples": _present(asked["examples"], lambda examples: describe_examples(examples, screen)) if "examples" in asked else None,
        "lists": [
            _present_list(asked[name], screen, subject, comparable=comparable) for name in _lists_of(subject)
        ],
        "rows_url": screen.url_of("explore", subject.query),
        "overview_url": screen.url_of("overview", subject.query),
    }  # fmt: skip


def _describe_trend(series: Series, screen: Screen) -> dict[str, Any]:
    trend = describe_trend(series, instants=screen.instants, language=screen.language)
    return mark_trend(trend, list_notes(screen), screen)


def list_names_of(subject: Subject, screen: Screen) -> dict[str, Any] | None:
    """Give what analysts call the value, and where they do; None for a value that is not named."""
    dimension, key = subject.kind.dimension, subject.group.key
    if dimension not in FingerprintKind.values:
        return None
    return {
        "name": names_of(dimension, [key], screen.query.end).get(key),
        "url": screen.url_of("names", None, dimension, key),
    }


def _lists_of(subject: Subject) -> list[str]:
    return [name for name in subject.kind.lists if name in DIMENSIONS]


def _questions(search: Search, screen: Screen, subject: Subject) -> dict[str, Callable[[], Any]]:
    viewer, query = screen.viewer, subject.query
    questions: dict[str, Callable[[], Any]] = {
        "totals": lambda: search.totals(viewer, query),
        "trend": lambda: search.series(viewer, query, dimension=None),
        "breadth": lambda: search.breadth(viewer, breadth_query(screen, subject)),
        "place": lambda: search.top(
            viewer, screen.query, dimension=subject.kind.dimension, limit=_RANKS, sparks=False
        ),
    }
    if subject.kind.news:
        dimension = cast("NewsDimension", subject.kind.news)
        questions["news"] = lambda: search.news(viewer, query, dimension=dimension, limit=_ROWS)
    if subject.kind.name == "payload":
        questions["examples"] = lambda: search.examples(viewer, query, payload_hash=subject.group.key)
    for name in _lists_of(subject):
        questions[name] = lambda name=name: search.top(
            viewer, query, dimension=name, limit=_ROWS, sparks=False
        )  # type: ignore[misc]  # binds the name
    return questions


def breadth_query(screen: Screen, subject: Subject) -> Query:
    """Ask about all of the period where a roll-up knows the sensors, else about its last day."""
    query = subject.query
    is_known = subject.kind.name in _KNOWN_BREADTH and screen.query.filters is None
    if is_known or query.length <= _LONGEST_COUNTED:
        return query
    return query.within(query.end - timedelta(days=1), query.end)


def _find(top: Top | None, subject: Subject) -> TopRow | None:
    rows = () if top is None else top.rows
    return next((row for row in rows if row.group.key == subject.group.key), None)


def describe_place(top: Top | None, found: TopRow | None) -> dict[str, Any]:
    """Say which rank the value has among those of its kind, and what it had before."""
    if top is None:
        return {"rank": None, "distinct": None, "share": None, "before": None, "most": _RANKS}
    return {
        "rank": found.rank if found else None,
        "before": found.previous_rank if found else None,
        "share": found.share if found else None,
        "distinct": top.distinct,
        "most": _RANKS,
    }


def _list_figures(totals: Totals, screen: Screen, *, comparable: bool) -> list[ValueFigure]:
    def figure(metric: Metric, label: str, value: Figure, unit: str = "") -> ValueFigure:
        return ValueFigure(
            label=label,
            figure=compare_fairly(value, metric, comparable=comparable),
            unit=unit,
            spark=totals.sparks.get(metric, ()),
            previous_spark=totals.previous_sparks.get(metric, ()),
            url=screen.url(replace(screen.query, metric=metric)),
            is_current=screen.query.metric == metric,
        )

    return [
        figure("hosts", _("Source hosts"), totals.hosts),
        figure("packets", _("Packets"), totals.packets),
        figure("rate", _("Per covered address-day"), totals.rate, _("packets")),
    ]


def _present(panel: Panel[Any], describe: Callable[[Any], Any]) -> Panel[Any]:
    return panel if panel.answer is None else Panel(describe(panel.answer))


def _present_list(panel: Panel[Any], screen: Screen, subject: Subject, *, comparable: bool) -> Panel[Any]:
    if panel.answer is None:
        return panel
    return Panel(rank(panel.answer, screen, comparable=comparable, within=subject.group.condition))
