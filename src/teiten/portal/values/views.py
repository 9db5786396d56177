"""The page of one value: a port, a fingerprint, a payload, a probe, a country, an AS, an actor."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from teiten.accounts.models import Role
from teiten.portal import services
from teiten.portal.access import role_required
from teiten.portal.controls import list_controls
from teiten.portal.naming.kinds import BY_NAME
from teiten.portal.naming.regions import region_names
from teiten.portal.presenting.chips import list_chips
from teiten.portal.presenting.exporting import list_formats
from teiten.portal.presenting.reasons import reason_address
from teiten.portal.refused_questions import refuse_question
from teiten.portal.screen import read_screen
from teiten.portal.values.presenter import describe_value
from teiten.portal.values.subject import read_subject
from teiten.search.errors import SearchError


@role_required(Role.MEMBER)
@require_safe
def show_value(request: HttpRequest, kind_name: str, key: str) -> HttpResponse:
    """Show everything about one value under the question in the URL."""
    try:
        screen = read_screen(request)
        subject = read_subject(BY_NAME[kind_name], key, screen)
    except SearchError as error:
        return refuse_question(request, error, place="")
    shown = describe_value(services.get_search(), screen, subject)
    context = {
        "screen": screen,
        "controls": list_controls(screen, region_names(), basis=shown["basis"]),
        "chips": list_chips(screen),
        "formats": list_formats(screen, subject.query),
        "reason_url": reason_address(request),
        **shown,
    }
    return render(request, "portal/values/value.html", context)
