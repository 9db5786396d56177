"""Everything known about one source: an address or a prefix."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from teiten.accounts.models import Role
from teiten.portal import services
from teiten.portal.access import role_required
from teiten.portal.controls import list_controls
from teiten.portal.refused_questions import refuse_question
from teiten.portal.screen import read_screen
from teiten.portal.sources.presenter import calendar_label, describe_source
from teiten.search.errors import SearchError


@role_required(Role.MEMBER)
@require_safe
def show_source(request: HttpRequest, source: str) -> HttpResponse:
    """Show the page of an address or prefix."""
    try:
        screen = read_screen(request)
        page = services.get_search().source(screen.viewer, screen.query, source=source)
    except SearchError as error:
        return refuse_question(request, error, place="")
    context = {
        "screen": screen,
        "controls": list_controls(screen),
        "basis": page.basis,
        "calendar_label": calendar_label(page),
        **describe_source(page, screen),
    }
    return render(request, "portal/sources/source.html", context)
