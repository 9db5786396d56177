"""The key figures of the overview, and what all of the screen rests on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from django.utils.translation import gettext as _

from teiten.portal.naming.regions import name_region
from teiten.portal.presenting.comparing import compare_fairly
from teiten.portal.screen import Screen
from teiten.search.answers import Figure, Points, Totals
from teiten.search.basis import Basis
from teiten.search.query import Metric


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


def describe_missing(basis: Basis | None) -> dict[str, float | None]:
    """Say how much was not watched, planned maintenance apart."""
    if basis is None or basis.share is None:
        return {"missing_address_days": None, "missing_share": None}
    unwatched = basis.expected_address_days - basis.covered_address_days
    missing = max(0.0, unwatched - basis.planned_address_days)
    share = missing / basis.expected_address_days if basis.expected_address_days else 0.0
    return {"missing_address_days": missing, "missing_share": share}


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
            "is_planned": gap.kind == "planned",
        }
        for gap in basis.gaps[:5]
    ]


def _gap_end(start: Any, end: Any, screen: Screen) -> str:
    instants = screen.instants
    is_same_day = instants.local(start).date() == instants.local(end).date()
    return instants.minute(end) if is_same_day else instants.moment(end)
