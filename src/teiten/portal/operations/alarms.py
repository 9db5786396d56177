"""Alarms: what is wrong now, for operators and for the hosts of sensors; each may say that they look after it."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from teiten.accounts.models import Role, User
from teiten.fleet.alarms import services
from teiten.fleet.alarms.models import Alarm
from teiten.fleet.alarms.selectors import alarms_visible_to
from teiten.portal import middleware
from teiten.portal.access import role_required, viewer_of
from teiten.portal.acting import act_of, posted
from teiten.portal.operations.paging import read_page
from teiten.portal.sensors.history import write_facts
from teiten.portal.sensors.presenter import describe_age


@role_required(Role.MEMBER)
@require_safe
def show_alarms(request: HttpRequest) -> HttpResponse:
    """List alarms that are open, or all of them."""
    viewer, shows_all = viewer_of(request), request.GET.get("all") == "1"
    page = read_page(request, alarms_visible_to(viewer, open_only=not shows_all))
    lines = [_describe(alarm, viewer) for alarm in page.rows]
    context = {"here": "operations", "tab": "alarms", "lines": lines, "page": page, "shows_all": shows_all}
    return render(request, "portal/operations/alarms.html", context)


def _describe(alarm: Alarm, viewer: User) -> dict[str, Any]:
    is_own = alarm.organisation_id == viewer.organisation_id
    may = viewer.has_role(Role.OPERATOR) or is_own
    return {
        "alarm": alarm,
        "age": describe_age(alarm.opened_at, middleware.clock.now()),
        "detail": write_facts(alarm.detail),
        "may_acknowledge": may and alarm.closed_at is None and alarm.acknowledged_at is None,
    }


@role_required(Role.MEMBER)
@posted("alarms")
def acknowledge(request: HttpRequest, number: int) -> HttpResponse:
    """Note that somebody looks after an alarm."""
    alarm = alarms_visible_to(viewer_of(request), with_parts=True).filter(pk=number).first()
    if alarm is None:
        raise Http404("no such alarm")
    try:
        services.acknowledge(alarm, act=act_of(request))
    except services.AlarmError as error:
        raise Http404(str(error)) from error
    return redirect("alarms")
