"""What a source's page shows."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from teiten.portal.charts.bubbles import describe_bubbles
from teiten.portal.charts.calendar import CLASSES, draw_weeks
from teiten.portal.charts.verdict_days import draw_verdict_days
from teiten.portal.naming.groups import name_group
from teiten.portal.naming.instants import month_names, weekday_names
from teiten.portal.naming.regions import name_region
from teiten.portal.naming.sensors import name_sensor
from teiten.portal.presenting.pivots import keep, narrow_by, page_of
from teiten.portal.screen import Screen
from teiten.portal.sources.verdicts import list_verdicts, name_state, name_tool, name_tools
from teiten.search.answers import Count, SourcePage

_MOST_SENSORS = 8


def describe_source(page: SourcePage, screen: Screen) -> dict[str, Any]:
    """Give everything the page shows."""
    condition = f"src_addr = {page.source}"
    words = {"packets": _("packets"), "none": _("watched, none seen"), "unwatched": _("not watched")}
    return {
        "page": page,
        "condition": condition,
        "explore": screen.url_of("explore", keep(screen.query, condition)),
        "prefix_url": screen.url_of("source", None, page.prefix) if page.prefix and not page.is_prefix else "",
        "verdicts": list_verdicts(page, screen.instants, language=screen.language, at=screen.query.end),
        "verdict_strip": draw_verdict_days(page.verdict_days, page.calendar, names=name_tools(), words=_state_words()),
        "verdict_table": _list_verdict_days(page),
        "probes": _list_counts(tuple(count for count in page.probes if count.group.key != "none"), screen, condition),
        "calendar": draw_weeks(page.calendar, months=month_names(screen.language), weekdays=weekday_names(screen.language), words=words),
        "classes": range(1, CLASSES + 1),
        "bubbles": describe_bubbles(page),
        "systems": _list_counts(page.systems, screen, condition),
        "countries": _list_counts(page.countries, screen, condition),
        "fingerprints": _list_fingerprints(page, screen),
        "members": _list_members(page, screen),
        "ports": _list_counts(page.ports, screen, condition),
        "seen_by": _list_seen_by(page, screen),
        "seen_by_rest": max(0, page.sensors_seen - _MOST_SENSORS),
        "breadth": page.breadth,
        "is_count_withheld": screen.viewer.is_guarded and not page.sensors_seen,
        "only_here": name_region(page.only_here, screen.language) if page.only_here is not None else "",
        "df_share": page.df_packets / page.packets if page.packets else None,
    }  # fmt: skip


def calendar_label(page: SourcePage) -> str:
    """Say in words what the calendar shows."""
    words = {"seen": page.days_seen, "watched": page.days_watched}
    return _("Calendar of packets by day: seen on %(seen)s of %(watched)s watched days.") % words


def _state_words() -> dict[str, str]:
    states = {state: name_state(state) for state in ("yes", "no", "not computable", "too few")}
    return {**states, "unseen": _("no packet"), "unwatched": _("not watched")}


def _list_verdict_days(page: SourcePage) -> list[tuple[Any, ...]]:
    return [
        (day.day, name_tool(verdict), name_state(verdict.state), verdict)
        for day in page.verdict_days
        for verdict in day.verdicts
        if verdict.state != "no"
    ]


def _list_counts(counts: tuple[Count, ...], screen: Screen, condition: str) -> list[dict[str, Any]]:
    shown = []
    for count in counts[:_MOST_SENSORS]:
        name, small = name_group(count.group, screen.language)
        both = " and ".join(part for part in (condition, count.group.condition) if part)
        shown.append(
            {
                "name": name,
                "small": small,
                "count": count,
                "url": page_of(screen, count.group),
                "rows_url": narrow_by(screen, both),
            }
        )
    return shown


def _list_fingerprints(page: SourcePage, screen: Screen) -> list[dict[str, Any]]:
    lines = _list_counts(page.fingerprints, screen, f"src_addr = {page.source}")
    return [
        {**line, "sources": sources} for line, sources in zip(lines, page.fingerprint_sources, strict=False)
    ]


def _list_members(page: SourcePage, screen: Screen) -> list[dict[str, Any]]:
    return [
        {"name": count.group.label, "url": screen.url_of("source", None, count.group.key), "count": count}
        for count in page.members
    ]


def _list_seen_by(page: SourcePage, screen: Screen) -> list[dict[str, Any]]:
    return [
        {
            "seen": seen,
            "name": "" if seen.sensor is None else name_sensor(seen.sensor),
            "region": name_region(seen.region, screen.language),
        }
        for seen in page.seen_by[:_MOST_SENSORS]
    ]
