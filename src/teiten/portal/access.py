"""Who may open which page: every view says so, or nobody may.

A view carries its decision as an attribute that :class:`AccessMiddleware` reads:
``@public`` or ``@role_required(Role.ANALYST)``; class views take the decorator on
the result of ``as_view()`` or through :class:`RoleRequired`. A view without a decision is
refused, and a test lists every URL.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal, TypeVar

from django.conf import settings
from django.http import HttpRequest

from teiten.accounts.models import Role, User
from teiten.custody.payload import active_reason
from teiten.fleet.selectors import own_sensors
from teiten.foundation.clock import Clock
from teiten.portal import services
from teiten.portal.disclosing import recorder_of
from teiten.search.visibility import Visibility, for_viewer

View = TypeVar("View", bound=Callable[..., Any])
#: What a view may carry.
Decision = Literal["public", "member", "analyst", "operator"]
_ATTRIBUTE = "teiten_access"
#: URL prefixes whose own code decides on every request, and how.
SELF_GUARDED: dict[str, str] = {"api/": "the API checks its own token or session on every call"}


def public(view: View) -> View:
    """Open a view to everybody, signed in or not."""
    setattr(view, _ATTRIBUTE, "public")
    return view


def role_required(role: Role | str) -> Callable[[View], View]:
    """Open a view to people with ``role`` or a higher one."""
    decision = Role(role).value

    def mark(view: View) -> View:
        setattr(view, _ATTRIBUTE, decision)
        return view

    return mark


class RoleRequired:
    """The same for class views: set ``required_role``."""

    required_role: ClassVar[Role] = Role.MEMBER

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., Any]:
        view = super().as_view(**initkwargs)  # type: ignore[misc]  # Django's View stands beside this mixin
        marked: Callable[..., Any] = role_required(cls.required_role)(view)
        return marked


def decision_of(view: Callable[..., Any]) -> Decision | None:
    """Give what a view says about access, or None when it says nothing."""
    decision: Decision | None = getattr(view, _ATTRIBUTE, None)
    return decision


def viewer_of(request: HttpRequest) -> User:
    """Give the person behind a request that has passed the access check."""
    if not isinstance(request.user, User):
        raise TypeError("a public view has no viewer; mark the view with role_required")
    return request.user


def visibility_of(request: HttpRequest, user: User, *, clock: Clock) -> Visibility:
    """Give what ``user`` may see through this request; whatever it gives away is written down.

    Payload needs the person's permission and a reason that is in the log and lasts still.
    """
    known: Visibility | None = getattr(request, "teiten_visibility", None)
    if known is None:
        config = services.search_config()
        known = for_viewer(
            user.role,
            organisation_id=user.organisation_id,
            own_sensors=own_sensors(user.organisation_id) if user.role == Role.MEMBER else (),
            secret=settings.SECRET_KEY.encode(),
            may_see_payload=user.may_see_payload and active_reason(user, clock.now()) is not None,
            member_level="aggregate" if config.member_level == "aggregate" else "pseudonym",
            least_sensors=config.least_sensors,
            delay_seconds=config.member_delay_seconds,
            recorder=recorder_of(request, user, clock=clock),
        )
        request.teiten_visibility = known  # type: ignore[attr-defined]  # one answer for a whole page
    return known
