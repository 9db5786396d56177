"""Who may call the API: a token in the Authorization header, or a browser that is signed in.

Every call reads, so a session needs no CSRF token. The caller's role gives the
visibility; a token also needs the scope of what it calls.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from django.http import HttpRequest
from ninja.security import HttpBearer
from ninja.security.base import AuthBase

from teiten.accounts.errors import TokenRefusedError
from teiten.accounts.models import Scope, User
from teiten.accounts.tokens import authenticate_token
from teiten.custody.errors import CustodyInputError
from teiten.custody.payload import active_reason, request_payload
from teiten.foundation.clock import Clock
from teiten.portal import access, middleware
from teiten.portal.api.errors import ApiRefusal
from teiten.search.visibility import Visibility

#: Calls that one person may make in a minute.
CALLS_PER_MINUTE = 240
_MOST_CALLERS = 10_000
#: Why the caller looks at payload, percent-encoded or ASCII; it stays on record and opens payload for a while.
PAYLOAD_REASON_HEADER = "Teiten-Payload-Reason"
_PAYLOAD_MINUTES = 10


@dataclass(frozen=True)
class Caller:
    """Who called, and what they may do."""

    user: User
    #: Scopes of the token; None for a browser session, which has them all.
    scopes: frozenset[str] | None

    def visibility_in(self, request: HttpRequest) -> Visibility:
        """Give what the caller may see; a stated reason opens payload to whoever has the permission.

        Raises:
            ApiRefusal: 403 for a reason of somebody without it, 400 for one that is too short.
        """
        reason = request.headers.get(PAYLOAD_REASON_HEADER)
        if reason is not None:
            self._open_payload(reason)
        return access.visibility_of(request, self.user, clock=middleware.clock)

    def _open_payload(self, reason: str) -> None:
        now = middleware.clock.now()
        if not self.user.may_see_payload:
            raise ApiRefusal(
                403,
                "not_permitted",
                "you may not see payloads; the operator gives that permission to analysts",
            )
        if active_reason(self.user, now) is not None:
            return
        try:
            request_payload(self.user, reason=unquote(reason), minutes=_PAYLOAD_MINUTES, at=now)
        except CustodyInputError as error:
            raise ApiRefusal(400, "bad_query", f"{PAYLOAD_REASON_HEADER}: {error}") from error

    def require(self, scope: Scope) -> None:
        """Refuse a token that was not issued for this.

        Raises:
            ApiRefusal: 403, naming the scope.
        """
        if self.scopes is not None and scope.value not in self.scopes:
            raise ApiRefusal(
                403,
                "missing_scope",
                f"this call needs a token with the scope {scope.value!r}; issue one that has it",
            )


class TokenAuth(HttpBearer):
    """``Authorization: Bearer tto_…``."""

    def authenticate(self, request: HttpRequest, token: str) -> Caller | None:
        """Give the caller, or refuse.

        Raises:
            ApiRefusal: 401, saying which rule the token broke.
        """
        try:
            known = authenticate_token(token, address=address_of(request), now=middleware.clock.now())
        except TokenRefusedError as error:
            raise ApiRefusal(401, "bad_token", str(error)) from error
        return Caller(known.user, frozenset(known.scopes))


class SessionAuth(AuthBase):
    """A browser that is signed in on the portal."""

    openapi_type = "apiKey"
    openapi_in = "cookie"
    openapi_name = "teiten-session"

    def __call__(self, request: HttpRequest) -> Any | None:
        user = getattr(request, "user", None)
        if not isinstance(user, User) or user.must_change_password:
            return None
        return Caller(user, None)


def caller_of(request: HttpRequest) -> Caller:
    """Give who made a request that has passed the guard."""
    caller: Caller = request.auth  # type: ignore[attr-defined]  # ninja puts it there
    return caller


def address_of(request: HttpRequest) -> str:
    """Give the address that the call came from."""
    return str(request.META.get("REMOTE_ADDR") or "127.0.0.1")


class RateLimit:
    """A token bucket per person, in this process."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._lock = threading.Lock()
        self._buckets: OrderedDict[int, tuple[float, float]] = OrderedDict()

    def take(self, person: int, clock: Clock) -> None:
        """Count one call.

        Raises:
            ApiRefusal: 429, saying when to call again.
        """
        now = clock.monotonic()
        with self._lock:
            left, since = self._buckets.pop(person, (float(self._per_minute), now))
            left = min(float(self._per_minute), left + (now - since) * self._per_minute / 60)
            self._buckets[person] = (max(0.0, left - 1), now)
            while len(self._buckets) > _MOST_CALLERS:
                self._buckets.popitem(last=False)
        if left < 1:
            wait_seconds = max(1, round(60 / self._per_minute * (1 - left) + 0.5))
            raise ApiRefusal(
                429,
                "too_many_calls",
                f"at most {self._per_minute} calls a minute; call again in {wait_seconds} s",
                retry_after_seconds=wait_seconds,
            )


limit = RateLimit(CALLS_PER_MINUTE)
