"""How broadly something was seen, in words and bars: "1,204 of 9,871 sensors; only in Kanto"."""

from __future__ import annotations

from typing import Any

from teiten.portal.naming.regions import name_region
from teiten.portal.presenting.pivots import narrow_by
from teiten.portal.screen import Screen
from teiten.search import language
from teiten.search.answers_places import Breadth
from teiten.search.conditions import where

_MOST_REGIONS = 8


def describe_breadth(breadth: Breadth, screen: Screen, *, within: str) -> dict[str, Any]:
    """Give the share of sensors, the one region that saw it if it is one, and the regions.

    Args:
        breadth: the answer.
        screen: whose question the rows of a region are of.
        within: the condition whose breadth it is.
    """
    return {
        "seen": breadth.sensors_seen,
        "covered": breadth.sensors_covered,
        "share": breadth.share,
        "only_here": name_region(breadth.only_here, screen.language) if breadth.only_here is not None else "",
        "regions": [
            {
                "region": region,
                "name": name_region(region.region, screen.language),
                "rows_url": narrow_by(screen, f"{within} and {_is_region(region.region)}"),
            }
            for region in breadth.regions[:_MOST_REGIONS]
        ],
        "period": screen.instants.period(breadth.basis.start_at, breadth.basis.end_at),
        "more": max(0, len(breadth.regions) - _MOST_REGIONS),
    }


def _is_region(code: str) -> str:
    return language.print_condition(where("region", "=", code))
