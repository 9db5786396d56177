"""What the overview shows, in the order of an analyst's questions: what is new, what grew, who, where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from teiten.portal.asking import ask_all
from teiten.portal.charts.trend import describe_trend
from teiten.portal.charts.world import describe_world
from teiten.portal.controls import name_metric
from teiten.portal.overview.figures import describe_missing, list_gaps, list_key_figures
from teiten.portal.presenting.comparing import is_comparable
from teiten.portal.presenting.news import describe_movers, describe_news
from teiten.portal.presenting.notes import list_notes, mark_trend
from teiten.portal.presenting.pivots import page_of
from teiten.portal.presenting.rankings import name_unit, rank
from teiten.portal.problems import Panel
from teiten.portal.screen import Screen
from teiten.search.answers import Series, Totals
from teiten.search.answers_news import NewsDimension
from teiten.search.dimensions import DIMENSIONS
from teiten.search.service import Search

TREND_LINES = 6
TOP_ROWS = 10
SMALL_ROWS = 6
MAP_ROWS = 300
NEW_ITEMS = 5
#: What may be beyond its usual range, and how many of each are listed.
MOVERS = {"dst_port": 5, "asn": 3}
#: Lists of who sends, and of what is sent where.
WHO = ("asn", "actor", "hint")
WHERE = ("country",)
WHAT = ("dst_port", "nature")


def describe_overview(search: Search, screen: Screen) -> dict[str, Any]:
    """Ask everything the overview shows; a panel that fails fails alone."""
    asked = ask_all(_questions(search, screen))
    totals = asked["totals"].answer
    basis = totals.basis if totals else None
    comparable = _is_comparable(totals)

    def list_ranked(names: tuple[str, ...]) -> list[Panel[Any]]:
        return [
            _present(asked[name], lambda top: rank(top, screen, comparable=comparable))
            for name in names
            if name in asked
        ]

    return {
        "totals": Panel(list_key_figures(totals, screen, comparable=comparable)) if totals else asked["totals"],
        "basis": basis,
        "share_spark": basis.strip.share if basis else (),
        "gaps": list_gaps(basis, screen) if basis else [],
        "news": [_present(asked[f"news {name}"], lambda news: describe_news(news, screen)) for name in list_news(screen)],
        "movers": [_present(asked[f"movers {name}"], lambda movers: describe_movers(movers, screen)) for name in MOVERS],
        "trend": _present(asked["trend"], lambda series: _describe_trend(series, screen)),
        "who": list_ranked(WHO),
        "where": list_ranked(WHERE),
        "what": list_ranked(WHAT),
        "map": _present(asked["map"], lambda top: describe_world(
            top, language=screen.language, metric_name=name_metric(screen.query.metric),
            link=lambda group: page_of(screen, group),
        )),
        "unit": name_unit(screen.query.metric),
        **describe_missing(basis),
    }  # fmt: skip


def list_news(screen: Screen) -> tuple[NewsDimension, ...]:
    """Give the lists of what is new: payloads for viewers of real data, for members what they ask for."""
    return ("fingerprint_port", "dst_port", "probe" if screen.viewer.is_guarded else "payload_hash")


def _questions(search: Search, screen: Screen) -> dict[str, Callable[[], Any]]:
    viewer, query = screen.viewer, screen.query
    questions: dict[str, Callable[[], Any]] = {
        "totals": lambda: search.totals(viewer, query),
        "trend": lambda: search.series(viewer, query, dimension="dst_port", limit=TREND_LINES),
        "map": lambda: search.top(
            viewer, query, dimension="country", limit=MAP_ROWS, previous=False, sparks=False
        ),
    }
    for news in list_news(screen):
        questions[f"news {news}"] = lambda news=news: search.news(
            viewer, query, dimension=news, limit=NEW_ITEMS
        )  # type: ignore[misc]  # binds the name
    for name, limit in MOVERS.items():
        questions[f"movers {name}"] = lambda name=name, limit=limit: search.movers(
            viewer, query, dimension=name, limit=limit
        )  # type: ignore[misc]  # binds the names
    for name in (*WHO, *WHERE, *WHAT):
        if name in DIMENSIONS:
            rows = TOP_ROWS if name in ("dst_port", "country", "asn") else SMALL_ROWS
            questions[name] = lambda name=name, rows=rows: search.top(
                viewer, query, dimension=name, limit=rows
            )  # type: ignore[misc]  # binds the names
    return questions


def _is_comparable(totals: Totals | None) -> bool:
    if totals is None:
        return True
    return is_comparable(totals.sparks.get("packets", ()), totals.previous_sparks.get("packets", ()))


def _describe_trend(series: Series, screen: Screen) -> dict[str, Any]:
    trend = describe_trend(series, instants=screen.instants, language=screen.language)
    return mark_trend(trend, list_notes(screen), screen)


def _present(panel: Panel[Any], describe: Callable[[Any], Any]) -> Panel[Any]:
    return panel if panel.answer is None else Panel(describe(panel.answer))
