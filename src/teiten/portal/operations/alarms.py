"""Alarms: what is wrong now, for operators and for the hosts of sensors; each may say that they look after it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from teiten.accounts.models import Role, User
from teiten.fleet import selectors
from teiten.fleet.alarms import services
from teiten.fleet.alarms.models import Alarm, AlarmKind
from teiten.fleet.alarms.selectors import alarms_visible_to, count_open
from teiten.fleet.alarms.watching import OF_EVENTS
from teiten.fleet.health import silence_allowed
from teiten.portal import middleware
from teiten.portal.access import role_required, viewer_of
from teiten.portal.acting import act_of, posted
from teiten.portal.operations.alarm_words import describe_detail, mark_kind, name_group
from teiten.portal.operations.paging import read_page
from teiten.portal.sensors.presenter import describe_age


@role_required(Role.MEMBER)
@require_safe
def show_alarms(request: HttpRequest) -> HttpResponse:
    """List alarms that are open, or all of them; of one kind, or of any."""
    return _show(request)


def _show(request: HttpRequest, *, refused: str = "", status: int = 200) -> HttpResponse:
    viewer, shows_all = viewer_of(request), request.GET.get("all") == "1"
    kind = request.GET.get("kind", "")
    alarms = alarms_visible_to(viewer, open_only=not shows_all)
    if kind in AlarmKind.values:
        alarms = alarms.filter(kind=kind)
    page = read_page(request, alarms)
    asked = {name: value for name, value in (("all", "1" if shows_all else ""), ("kind", kind)) if value}
    context = {
        "here": "operations",
        "tab": "alarms",
        "lines": [_describe(alarm, viewer) for alarm in page.rows],
        "kinds": _count_kinds(viewer, kind=kind, shows_all=shows_all),
        "page": page,
        "shows_all": shows_all,
        "of_kind": AlarmKind(kind).label if kind in AlarmKind.values else "",
        "pager_extra": f"{urlencode(asked)}&" if asked else "",
        "refused": refused,
        "noticed_seconds": int(silence_allowed(settings.TEITEN_FLEET).total_seconds()),
        "has_sensors": bool(page.rows) or selectors.sensors_visible_to(viewer).exists(),
    }
    return render(request, "portal/operations/alarms.html", context, status=status)


def _count_kinds(viewer: User, *, kind: str, shows_all: bool) -> list[dict[str, Any]]:
    """Give the kinds of which an alarm is open, each with the address that shows it alone."""
    counted = count_open(viewer)
    every = {"all": "1"} if shows_all else {}
    return [
        {
            "mark": mark_kind(one.value),
            "label": one.label,
            "count": counted[one.value],
            "is_current": one.value == kind,
            "url": f"?{urlencode(every if one.value == kind else every | {'kind': one.value})}",
        }
        for one in AlarmKind
        if counted.get(one.value)
    ]


def _describe(alarm: Alarm, viewer: User) -> dict[str, Any]:
    return {
        "alarm": alarm,
        "mark": mark_kind(alarm.kind),
        "group": name_group(alarm.group),
        "age": describe_age(alarm.opened_at, middleware.clock.now()),
        "detail": describe_detail(alarm),
        "may_acknowledge": _may_acknowledge(alarm, viewer),
    }


def _may_acknowledge(alarm: Alarm, viewer: User) -> bool:
    """Tell whether a button makes sense; what an event raised is looked after by operators."""
    if alarm.closed_at is not None or alarm.acknowledged_at is not None:
        return False
    if viewer.has_role(Role.OPERATOR):
        return True
    return alarm.organisation_id == viewer.organisation_id and alarm.kind not in OF_EVENTS


@role_required(Role.MEMBER)
@posted("alarms")
def acknowledge(request: HttpRequest, number: int) -> HttpResponse:
    """Note that somebody looks after an alarm; the second of two changes nothing."""
    visible = alarms_visible_to(viewer_of(request), open_only=False, with_parts=True)
    alarm = visible.filter(pk=number).first()
    if alarm is None:
        raise Http404("no such alarm")
    try:
        services.acknowledge(alarm, act=act_of(request))
    except services.AlarmError as error:
        return _show(request, refused=str(error), status=409)
    return redirect("alarms")
