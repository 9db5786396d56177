"""One group of sensors beside another, or beside itself in the period before."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from teiten.accounts.models import Role
from teiten.portal import services
from teiten.portal.access import role_required
from teiten.portal.compare.groups import PARAMETERS, read_choice
from teiten.portal.compare.presenter import describe_comparison, describe_form
from teiten.portal.controls import list_controls
from teiten.portal.presenting.chips import list_chips
from teiten.portal.problems import attempt
from teiten.portal.refused_questions import refuse_question
from teiten.portal.screen import read_screen
from teiten.search.errors import SearchError

_ROWS = 20


@role_required(Role.MEMBER)
@require_safe
def show_comparison(request: HttpRequest) -> HttpResponse:
    """Show both groups' rates, and how sure their ratio is."""
    try:
        screen = read_screen(request, extra=PARAMETERS)
        choice = read_choice(request)
    except SearchError as error:
        return refuse_question(request, error, place="compare")
    answered = attempt(
        lambda: services.get_search().compare(
            screen.viewer,
            screen.query,
            one=choice.one,
            other=choice.other,
            dimension=choice.split,
            limit=_ROWS,
            same_sensors=choice.same_sensors,
        )
    )
    context = {
        "here": "compare",
        "screen": screen,
        "controls": list_controls(screen),
        "chips": list_chips(screen),
        "form": describe_form(choice, screen),
        "problem": answered.problem,
        "basis": answered.answer.basis if answered.answer else None,
        "comparison": describe_comparison(answered.answer, screen, choice) if answered.answer else None,
    }
    return render(request, "portal/compare/compare.html", context)
