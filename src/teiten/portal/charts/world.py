"""Countries and areas as the world map takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.utils.translation import gettext as _

from teiten.portal.naming.countries import name_country
from teiten.search.answers import Group, Top

#: Classes of the colour scale.
CLASSES = 6
#: The scale spans at most this much: over more, everything but the rarest would look alike.
_WIDEST_SCALE = 1_000


def describe_world(
    top: Top, *, language: str, metric_name: str, link: Callable[[Group], str]
) -> dict[str, Any]:
    """Give the map's figures (``data``), the ends of its scale, and its description."""
    rows = [row for row in top.rows if row.group.key != "unknown" and row.figure.value]
    values = [float(f"{row.figure.value:.4g}") for row in rows if row.figure.value]
    unknown = next((row.share for row in top.rows if row.group.key == "unknown"), 0.0)
    low, high = (max(min(values), max(values) / _WIDEST_SCALE), max(values)) if values else (0.0, 0.0)
    names = ", ".join(name_country(row.group.key, language) for row in rows[:5])
    return {
        "data": {
            "values": [[row.group.key, value] for row, value in zip(rows, values, strict=True)],
            "links": {row.group.key: link(row.group) for row in rows},
            "low": low,
            "high": high,
            "words": {"metric": metric_name, "none": _("none seen")},
        },
        "low": low,
        "is_open": bool(values) and min(values) < low,
        "high": high,
        "classes": range(1, CLASSES + 1),
        "unknown": unknown,
        "rows": rows,
        "description": _("Map of the world by country or area; most from %(names)s.") % {"names": names},
    }
