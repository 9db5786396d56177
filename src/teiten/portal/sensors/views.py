"""The sensors: who is watching, gaps, drops and clocks."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from teiten.accounts.models import Role, User
from teiten.fleet import selectors
from teiten.fleet.config import FleetConfig
from teiten.fleet.selectors import SensorRow
from teiten.portal import access, frame, services
from teiten.portal.access import role_required
from teiten.portal.controls import list_controls
from teiten.portal.problems import attempt
from teiten.portal.refused_questions import refuse_question
from teiten.portal.screen import Screen, read_screen
from teiten.portal.sensors.actions import list_actions
from teiten.portal.sensors.choosing import PARAMETERS, read_chosen
from teiten.portal.sensors.history import describe_more
from teiten.portal.sensors.presenter import calendar_query, describe_sensor, describe_sensors
from teiten.search.errors import SearchError

_MOST_EVENTS = 6


@role_required(Role.MEMBER)
@require_safe
def show_sensors(request: HttpRequest) -> HttpResponse:
    """Show every sensor of the data set with its state."""
    try:
        screen = read_screen(request, extra=PARAMETERS)
        chosen = read_chosen(request)
    except SearchError as error:
        return refuse_question(request, error, place="sensors")
    answered = attempt(lambda: services.get_search().sensors(screen.viewer, screen.query))
    context = {
        "here": "sensors",
        "screen": screen,
        "controls": list_controls(screen),
        "coverage": answered,
        "basis": answered.answer.basis if answered.answer else None,
        **describe_sensors(_list_rows(request, screen), answered.answer, screen, chosen=chosen),
    }
    return render(request, "portal/sensors/sensors.html", context)


def _list_rows(request: HttpRequest, screen: Screen) -> list[SensorRow]:
    dataset = screen.query.dataset
    return selectors.sensor_states(
        access.viewer_of(request),
        now=screen.now,
        config=_fleet_config(),
        dataset=dataset if dataset in ("live", "simulated") else None,
    )


def _fleet_config() -> FleetConfig:
    config: FleetConfig = settings.TEITEN_FLEET
    return config


@role_required(Role.MEMBER)
@require_safe
def show_sensor(request: HttpRequest, sensor: int) -> HttpResponse:
    """Show one sensor in the drawer, or as a page of its own."""
    viewer = access.viewer_of(request)
    try:
        screen = read_screen(request)
    except SearchError as error:
        return refuse_question(request, error, place="sensors")
    row = next((row for row in _list_rows(request, screen) if row.id == sensor), None)
    if row is None:
        raise Http404
    answered = attempt(
        lambda: services.get_search().sensors(
            screen.viewer, calendar_query(screen), step_seconds=3600, sensor=sensor
        )
    )
    events = list(selectors.events_visible_to(viewer, sensor_id=sensor)[:_MOST_EVENTS])
    context = {
        "here": "sensors",
        "screen": screen,
        "sensor": describe_sensor(row, answered.answer, events, screen),
        "problem": answered.problem,
        **_list_beside(viewer, row, is_whole=not frame.is_partial(request)),
    }
    template = "portal/sensors/drawer.html" if frame.is_partial(request) else "portal/sensors/sensor.html"
    return render(request, template, context)


def _list_beside(viewer: User, row: SensorRow, *, is_whole: bool) -> dict[str, Any]:
    """Give what may be done and, for the whole page, what is known beside the calendar; nothing where it is masked."""
    found = selectors.sensors_visible_to(viewer).filter(pk=row.id).first() if row.id is not None else None
    if found is None:
        return {}
    beside = {"standing": found, "actions": list_actions(viewer, found)}
    return {**beside, "more": describe_more(found, row, viewer)} if is_whole else beside
