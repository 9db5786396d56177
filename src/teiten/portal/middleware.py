"""What every answer carries and every request must pass."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.utils.http import urlencode

from teiten.accounts import sessions
from teiten.accounts.models import Role, User
from teiten.foundation.clock import Clock, SystemClock
from teiten.portal import access, disclosing

_log = logging.getLogger(__name__)

Next = Callable[[HttpRequest], HttpResponseBase]

#: The clock of the portal's views; tests put a fixed one here.
clock: Clock = SystemClock()

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; manifest-src 'self'"
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Resource-Policy": "same-origin",
}
#: A page that asks again by itself sends this header, so that an open screen is not a person at work.
BACKGROUND_HEADER = "X-Teiten-Background"
#: ``seen_at`` is written at most this often, so that most page views cost no write.
_SEEN_WRITTEN_EVERY = timedelta(seconds=60)


def security_headers(get_response: Next) -> Next:
    """Put the content policy and its companions on every answer; keep dynamic ones out of caches."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        if "Cache-Control" not in response.headers:
            response["Cache-Control"] = "private, no-store"
        return response

    return answer


def session_limits(get_response: Next) -> Next:
    """End a session after half an hour of silence, or twelve hours after sign-in."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        signed_in = request.session.get(sessions.SIGNED_IN_AT)
        if signed_in is not None:
            _check_limits(request, signed_in_at=datetime.fromisoformat(signed_in), now=clock.now())
        return get_response(request)

    return answer


def _check_limits(request: HttpRequest, *, signed_in_at: datetime, now: datetime) -> None:
    rules = settings.TEITEN_ACCOUNTS
    seen_at = datetime.fromisoformat(request.session[sessions.SEEN_AT])
    is_old = now - signed_in_at >= timedelta(hours=rules.session_absolute_hours)
    is_idle = now - seen_at >= timedelta(minutes=rules.session_idle_minutes)
    if is_old or is_idle:
        request.session.flush()
    elif now - seen_at >= _SEEN_WRITTEN_EVERY and BACKGROUND_HEADER not in request.headers:
        request.session[sessions.SEEN_AT] = now.isoformat()


class AccessMiddleware:
    """Ask each view who may open it; a view that does not say is closed."""

    def __init__(self, get_response: Next) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self._get_response(request)
        disclosing.write_down(request, response)
        return response

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        """Let the request through (None), send it to sign in, or refuse it."""
        del args, kwargs
        decision = access.decision_of(view)
        if decision == "public" or _is_self_guarded(request):
            return None
        if decision is None:
            _log.error(
                "A view has no access decision.", extra={"view": getattr(view, "__qualname__", repr(view))}
            )
            raise PermissionDenied("this page has no access decision")
        return _admit(request, Role(decision))


def _admit(request: HttpRequest, role: Role) -> HttpResponseBase | None:
    user = request.user
    if not isinstance(user, User):
        return _to_sign_in(request)
    if user.must_change_password and not _is_for_new_password(request):
        return redirect("password")
    if not user.has_role(role):
        raise PermissionDenied(f"this page is for the role {role.value}")
    return None


def _is_self_guarded(request: HttpRequest) -> bool:
    return request.path_info.lstrip("/").startswith(tuple(access.SELF_GUARDED))


def _is_for_new_password(request: HttpRequest) -> bool:
    return request.path_info in (reverse("password"), reverse("sign-out"))


def _to_sign_in(request: HttpRequest) -> HttpResponseBase:
    """Send a person to the sign-in page; htmx follows only its own header."""
    is_partial = request.headers.get("HX-Request") == "true"
    came_from = request.headers.get("HX-Current-URL", "/") if is_partial else request.get_full_path()
    target = f"{reverse('sign-in')}?{urlencode({'next': came_from})}"
    if is_partial:
        response = HttpResponse(status=401)
        response["HX-Redirect"] = target
        patch_vary_headers(response, ["HX-Request"])
        return response
    return redirect(target)
