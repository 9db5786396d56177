"""The overview: what is happening now, and how much observation that rests on."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from teiten.accounts.models import Role
from teiten.portal import services
from teiten.portal.access import role_required
from teiten.portal.controls import list_controls
from teiten.portal.naming.regions import region_names
from teiten.portal.overview.presenter import describe_overview
from teiten.portal.presenting.chips import list_chips
from teiten.portal.refused_questions import refuse_question
from teiten.portal.screen import read_screen
from teiten.search.errors import SearchError


@role_required(Role.MEMBER)
@require_safe
def show_overview(request: HttpRequest) -> HttpResponse:
    """Show the overview for the question in the URL."""
    try:
        screen = read_screen(request)
    except SearchError as error:
        return refuse_question(request, error, place="overview")
    shown = describe_overview(services.get_search(), screen)
    context = {
        "here": "overview",
        "screen": screen,
        "controls": list_controls(screen, region_names(), basis=shown["basis"]),
        "chips": list_chips(screen),
        **shown,
    }
    return render(request, "portal/overview/overview.html", context)
