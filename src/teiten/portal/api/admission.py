"""The door of every call of the API: rate, scope, and what the caller may see."""

from __future__ import annotations

from django.http import HttpRequest

from teiten.accounts.models import Scope, User
from teiten.portal import middleware, services
from teiten.portal.api import guard
from teiten.search.service import Search
from teiten.search.visibility import Visibility


def admit(request: HttpRequest, scope: Scope = Scope.SEARCH) -> tuple[Search, Visibility]:
    """Check rate and scope of a call, and give the search with what the caller may see.

    Raises:
        ApiRefusal: for too many calls, or a token without the scope.
    """
    caller = _admit(request, scope)
    return services.get_search(), caller.visibility_in(request)


def admit_to_fleet(request: HttpRequest) -> User:
    """Check rate and scope of a call about the fleet, and give who calls; the fleet's selectors decide what is seen.

    Raises:
        ApiRefusal: for too many calls, or a token without the scope.
    """
    return _admit(request, Scope.SENSORS).user


def _admit(request: HttpRequest, scope: Scope) -> guard.Caller:
    caller = guard.caller_of(request)
    guard.limit.take(caller.user.pk, middleware.clock)
    caller.require(scope)
    return caller
