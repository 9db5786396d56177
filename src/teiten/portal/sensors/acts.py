"""The forms that change one sensor: asked for, checked, done; a token is shown once."""

from __future__ import annotations

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from teiten.accounts.models import Role
from teiten.fleet import selectors
from teiten.fleet.errors import FleetError, HostForbiddenError
from teiten.fleet.models import Sensor
from teiten.fleet.services import IssuedToken
from teiten.portal.access import role_required, viewer_of
from teiten.portal.acting import act_of, add_refusal, keep_nowhere
from teiten.portal.sensors.actions import Action, find_action

#: What the fleet calls a field, and what the form calls it.
_NAMES = {"from": "start", "to": "end"}


@role_required(Role.MEMBER)
@require_http_methods(["GET", "HEAD", "POST"])
def act_on_sensor(request: HttpRequest, sensor: int, action: str) -> HttpResponse:
    """Ask for what an action needs, and do it."""
    found, chosen = _find(request, sensor, action)
    form = chosen.form(request.POST if request.method == "POST" else None)
    status = 200
    if request.method == "POST":
        answer = _try(request, found, chosen, form)
        if answer is not None:
            return answer
        status = 400
        # Another operator may have been quicker.
        found.refresh_from_db(from_queryset=Sensor.objects.select_related("region", "organisation"))
    fits = chosen.fits(viewer_of(request), found)
    context = {"here": "sensors", "sensor": found, "action": chosen, "form": form, "fits": fits}
    return render(request, "portal/sensors/act.html", context, status=status)


def _find(request: HttpRequest, number: int, name: str) -> tuple[Sensor, Action]:
    """Give sensor and action; somebody else's sensor is as unknown as none.

    Raises:
        Http404: when the viewer does not see the sensor as it is, or there is no such action.
        PermissionDenied: when the viewer sees it and may not do this with it.
    """
    viewer, action = viewer_of(request), find_action(name)
    sensor = selectors.sensors_visible_to(viewer).filter(pk=number).first()
    if sensor is None or action is None:
        raise Http404("no such sensor or action")
    if not action.may(viewer, sensor):
        raise PermissionDenied(f"{viewer.user_id} may not {action.name} sensor {sensor.pk}")
    return sensor, action


def _try(request: HttpRequest, sensor: Sensor, action: Action, form: forms.Form) -> HttpResponse | None:
    """Do it; None when the form says what is wrong."""
    if not form.is_valid():
        return None
    try:
        done = action.run(sensor, form.cleaned_data, act_of(request))
    except HostForbiddenError as error:
        raise Http404("no such sensor") from error
    except FleetError as error:
        add_refusal(form, error, _NAMES)
        return None
    if isinstance(done, IssuedToken):
        context = {"here": "sensors", "sensor": sensor, "action": action, "token": done}
        return keep_nowhere(render(request, "portal/sensors/token.html", context))
    return redirect("sensor", sensor.pk)
