"""What the sensors' screen shows: who is watching, who is not, and since when."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.utils.translation import gettext as _

from teiten.fleet.health import Condition
from teiten.fleet.models import SensorEvent
from teiten.fleet.selectors import SensorBrief, SensorRow
from teiten.foundation.clock import from_us
from teiten.portal.charts.calendar import draw_hours
from teiten.portal.naming.regions import name_region, region_names
from teiten.portal.presenting.pivots import narrow_by
from teiten.portal.screen import Screen
from teiten.portal.sensors.choosing import (
    NOWHERE,
    Chosen,
    Place,
    list_choices,
    narrow,
    put_in_order,
    read_places,
)
from teiten.portal.sensors.facts import SensorFacts, describe_facts
from teiten.portal.sensors.grid import draw_region
from teiten.portal.sensors.marking import mark_rows
from teiten.portal.sensors.states import ORDER, RARE, StateMark, mark_of
from teiten.search.watching import SensorCoverage, Sensors

_PAGE_ROWS = 50
_CALENDAR_DAYS = 28
_SECOND_US = 1_000_000
#: Parameters that leave sensors out.
_NARROWING = ("state", "area", "kind", "mode", "org", "version")

#: Reads sensors whole, by their numbers.
Reader = Callable[[Collection[int]], Sequence[SensorRow]]


@dataclass(frozen=True)
class StateCount:
    """One state with how many sensors are in it."""

    mark: StateMark
    count: int
    share: float
    #: Left edge and width in the bar, per cent.
    left: str
    width: str
    detail: str
    url: str
    is_current: bool


def describe_sensors(
    rows: Sequence[SensorBrief], coverage: Sensors | None, screen: Screen, *, chosen: Chosen, read: Reader
) -> dict[str, Any]:
    """Give the state bar, the cells by region, and a page of the table, for which ``read`` gives the sensors whole."""
    shares = {name_of(sensor): sensor for sensor in coverage.sensors} if coverage else {}
    masked = [mask_row(row, shares) if row.is_masked else row for row in rows]
    places = read_places(masked, screen)
    left = put_in_order(narrow(masked, places, chosen), places, chosen.order)
    shown = [row for row in left if not chosen.state or row.condition.value == chosen.state]
    return {
        "states": list_states(left, screen, chosen),
        "region_shares": _list_region_shares(coverage, screen),
        "total": len(left),
        "shown": len(shown),
        "organisations": len({row.organisation for row in left if row.organisation}),
        "state": chosen.state,
        "filters_chosen": any((chosen.area, chosen.org, chosen.version, chosen.kind, chosen.mode)),
        "plain_url": screen.url(screen.query, **chosen.given(**dict.fromkeys(_NARROWING, ""))),
        **list_choices(masked, places, chosen, screen),
        **_draw_cells(shown if chosen.state else left, shares, screen, view=chosen.view),
        **_list_page(shown, shares, screen, chosen=chosen, places=places, read=read),
    }


def _list_page(
    rows: Sequence[SensorBrief],
    shares: Mapping[int | str, SensorCoverage],
    screen: Screen,
    *,
    chosen: Chosen,
    places: Mapping[int, Place],
    read: Reader,
) -> dict[str, Any]:
    """Give a page of the table, the worst first."""
    severity = {condition: place for place, condition in enumerate(Condition)}
    worst_first = sorted(rows, key=lambda row: (severity[row.condition], row.is_masked, row.name))
    start = (chosen.page - 1) * _PAGE_ROWS
    after = len(worst_first) - start - _PAGE_ROWS
    page = worst_first[start : start + _PAGE_ROWS]
    whole = {row.id: row for row in read([row.id for row in page if row.id is not None])}

    def address(page: int) -> str:
        return screen.url(screen.query, **chosen.given(), page=str(page))

    return {
        "table": [
            {
                **describe_sensor_row(whole[row.id] if row.id in whole else as_row(row), shares, screen),
                "place": places.get(row.id or 0, NOWHERE),
            }
            for row in page
        ],
        "more": max(0, after),
        "newer": address(chosen.page - 1) if chosen.page > 1 else "",
        "older": address(chosen.page + 1) if after > 0 else "",
    }


def mask_row(row: SensorBrief, watched: Mapping[int | str, SensorCoverage]) -> SensorBrief:
    """Leave of somebody else's sensor what the search tells: name, coarse region, state and share.

    What the fleet knows beside that (heartbeat, clock, version, drops) would tell the
    sensor by its hardware, or show at once that it was flooded.
    """
    found = watched.get(row.name)
    condition = Condition(found.state) if found is not None else Condition.WAITING
    region = found.region if found is not None else ""
    return SensorBrief(None, row.name, True, region, "", "", (condition,))  # noqa: FBT003  # in their order


def as_row(row: SensorBrief) -> SensorRow:
    """Give a masked sensor as a row of the table: nothing but what it is known by."""
    return SensorRow(
        id=row.id, name=row.name, is_masked=row.is_masked, region=row.region, organisation=row.organisation, dataset="",
        condition=row.condition, conditions=row.conditions, enrolled_at=None, heartbeat_at=None, booted_at=None,
        last_batch_at=None, missing_batches=0, clock_offset_us=None, software="", spool_batches=0, spool_bytes=0,
        captured=0, kernel_drops=0, drop_share=0.0, last_error="",
    )  # fmt: skip


def list_states(rows: Sequence[SensorBrief], screen: Screen, chosen: Chosen) -> list[StateCount]:
    """Count sensors by state; the parts of the bar follow one another."""
    counted: dict[Condition, list[SensorBrief]] = {condition: [] for condition in ORDER}
    for row in rows:
        counted[row.condition].append(row)
    total = max(1, len(rows))
    states, left = [], 0.0
    for condition, members in counted.items():
        if condition in RARE and not members:
            continue
        width = len(members) / total * 100
        is_current = chosen.state == condition.value
        states.append(
            StateCount(
                mark=mark_of(condition),
                count=len(members),
                share=len(members) / total,
                left=f"{left:.2f}%",
                width=f"{width:.2f}%",
                detail=_describe_state(condition, members, screen),
                url=screen.url(screen.query, **chosen.given(state="" if is_current else condition.value)),
                is_current=is_current,
            )
        )
        left += width
    return states


def _describe_state(condition: Condition, members: Sequence[SensorBrief], screen: Screen) -> str:
    """Say the one thing that matters most about the sensors in a state."""
    describe = _DETAILS.get(condition)
    return describe(members, screen) if describe is not None and members else ""


def _describe_silence(members: Sequence[SensorBrief], screen: Screen) -> str:
    heard = [row.heard_us for row in members if row.heard_us is not None]
    return _("longest since %(at)s") % {"at": screen.instants.moment(from_us(min(heard)))} if heard else ""


def _describe_holes(members: Sequence[SensorBrief], _screen: Screen) -> str:
    return _("%(count)s batches missing") % {"count": f"{sum(row.missing_batches for row in members):,}"}


def _describe_drops(members: Sequence[SensorBrief], _screen: Screen) -> str:
    return _("at most %(share)s") % {"share": f"{max(row.drop_share for row in members) * 100:.2f} %"}


def _describe_clocks(members: Sequence[SensorBrief], _screen: Screen) -> str:
    worst = max((row.clock_offset_us or 0 for row in members), key=abs)
    return _("at most %(seconds)s s") % {"seconds": f"{worst / _SECOND_US:+.1f}"}


_DETAILS = {
    Condition.SILENT: _describe_silence,
    Condition.GAPPED: _describe_holes,
    Condition.DROPPING: _describe_drops,
    Condition.SKEWED: _describe_clocks,
}


def _draw_cells(
    rows: Sequence[SensorBrief], shares: Mapping[int | str, SensorCoverage], screen: Screen, *, view: str
) -> dict[str, Any]:
    """Draw the sensors of each region, and say what the colours mean."""
    marks, legend = mark_rows(rows, view, shares)
    names = region_names()
    regions: dict[str, list[tuple[SensorBrief, StateMark]]] = {}
    for row, mark in zip(rows, marks, strict=True):
        regions.setdefault(row.region, []).append((row, mark))
    marked = sum(mark.css.startswith("st-") and mark.css != "st-w" for mark in marks)
    return {
        "regions": [
            draw_region(
                name_region(code, screen.language),
                [row for row, _mark in regions[code]],
                [mark for _row, mark in regions[code]],
                attention=sum(row.condition is not Condition.WATCHING for row, _mark in regions[code]),
                fleet_size=len(rows),
                marked=marked,
            )
            for code in sorted(regions, key=lambda code: (names.get(code, ("", "", 999))[2], code))
        ],
        "marks": legend,
    }


def _list_region_shares(coverage: Sensors | None, screen: Screen) -> list[dict[str, Any]]:
    if coverage is None:
        return []
    return [
        {
            "name": name_region(region.region, screen.language),
            "region": region,
            "cells": region.cells,
            "url": narrow_by(screen, f"region = {region.region or 'unknown'}"),
        }
        for region in coverage.regions
    ]


def describe_sensor_row(
    row: SensorRow, shares: Mapping[int | str, SensorCoverage], screen: Screen
) -> dict[str, Any]:
    """Turn a sensor's state into words."""
    found = shares.get(row.name if row.id is None else row.id)
    offset = None if row.clock_offset_us is None else row.clock_offset_us / _SECOND_US
    return {
        "row": row,
        "mark": mark_of(row.condition),
        "also": [mark_of(condition).word for condition in row.conditions[1:]],
        "region": name_region(row.region, screen.language),
        "url": _sensor_url(row.id, screen),
        "offset": "—" if offset is None else f"{offset:+.3f} s",
        "is_skewed": Condition.SKEWED in row.conditions,
        "age": describe_age(row.last_batch_at, screen.now),
        "share": found.share if found else None,
    }


def _sensor_url(sensor: int | None, screen: Screen) -> str:
    return screen.url_of("sensor", None, str(sensor)) if sensor is not None else ""


def describe_age(at: datetime | None, now: datetime) -> str:
    """Say how long ago something was, in the largest two units."""
    if at is None:
        return _("never")
    seconds = max(0, int((now - at).total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if minutes < 1:
        return _("%(n)s s ago") % {"n": seconds}
    if hours < 1:
        return _("%(n)s min ago") % {"n": minutes}
    if days < 1:
        return _("%(h)s h %(m)s min ago") % {"h": hours, "m": minutes % 60}
    return _("%(d)s d %(h)s h ago") % {"d": days, "h": hours % 24}


def calendar_query(screen: Screen) -> Any:
    """Ask about the last four weeks, whatever the screen's period."""
    end = screen.now.replace(second=0, microsecond=0)
    return replace(
        screen.query, start=end - timedelta(days=_CALENDAR_DAYS), end=end, filters=None, period="custom"
    )


def name_of(sensor: SensorCoverage) -> int | str:
    """Give what a sensor is known by: its number, or its pseudonym for this viewer."""
    return sensor.pseudonym if sensor.sensor is None else sensor.sensor


def describe_sensor(
    row: SensorRow, coverage: Sensors | None, events: Sequence[SensorEvent], screen: Screen
) -> dict[str, Any]:
    """Give what the drawer shows of one sensor."""
    found = (
        next((sensor for sensor in coverage.sensors if sensor.sensor == row.id), None) if coverage else None
    )
    words = {"unwatched": _("not watched"), "planned": _("planned maintenance")}
    facts = describe_facts(row.id, screen) if row.id is not None else SensorFacts()
    return {
        **describe_sensor_row(row, {name_of(found): found} if found else {}, screen),
        "coverage": found,
        "calendar": draw_hours(
            coverage.starts, found.cells, zone=screen.instants.zone, words=words, planned=facts.planned
        ) if coverage and found else None,
        "facts": facts,
        "events": [{"at": screen.instants.moment(event.at), "what": event.get_kind_display()} for event in events],
        "explore": narrow_by(screen, f"sensor = {row.id}"),
        "days": _CALENDAR_DAYS,
    }  # fmt: skip
