"""Pages that say no: forbidden, not found, a form that is too old, a fault of ours.

They come out whole while the database is away: then the frame round them asks
nobody who looks, and counts nothing. What htmx asked for gets a part, not a page
within a page.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from django.db import Error as DatabaseError
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.utils.html import format_html
from django.utils.translation import gettext as _

from teiten.portal import frame
from teiten.portal.access import public

_log = logging.getLogger(__name__)
_TEMPLATE = "portal/refusal.html"
_PART = "portal/refusal_part.html"
#: With this a page is rendered without asking the database.
_BARE = {"user": None, "is_bare": True}


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
    """500, or 503 when the database is away: nothing here asks the database again."""
    is_away = isinstance(sys.exc_info()[1], OperationalError)
    # Without the database a request does not even come to where its language is read.
    with translation.override(translation.get_language_from_request(request)):
        if not is_away:
            title, text = _("A fault of ours"), _("This is a fault of the portal. It has been logged.")
            return _refuse_barely(request, 500, title=title, text=text)
        title = _("Away for a moment")
        text = _("The database does not answer just now. Try again in a minute.")
        response = _refuse_barely(request, 503, title=title, text=text, may_retry=True)
    response["Retry-After"] = "30"
    return response


@public
def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403: the form is too old or comes from elsewhere."""
    del reason
    text = _("The form was too old or came from another site. Reload the page and try again.")
    return _refuse(request, 403, title=_("Form not accepted"), text=text)


def _refuse(request: HttpRequest, status: int, **context: Any) -> HttpResponse:
    try:
        return _write(request, status, context)
    except DatabaseError:
        _log.warning("The database did not answer; a refusal goes out without it.", extra={"status": status})
        return _write(request, status, context | _BARE)


def _refuse_barely(request: HttpRequest, status: int, **context: Any) -> HttpResponse:
    """Refuse without the database, and where the fault is in the page's own frame, without that too."""
    try:
        return _write(request, status, context | _BARE)
    except Exception:  # noqa: BLE001  # the border of the process: beyond it is an empty answer
        _log.exception("The page that says so failed too.")
        page = format_html(
            '<!doctype html><meta charset="utf-8"><title>{}</title><h1>{}</h1><p>{}</p>',
            status, context["title"], context["text"],
        )  # fmt: skip
        return HttpResponse(page, status=status)


def _write(request: HttpRequest, status: int, context: dict[str, Any]) -> HttpResponse:
    template = _PART if frame.is_partial(request) else _TEMPLATE
    response = render(request, template, {"status": status, **context}, status=status)
    patch_vary_headers(response, ["HX-Request"])
    return response
