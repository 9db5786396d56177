"""A series as the trend chart takes it: columns of numbers, with every word already in the reader's language."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import sqrt
from typing import Any

from django.utils.translation import gettext as _

from teiten.portal.naming.groups import name_group
from teiten.portal.naming.instants import Instants
from teiten.search.answers import Group, Line, Points, Series

#: Below this share watched, the plot itself is hatched as well as the strip.
GAP_BELOW = 0.9
_OTHERS_TONE = 8
#: 95 % of a Poisson count lie within this many square roots.
_BAND = 1.96


@dataclass(frozen=True)
class LegendEntry:
    """One name under a chart's title, with the line's figure."""

    name: str
    small: str
    #: Tone 1-8 of the line; 0 for total and previous period.
    tone: int
    value: float | None
    url: str = ""


def describe_trend(
    series: Series, *, instants: Instants, language: str, link: Callable[[Group], str] | None = None
) -> dict[str, Any]:
    """Give the chart's figures (``data``), its legend and its table.

    Args:
        series: with at most seven lines besides others.
        instants: writes times in the reader's language.
        language: for names.
        link: gives the address that a value leads to; None for no links.
    """
    return {
        "data": _data(series, instants, language),
        "legend": _legend(series, language, link),
        "table": _table(series, instants),
        "columns": [_full_name(line, language) for line in _lines(series)],
        "total": series.total.statistics.total,
        "description": _describe(series, instants, language),
    }


def _lines(series: Series) -> list[Line]:
    return [*series.lines, *([series.others] if series.others is not None else [])]


def _full_name(line: Line, language: str) -> str:
    name, small = name_group(line.group, language)
    return (
        f"{name} {small}" if small and line.group is not None and line.group.dimension == "country" else name
    )


def tone_of(series: Series, place: int) -> int:
    """Give the tone of the line at ``place``; others are always grey."""
    return _OTHERS_TONE if place >= len(series.lines) else place % (_OTHERS_TONE - 1) + 1


def _data(series: Series, instants: Instants, language: str) -> dict[str, Any]:
    start = series.starts[0] if series.starts else series.basis.start_at
    stacks = series.metric != "hosts" and series.dimension is not None
    return {
        "starts": [instants.wall_ms(at) for at in series.starts],
        "step": series.step_seconds * 1000,
        "end": instants.wall_ms(_end_of(series)),
        "isStacked": stacks,
        "lines": [
            {
                "name": _full_name(line, language),
                "series": tone_of(series, place),
                "values": _rounded(line.values),
            }
            for place, line in enumerate(_lines(series))
        ],
        "total": _rounded(series.total.values)
        if series.dimension is None or series.metric != "hosts"
        else None,
        "previous": _rounded(series.total.previous) if series.total.previous and _has_total(series) else None,
        "band": _band(series),
        "strip": list(series.basis.strip.share) if _is_aligned(series) else [1.0] * len(series.starts),
        "gapBelow": GAP_BELOW,
        "pendingFrom": _pending_from(series, instants),
        "marks": [],
        "zone": instants.local(start).strftime("%z")[:3] + ":" + instants.local(start).strftime("%z")[3:],
        "words": _words(instants, start),
    }


def _has_total(series: Series) -> bool:
    """Hosts of several values do not add up, so their total does not belong among the lines."""
    return series.dimension is None or series.metric != "hosts"


def _words(instants: Instants, start: datetime) -> dict[str, str]:
    return {
        "total": _("Total"),
        "previous": _("Previous period"),
        "coverage": _("Coverage"),
        "coverageShort": _("Watched"),
        "notWatched": _("Not watched"),
        "zone": instants.zone_word(start),
    }


def _is_aligned(series: Series) -> bool:
    return len(series.basis.strip.share) == len(series.starts)


def _end_of(series: Series) -> datetime:
    if not series.starts:
        return series.basis.end_at
    return max(series.starts[-1] + timedelta(seconds=series.step_seconds), series.basis.end_at)


def _rounded(values: Points) -> list[float | None]:
    return [None if value is None else float(f"{value:.5g}") for value in values]


def _band(series: Series) -> dict[str, list[float | None]] | None:
    """Give how far a rate may lie from the truth, counting being random; it widens where little was watched."""
    if series.metric != "rate" or not _is_aligned(series):
        return None
    low: list[float | None] = []
    high: list[float | None] = []
    for value, days in zip(series.total.values, series.basis.strip.covered_address_days, strict=True):
        margin = _BAND * sqrt(value / days) if value is not None and days > 0 else None
        low.append(None if value is None or margin is None else max(0.0, float(f"{value - margin:.5g}")))
        high.append(None if value is None or margin is None else float(f"{value + margin:.5g}"))
    return {"low": low, "high": high}


def _pending_from(series: Series, instants: Instants) -> int | None:
    until = series.basis.complete_until
    if until is None or until >= series.basis.end_at or not series.starts:
        return None
    return instants.wall_ms(max(until, series.starts[0]))


def _legend(series: Series, language: str, link: Callable[[Group], str] | None) -> list[LegendEntry]:
    entries = []
    for place, line in enumerate(_lines(series)):
        _, small = name_group(line.group, language)
        if line.group is None and series.others_count:
            small = f"{series.others_count:,}"
        url = link(line.group) if link and line.group is not None else ""
        entries.append(
            LegendEntry(
                _full_name(line, language), small, tone_of(series, place), line.statistics.total.value, url
            )
        )
    return entries


def _table(series: Series, instants: Instants) -> list[dict[str, Any]]:
    lines = _lines(series)
    share = series.basis.strip.share if _is_aligned(series) else (None,) * len(series.starts)
    return [
        {
            "at": instants.moment(at),
            "share": share[place],
            "total": series.total.values[place],
            "values": [line.values[place] for line in lines],
        }
        for place, at in enumerate(series.starts)
    ]


def _describe(series: Series, instants: Instants, language: str) -> str:
    """Say in words what the chart shows, for those who do not see it."""
    names = ", ".join(_full_name(line, language) for line in series.lines[:5])
    period = instants.period(series.basis.start_at, series.basis.end_at)
    gaps = sum(1 for share in series.basis.strip.share if share is None or share < GAP_BELOW)
    sentence = _("Line chart over %(period)s.") % {"period": period}
    if names:
        sentence += " " + _("Largest first: %(names)s.") % {"names": names}
    if gaps:
        sentence += " " + _("%(gaps)s of %(all)s intervals were watched in part or not at all.") % {
            "gaps": gaps,
            "all": len(series.starts),
        }
    return sentence
