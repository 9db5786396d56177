"""The sensors: who is watching, gaps, drops and clocks."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypedDict

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
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
from teiten.portal.sensors.reach import describe_reach
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
        **describe_sensors(
            selectors.sensor_briefs(access.viewer_of(request), **_known_of(screen)),
            answered.answer,
            screen,
            chosen=chosen,
            read=lambda numbers: selectors.sensor_states(
                access.viewer_of(request), **_known_of(screen), sensors=numbers
            ),
        ),
    }
    return render(request, "portal/sensors/sensors.html", context)


class _Known(TypedDict):
    """What the fleet is asked for."""

    now: datetime
    config: FleetConfig
    dataset: str | None


def _known_of(screen: Screen) -> _Known:
    dataset = screen.query.dataset
    known = dataset if dataset in ("live", "simulated") else None
    return {"now": screen.now, "config": settings.TEITEN_FLEET, "dataset": known}


@role_required(Role.MEMBER)
@require_safe
def show_sensor(request: HttpRequest, sensor: int) -> HttpResponse:
    """Show one sensor in the drawer, or as a page of its own."""
    viewer = access.viewer_of(request)
    try:
        screen = read_screen(request)
    except SearchError as error:
        return refuse_question(request, error, place="sensors")
    known = _known_of(screen)
    wanted, known["dataset"] = known["dataset"], None
    found = selectors.sensor_states(viewer, **known, sensors=[sensor])
    row = next((row for row in found if row.id == sensor), None)
    if row is None:
        raise Http404
    if wanted is not None and row.dataset != wanted:
        return _go_to_its_data_set(request, row.dataset)
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


def _go_to_its_data_set(request: HttpRequest, dataset: str) -> HttpResponse:
    """Lead to the same page of the data set that the sensor is of: simulated ones are shown as such."""
    asked = request.GET.copy()
    asked["dataset"] = dataset
    return redirect(f"{request.path}?{asked.urlencode()}")


def _list_beside(viewer: User, row: SensorRow, *, is_whole: bool) -> dict[str, Any]:
    """Give what may be done and, for the whole page, what is known beside the calendar; nothing where it is masked."""
    found = selectors.sensors_visible_to(viewer).filter(pk=row.id).first() if row.id is not None else None
    if found is None:
        return {}
    may_plan = viewer.has_role(Role.OPERATOR) or found.organisation_id == viewer.organisation_id
    beside = {"standing": found, "actions": list_actions(viewer, found), "may_plan": may_plan}
    if not is_whole:
        return beside
    reach = describe_reach(found.pk, viewer, frame.instants())
    return {**beside, "more": describe_more(found, row, viewer), "reach": reach}
