"""Take planned maintenance back: what has begun ends now, what is over stays."""

from __future__ import annotations

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from teiten.accounts.models import Role
from teiten.fleet import hosting, selectors
from teiten.fleet.errors import FleetError
from teiten.fleet.models import Maintenance
from teiten.portal import middleware
from teiten.portal.access import role_required, viewer_of
from teiten.portal.acting import act_of, add_refusal


class CancelForm(forms.Form):
    """It says nothing but yes."""


@role_required(Role.MEMBER)
@require_http_methods(["GET", "HEAD", "POST"])
def cancel_maintenance(request: HttpRequest, sensor: int, number: int) -> HttpResponse:
    """Ask once more, and take it back."""
    planned = _find(request, sensor, number)
    form = CancelForm(request.POST if request.method == "POST" else None)
    status = 200
    if form.is_bound and form.is_valid():
        try:
            hosting.cancel_maintenance(planned.sensor, planned.pk, act=act_of(request))
        except FleetError as error:
            add_refusal(form, error)
            status = 400
        else:
            return redirect("sensor", sensor)
    now = middleware.clock.now()
    context = {
        "here": "sensors",
        "sensor": planned.sensor,
        "planned": planned,
        "form": form,
        "has_begun": planned.start_at < now,
        "is_over": planned.end_at <= now,
    }
    return render(request, "portal/sensors/cancel.html", context, status=status)


def _find(request: HttpRequest, sensor: int, number: int) -> Maintenance:
    """Give what is planned for a sensor that the viewer may act for; what was taken back is gone.

    Raises:
        Http404: when there is no such plan, or the viewer may not touch it.
    """
    viewer = viewer_of(request)
    visible = selectors.sensors_visible_to(viewer).filter(pk=sensor)
    if not viewer.has_role(Role.OPERATOR):
        visible = visible.filter(organisation=viewer.organisation_id)
    planned = Maintenance.objects.select_related("sensor").filter(pk=number, sensor__in=visible).first()
    if planned is None:
        raise Http404("no such maintenance")
    return planned
