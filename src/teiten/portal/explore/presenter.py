"""What Explore shows: chart, series, facets, packets, and one packet in the drawer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.utils.translation import gettext as _

from teiten.portal.asking import ask_all
from teiten.portal.charts.trend import describe_trend, tone_of
from teiten.portal.controls import name_metric
from teiten.portal.explore.options import Options, list_option_controls
from teiten.portal.naming.groups import name_dimension, name_group
from teiten.portal.presenting.comparing import compare_fairly, is_comparable
from teiten.portal.presenting.notes import list_notes, mark_trend
from teiten.portal.presenting.pivots import keep, leave_out, page_of
from teiten.portal.presenting.rows import COLUMNS, describe_rows
from teiten.portal.problems import Panel
from teiten.portal.screen import Screen
from teiten.search.answers import Facets, FacetValue, Series
from teiten.search.conditions import Expression, negate
from teiten.search.language import parse
from teiten.search.query import Query
from teiten.search.service import Search

FACETS = ("country", "region", "hint", "survey", "tcp_fp", "nature", "dst_port", "asn")
FACET_VALUES = 5


def describe_explore(search: Search, screen: Screen, options: Options) -> dict[str, Any]:
    """Ask everything Explore shows; a panel that fails fails alone."""
    viewer, query = screen.viewer, screen.query
    asked = ask_all(
        {
            "series": lambda: search.series(
                viewer,
                query,
                dimension=options.split or None,
                limit=options.lines,
                rank_by=options.rank,
                previous=options.has_previous,
            ),
            "facets": lambda: search.facets(viewer, query, dimensions=FACETS, limit=FACET_VALUES),
            "rows": lambda: search.rows(viewer, query, columns=COLUMNS),
        }
    )
    series, facets, rows = asked["series"], asked["facets"], asked["rows"]
    return {
        "trend": Panel(describe_series(series.answer, screen, options)) if series.answer else series,
        "facets": Panel(list_facets(facets.answer, screen, options)) if facets.answer else facets,
        "packets": Panel(describe_rows(rows.answer, screen)) if rows.answer else rows,
        "options": list_option_controls(screen, options),
        "before": screen.url(query, **replace(options, has_previous=not options.has_previous).encode()),
        "has_previous": options.has_previous,
        "metric": name_metric(query.metric),
        **_basis_of(series, facets, rows),
    }


def _basis_of(*panels: Panel[Any]) -> dict[str, Any]:
    answered = [panel.answer for panel in panels if panel.answer is not None]
    if not answered:
        return {"basis": None}
    return {
        "basis": answered[0].basis,
        "elapsed_seconds": max(answer.cost.elapsed_seconds for answer in answered),
        "tables": sorted({answer.cost.table for answer in answered}),
        "grain": describe_grain(max(answer.cost.grain_seconds for answer in answered)),
    }


def describe_series(series: Series, screen: Screen, options: Options) -> dict[str, Any]:
    """Give the chart and, below it, each line's statistics."""
    plain = describe_trend(series, instants=screen.instants, language=screen.language)
    trend = mark_trend(plain, list_notes(screen), screen)
    lines = [*series.lines, *([series.others] if series.others is not None else [])] or [series.total]
    comparable = is_comparable(series.total.values, series.total.previous)
    table = []
    for place, line in enumerate(lines):
        name, small = name_group(line.group, screen.language) if series.dimension else (_("Total"), "")
        if series.dimension and line.group is None and series.others_count:
            small = f"{series.others_count:,}"
        rows_url = (
            ""
            if line.group is None
            else screen.url(keep(screen.query, line.group.condition), **options.encode())
        )
        table.append(
            {
                "line": line,
                "total": compare_fairly(line.statistics.total, series.metric, comparable=comparable),
                "name": name,
                "small": small,
                "tone": tone_of(series, place) if series.dimension else 1,
                "url": "" if line.group is None else page_of(screen, line.group),
                "rows_url": rows_url,
            }
        )
    return {**trend, "lines": table}


def list_facets(facets: Facets, screen: Screen, options: Options) -> list[dict[str, Any]]:
    """Give each facet's values with the addresses that keep or leave out each."""
    shown = []
    for facet in facets.facets:
        most = max((value.packets for value in facet.values), default=0)
        values = [_describe_value(value, most, screen, options) for value in facet.values]
        shown.append({"title": name_dimension(facet.dimension), "distinct": facet.distinct, "values": values})
    return shown


def _describe_value(value: FacetValue, most: int, screen: Screen, options: Options) -> dict[str, Any]:
    query, condition = screen.query, value.group.condition
    name, small = name_group(value.group, screen.language)
    parsed = parse(condition)
    kept = _take_back(query, parsed) if value.state == "included" else keep(query, condition)
    opposite = None if parsed is None else negate(parsed)
    left_out = _take_back(query, opposite) if value.state == "excluded" else leave_out(query, condition)
    return {
        "name": f"{name} {small}" if small else name,
        "url": page_of(screen, value.group),
        "value": value,
        "bar": value.packets / most if most else 0.0,
        "keep": screen.url(kept, **options.encode()),
        "leave_out": screen.url(left_out, **options.encode()),
    }


def _take_back(query: Query, part: Expression | None) -> Query:
    """Remove a part that is in force; pressing a pressed pivot again does this."""
    return query.widen(query.conditions.index(part)) if part in query.conditions else query


def describe_grain(seconds: int) -> str:
    """Say to what the answer's times are rounded; empty when they are exact."""
    if not seconds:
        return ""
    if seconds % 86_400 == 0:
        return _("%(count)s d") % {"count": seconds // 86_400}
    return _("%(count)s h") % {"count": seconds // 3600} if seconds % 3600 == 0 else f"{seconds} s"
