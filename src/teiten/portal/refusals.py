"""Pages that say no: forbidden, not found, a form that is too old, a fault of ours."""

from __future__ import annotations

import sys
from http import HTTPStatus
from typing import Any

from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.html import format_html
from django.utils.translation import gettext as _

from teiten.portal.access import public

_TEMPLATE = "portal/refusal.html"


@public
def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400: the request makes no sense."""
    del exception
    return _refuse(request, 400, title=_("Bad request"), text=_("This request makes no sense here."))


@public
def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403: signed in, but not allowed."""
    del exception
    text = _("Your role does not open this page. Ask an operator if you need it.")
    return _refuse(request, 403, title=_("Not allowed"), text=text)


@public
def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404: nothing here."""
    del exception
    return _refuse(request, 404, title=_("Not found"), text=_("There is no page at this address."))


@public
def server_error(request: HttpRequest) -> HttpResponse:
    """500, or 503 when the database is away: no template that could ask the database again."""
    del request
    if isinstance(sys.exc_info()[1], OperationalError):
        return _refuse_plainly(503, _("The database does not answer just now. Try again in a minute."))
    return _refuse_plainly(500, _("This is a fault of the portal. It has been logged."))


@public
def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403: the form is too old or comes from elsewhere."""
    del reason
    text = _("The form was too old or came from another site. Reload the page and try again.")
    return _refuse(request, 403, title=_("Form not accepted"), text=text)


def _refuse(request: HttpRequest, status: int, **context: Any) -> HttpResponse:
    return render(request, _TEMPLATE, {"status": status, **context}, status=status)


def _refuse_plainly(status: int, text: str) -> HttpResponse:
    page = format_html(
        '<!doctype html><meta charset="utf-8"><title>{}</title><h1>{}</h1><p>{}</p>', status, status, text
    )
    response = HttpResponse(page, status=status)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        response["Retry-After"] = "30"
    return response
