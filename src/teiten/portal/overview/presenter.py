"""What the overview shows: key figures, trend, rankings, map, and what all of it rests on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from django.utils.translation import gettext as _

from teiten.portal.asking import ask_all
from teiten.portal.charts.trend import describe_trend
from teiten.portal.charts.world import describe_world
from teiten.portal.controls import name_metric
from teiten.portal.naming.regions import name_region
from teiten.portal.presenting.comparing import compare_fairly, is_comparable
from teiten.portal.presenting.pivots import page_of
from teiten.portal.presenting.rankings import name_unit, rank
from teiten.portal.problems import Panel
from teiten.portal.screen import Screen
from teiten.search.answers import Figure, Points, Totals
from teiten.search.basis import Basis
from teiten.search.query import Metric
from teiten.search.service import Search

TREND_LINES = 6
TOP_ROWS = 10
MAP_ROWS = 300


@dataclass(frozen=True)
class KeyFigure:
    """One of the figures at the top."""

    label: str
    figure: Figure
    unit: str
    spark: Points
    previous_spark: Points
    url: str
    is_current: bool


def describe_overview(search: Search, screen: Screen) -> dict[str, Any]:
    """Ask everything the overview shows; a panel that fails fails alone."""
    asked = _ask_all(search, screen)
    totals = asked["totals"]
    comparable = totals.answer is None or is_comparable(
        totals.answer.sparks.get("packets", ()), totals.answer.previous_sparks.get("packets", ())
    )
    return {
        "totals": Panel(list_key_figures(totals.answer, screen, comparable=comparable)) if totals.answer else totals,
        "basis": totals.answer.basis if totals.answer else None,
        "share_spark": _percent_spark(totals.answer.basis) if totals.answer else (),
        "gaps": list_gaps(totals.answer.basis, screen) if totals.answer else [],
        "trend": _present(asked["trend"], lambda series: describe_trend(
            series, instants=screen.instants, language=screen.language, link=lambda group: page_of(screen, group)
        )),
        "rankings": [_present_ranking(asked[name], screen, comparable=comparable) for name in ("dst_port", "country", "asn")],
        "small": [_present_ranking(asked[name], screen, comparable=comparable) for name in ("hint", "nature")],
        "map": _present(asked["map"], lambda top: describe_world(
            top, language=screen.language, metric_name=name_metric(screen.query.metric),
            link=lambda group: page_of(screen, group),
        )),
        "unit": name_unit(screen.query.metric),
        **_missing(totals.answer.basis if totals.answer else None),
    }  # fmt: skip


def _ask_all(search: Search, screen: Screen) -> dict[str, Panel[Any]]:
    viewer, query = screen.viewer, screen.query
    questions: dict[str, Callable[[], Any]] = {
        "totals": lambda: search.totals(viewer, query),
        "trend": lambda: search.series(viewer, query, dimension="dst_port", limit=TREND_LINES),
        "map": lambda: search.top(
            viewer, query, dimension="country", limit=MAP_ROWS, previous=False, sparks=False
        ),
        "hint": lambda: search.top(viewer, query, dimension="hint", limit=5),
        "nature": lambda: search.top(viewer, query, dimension="nature", limit=6),
    }
    for dimension in ("dst_port", "country", "asn"):
        questions[dimension] = lambda dimension=dimension: search.top(
            viewer, query, dimension=dimension, limit=TOP_ROWS
        )  # type: ignore[misc]  # binds the name
    return ask_all(questions)


def _present(panel: Panel[Any], describe: Callable[[Any], Any]) -> Panel[Any]:
    return panel if panel.answer is None else Panel(describe(panel.answer))


def _present_ranking(panel: Panel[Any], screen: Screen, *, comparable: bool) -> Panel[Any]:
    return _present(panel, lambda top: rank(top, screen, comparable=comparable))


def list_key_figures(totals: Totals, screen: Screen, *, comparable: bool) -> list[KeyFigure]:
    """Give hosts, packets and rate; the chosen metric is marked, the others choose it."""

    def key(metric: Metric, label: str, figure: Figure, unit: str = "") -> KeyFigure:
        return KeyFigure(
            label=label,
            figure=compare_fairly(figure, metric, comparable=comparable),
            unit=unit,
            spark=totals.sparks.get(metric, ()),
            previous_spark=totals.previous_sparks.get(metric, ()),
            url=screen.url(replace(screen.query, metric=metric)),
            is_current=screen.query.metric == metric,
        )

    return [
        key("hosts", _("Source hosts"), totals.hosts),
        key("packets", _("Packets"), totals.packets),
        key("rate", _("Per covered address-day"), totals.rate, _("packets")),
    ]


def _missing(basis: Basis | None) -> dict[str, float | None]:
    if basis is None or basis.share is None:
        return {"missing_address_days": None, "missing_share": None}
    missing = max(0.0, basis.expected_address_days - basis.covered_address_days)
    return {"missing_address_days": missing, "missing_share": max(0.0, 1 - basis.share)}


def _percent_spark(basis: Basis) -> Points:
    """A share per bucket; where nothing was expected there is nothing to draw."""
    return basis.strip.share


def list_gaps(basis: Basis, screen: Screen) -> list[dict[str, Any]]:
    """Give the largest gaps, in words."""
    instants = screen.instants
    return [
        {
            "period": f"{instants.moment(gap.start_at)}–{_gap_end(gap.start_at, gap.end_at, screen)}",  # noqa: RUF001 - a range
            "region": name_region(gap.region, screen.language),
            "sensors": gap.sensors,
            "address_days": gap.missing_address_days,
            "is_pending": gap.kind == "pending",
        }
        for gap in basis.gaps[:5]
    ]


def _gap_end(start: Any, end: Any, screen: Screen) -> str:
    instants = screen.instants
    is_same_day = instants.local(start).date() == instants.local(end).date()
    return instants.minute(end) if is_same_day else instants.moment(end)
