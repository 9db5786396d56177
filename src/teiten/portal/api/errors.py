"""What the API answers when it does not answer: one JSON form for every refusal.

    {"error": "bad_query", "message": "…", "field": "dst_port", "rule": "…", "position": 11}

ApiError
└── ApiRefusal   the call was refused before it reached the search
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from teiten.foundation.errors import TeitenError
from teiten.search.errors import (
    NotFound,
    NotPermitted,
    QueryError,
    SearchError,
    SearchUnavailable,
    TooExpensive,
)

_log = logging.getLogger(__name__)
_STATUS: dict[type[SearchError], int] = {
    QueryError: 400,
    NotPermitted: 403,
    NotFound: 404,
    TooExpensive: 422,
    SearchUnavailable: 503,
}
_RETRY_SECONDS = 10


class ApiError(TeitenError):
    """The API could not answer."""


class ApiRefusal(ApiError):
    """A call that was refused before it reached the search."""

    def __init__(
        self, status: int, code: str, message: str, *, retry_after_seconds: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_seconds = retry_after_seconds


def refuse_search(_: HttpRequest, error: SearchError) -> HttpResponse:
    """Answer for an error of the search room."""
    body: dict[str, Any] = {"error": error.code, "message": str(error)}
    if error.field is not None:
        body["field"] = error.field
    if isinstance(error, QueryError):
        body["rule"] = error.rule
        if error.position is not None:
            body["position"] = error.position
    response = _write(_STATUS.get(type(error), 500), body)
    if isinstance(error, SearchUnavailable):
        response["Retry-After"] = str(_RETRY_SECONDS)
        _log.warning("The store did not answer an API call.", extra={"reason": str(error.__cause__ or error)})
    return response


def refuse_call(_: HttpRequest, error: ApiRefusal) -> HttpResponse:
    """Answer for a call that was refused by the API itself."""
    response = _write(error.status, {"error": error.code, "message": str(error)})
    if error.retry_after_seconds is not None:
        response["Retry-After"] = str(error.retry_after_seconds)
    if error.status == 401:
        response["WWW-Authenticate"] = 'Bearer realm="teiten"'
    return response


def refuse_stranger(_: HttpRequest, error: AuthenticationError) -> HttpResponse:
    """Answer for a call without token or session."""
    del error
    response = _write(
        401,
        {
            "error": "not_signed_in",
            "message": "send an API token as 'Authorization: Bearer tto_…', or sign in on the portal",
        },
    )
    response["WWW-Authenticate"] = 'Bearer realm="teiten"'
    return response


def refuse_parameters(_: HttpRequest, error: ValidationError) -> HttpResponse:
    """Answer for a parameter of the wrong type."""
    first = error.errors[0]
    field = str(first["loc"][-1])
    message = f"URL parameter {field}: {first['msg']}"
    return _write(400, {"error": "bad_query", "message": message, "field": field, "rule": str(first["msg"])})


def refuse_http(_: HttpRequest, error: HttpError) -> HttpResponse:
    """Answer for an error of the framework."""
    return _write(error.status_code, {"error": "refused", "message": str(error)})


def confess_fault(_: HttpRequest, error: Exception) -> HttpResponse:
    """Answer for a fault of ours: this is the border of the process, so it is logged whole."""
    _log.error("An API call failed.", exc_info=error)
    return _write(500, {"error": "fault", "message": "this is a fault of Teiten; it has been logged"})


def refuse_path(_: HttpRequest, rest: str) -> HttpResponse:
    """Answer for an address that is no call."""
    return _write(
        404, {"error": "no_such_call", "message": f"there is no call {rest[:80]!r}; see /api/v1/docs"}
    )


_HANDLERS: dict[type[Exception], Callable[[HttpRequest, Any], HttpResponse]] = {
    SearchError: refuse_search,
    ApiRefusal: refuse_call,
    AuthenticationError: refuse_stranger,
    ValidationError: refuse_parameters,
    HttpError: refuse_http,
    Exception: confess_fault,
}


def add_handlers(api: NinjaAPI) -> None:
    """Let every error leave in the one form."""
    for error, handler in _HANDLERS.items():
        api.add_exception_handler(error, handler)


def _write(status: int, body: dict[str, Any]) -> HttpResponse:
    return HttpResponse(json.dumps(body, ensure_ascii=False), status=status, content_type="application/json")
