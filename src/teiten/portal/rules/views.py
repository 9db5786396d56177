"""The rules: what each says of a packet, where it is written down, and how often it errs."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from teiten.accounts.models import Role
from teiten.datasets import selectors
from teiten.portal import services
from teiten.portal.access import role_required
from teiten.portal.problems import attempt
from teiten.portal.refused_questions import refuse_question
from teiten.portal.rules.presenter import describe_rules
from teiten.portal.screen import read_screen
from teiten.search.errors import SearchError

_MOST_ENTRIES = 500
_MOST_IMPORTS = 20


@role_required(Role.MEMBER)
@require_safe
def show_rules(request: HttpRequest) -> HttpResponse:
    """Show every rule with its source, version and measured error."""
    try:
        screen = read_screen(request)
    except SearchError as error:
        return refuse_question(request, error, place="rules")
    basis = attempt(lambda: services.get_search().basis(screen.viewer, screen.query)).answer
    context = {"here": "rules", "screen": screen, "basis": basis, **describe_rules(screen, basis)}
    return render(request, "portal/rules/rules.html", context)


@role_required(Role.MEMBER)
@require_safe
def show_survey_list(request: HttpRequest, name: str) -> HttpResponse:
    """Show the entries of one survey list, and what changed it."""
    try:
        screen = read_screen(request)
    except SearchError as error:
        return refuse_question(request, error, place="rules")
    found = next((row for row in selectors.list_surveys(screen.now) if row.name == name), None)
    if found is None:
        raise Http404(f"there is no list {name}")
    entries = selectors.entries_of(name)
    context = {
        "here": "rules",
        "screen": screen,
        "list": found,
        "entries": entries[:_MOST_ENTRIES],
        "more": max(0, found.entries - _MOST_ENTRIES),
        "imports": selectors.imports_of(name)[:_MOST_IMPORTS],
    }
    return render(request, "portal/rules/survey_list.html", context)
