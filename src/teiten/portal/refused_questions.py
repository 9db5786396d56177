"""The answer to a URL that makes no sense: which parameter, which rule, and the way back."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from teiten.portal import frame
from teiten.portal.problems import describe_problem
from teiten.search.errors import SearchError


def refuse_question(
    request: HttpRequest, error: SearchError, *, place: str, typed: str | None = None
) -> HttpResponse:
    """Say what is wrong, as a page, or as a fragment when htmx asked for a part; ``typed`` may be mended there."""
    problem = describe_problem(error)
    template = "portal/problem.html" if frame.is_partial(request) else "portal/refused_question.html"
    return render(
        request, template, {"problem": problem, "here": place, "typed": typed}, status=problem.status
    )
