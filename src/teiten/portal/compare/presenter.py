"""What the comparison shows: the form of both groups, what each rests on, and a ratio for each value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from teiten.fleet.models import SensorKind, SensorMode, SensorPlacement
from teiten.portal.charts.whiskers import HEIGHT, WIDTH, Ratio, draw_whiskers
from teiten.portal.compare.groups import NUMBERS, PARTS, SPLITS, Choice, Side
from teiten.portal.naming.countries import name_country
from teiten.portal.naming.groups import name_dimension, name_group, name_mode
from teiten.portal.naming.regions import name_region, region_names
from teiten.portal.presenting.pivots import keep, page_of
from teiten.portal.screen import Screen, encode
from teiten.search.answers_places import Comparison, GroupBasis, SensorGroup


@dataclass(frozen=True)
class Part:
    """One part of a group: boxes to tick, or numbers to type."""

    name: str
    label: str
    #: Value, name, whether it is chosen.
    boxes: tuple[tuple[str, str, bool], ...]
    #: What was typed; None where boxes are ticked.
    typed: str | None
    #: What is chosen, in words.
    chosen: str


def describe_form(choice: Choice, screen: Screen) -> dict[str, Any]:
    """Give the form in which both groups are chosen."""
    return {
        "hidden": list(encode(screen.query).items()),
        "sides": [
            ("one", _("One group"), _list_parts("one", choice.one, screen)),
            ("other", _("Other group"), _list_parts("other", choice.other or SensorGroup(), screen)),
        ],
        "is_before": choice.other is None,
        "same": choice.same_sensors,
        "splits": [(name, name_dimension(name), name == choice.split) for name in SPLITS],
    }


def _list_parts(side: Side, group: SensorGroup, screen: Screen) -> list[Part]:
    """List the parts by which this viewer may choose sensors."""
    shown = [
        part for part in PARTS if screen.viewer.may_see_sensor or part not in ("sensor", "provider", "asn")
    ]
    return [_describe_part(side, part, getattr(group, PARTS[part]), screen) for part in shown]


def _describe_part(side: Side, part: str, chosen: tuple[Any, ...], screen: Screen) -> Part:
    name = f"{side}_{part}"
    if part in NUMBERS:
        typed = ", ".join(str(number) for number in chosen)
        return Part(name, _name_part(part), (), typed, typed or _("any"))
    options = _options(part, screen)
    boxes = tuple((value, word, value in chosen) for value, word in options)
    words = ", ".join(word for value, word in options if value in chosen)
    return Part(name, _name_part(part), boxes, None, words or _("any"))


def _name_part(part: str) -> str:
    return {
        "region": _("Region"),
        "kind": _("Kind of site"),
        "country": _("Country of the sensor"),
        "mode": _("Mode"),
        "provider": _("Provider"),
        "asn": _("AS of the sensor"),
        "sensor": _("Sensor numbers"),
    }[part]


def _options(part: str, screen: Screen) -> list[tuple[str, str]]:
    if part == "region":
        return [(code, name_region(code, screen.language)) for code in region_names()]
    if part == "kind":
        return [(str(value), str(label)) for value, label in SensorKind.choices]
    if part == "mode":
        return [(str(value), name_mode(str(value))) for value in SensorMode.values]
    values = SensorPlacement.objects.exclude(**{part: ""}).order_by(part).values_list(part, flat=True)
    found = list(dict.fromkeys(values.distinct()))
    return [(value, name_country(value, screen.language) if part == "country" else value) for value in found]


def describe_comparison(comparison: Comparison, screen: Screen, choice: Choice) -> dict[str, Any]:
    """Give what both sides rest on, and the rows with their picture."""
    rows = comparison.rows
    picture = draw_whiskers([Ratio(row.ratio, row.ratio_low, row.ratio_high) for row in rows])
    named = [name_group(row.group, screen.language) for row in rows]
    return {
        "sides": [
            (_("One group"), describe_side(comparison.one, screen)),
            (_("Before") if choice.other is None else _("Other group"), describe_side(comparison.other, screen)),
        ],
        "rows": [
            {
                "row": row,
                "name": name,
                "small": small,
                "whisker": whisker,
                "url": page_of(screen, row.group),
                "rows_url": screen.url_of("explore", keep(screen.query, row.group.condition)),
            }
            for row, (name, small), whisker in zip(rows, named, picture.rows, strict=True)
        ],
        "ticks": picture.ticks,
        "centre": picture.centre,
        "width": WIDTH,
        "height": HEIGHT,
        "column": name_dimension(comparison.dimension),
        "spread": _word_spread(comparison.spread_over),
        "same_sensors": comparison.same_sensors,
    }  # fmt: skip


def describe_side(side: GroupBasis, screen: Screen) -> dict[str, Any]:
    """Give what one side rests on."""
    return {"side": side, "period": screen.instants.period(side.start_at, side.end_at)}


def _word_spread(spread_over: str) -> str:
    return {
        "sensors": _("95 % intervals from the spread between sensors"),
        "buckets": _("95 % intervals from the spread between buckets of time"),
        "none": _("The spread is unknown, so there are no intervals"),
    }[spread_over]
