"""The frame round every page: who looks, where they are, and in which language and colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal
from zoneinfo import ZoneInfo

from django.conf import settings
from django.http import HttpRequest
from django.utils import translation
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from teiten.accounts.models import Role, User
from teiten.custody.payload import active_reason
from teiten.fleet.alarms.selectors import alarms_visible_to
from teiten.portal import access, middleware
from teiten.portal.naming.instants import Instants
from teiten.search.visibility import Visibility

#: Cookie written by the colour switch; without it the system's setting holds.
THEME_COOKIE = "teiten_theme"
THEMES = ("light", "dark")


@dataclass(frozen=True)
class Place:
    """One entry of the main navigation."""

    name: str
    url_name: str
    label: Promise
    #: Shown only to people who may watch single packets as they come.
    needs_live: bool = False
    #: Shown only to operators.
    needs_operator: bool = False
    #: Shows how many alarms are open.
    counts_alarms: bool = False


PLACES = (
    Place("overview", "overview", gettext_lazy("Overview")),
    Place("explore", "explore", gettext_lazy("Explore")),
    Place("sensors", "sensors", gettext_lazy("Sensors")),
    Place("compare", "compare", gettext_lazy("Compare")),
    Place("rules", "rules", gettext_lazy("Rules")),
    Place("notes", "notes", gettext_lazy("Annotations")),
    Place("live", "live", gettext_lazy("Live"), needs_live=True),
    Place("operations", "alarms", gettext_lazy("Operations"), counts_alarms=True),
    Place("disclosures", "disclosures", gettext_lazy("Disclosures"), needs_operator=True),
)


@dataclass(frozen=True)
class Frame:
    """What the frame's template shows."""

    places: tuple[Place, ...]
    theme: Literal["light", "dark", ""]
    language: str
    #: Empty when nobody is signed in.
    organisation: str
    #: Until when payload is open to this person, as a clock; empty when it is not.
    payload_until: str = ""
    #: Alarms that concern this person and that nobody has taken note of.
    alarms: int = 0


def visibility_of(request: HttpRequest) -> Visibility:
    """Give what the signed-in person may see."""
    return access.visibility_of(request, access.viewer_of(request), clock=middleware.clock)


def instants() -> Instants:
    """Write times for this reader: the installation's zone, the reader's language."""
    return Instants(ZoneInfo(settings.TIME_ZONE), language())


def language() -> str:
    """Give the reader's language, ``ja`` or ``en``."""
    return "en" if (translation.get_language() or "ja").startswith("en") else "ja"


def is_partial(request: HttpRequest) -> bool:
    """Tell whether htmx asks for a part of the page only."""
    return request.headers.get("HX-Request") == "true"


def describe_frame(request: HttpRequest | None) -> Frame:
    """Give the frame for this request; without one (a fault early on) it stays plain."""
    user: Any = getattr(request, "user", None)
    if request is None or not isinstance(user, User):
        return describe_bare_frame(request)
    may_watch, is_operator = visibility_of(request).may_see_live, user.has_role(Role.OPERATOR)
    places = tuple(
        entry
        for entry in PLACES
        if (may_watch or not entry.needs_live) and (is_operator or not entry.needs_operator)
    )
    name = user.organisation.name_ja if language() == "ja" else user.organisation.name_en
    return Frame(places, _theme_of(request), language(), name, _payload_until(user), _count_alarms(user))


def describe_bare_frame(request: HttpRequest | None) -> Frame:
    """Give the frame without asking the database: no places, nobody's name."""
    return Frame((), _theme_of(request), language(), "")


def _count_alarms(user: User) -> int:
    return alarms_visible_to(user).order_by().filter(acknowledged_at=None).count()


def _payload_until(user: User) -> str:
    reason = active_reason(user, middleware.clock.now()) if user.may_see_payload else None
    return instants().minute(reason.until_at) if reason else ""


def _theme_of(request: HttpRequest | None) -> Literal["light", "dark", ""]:
    chosen = request.COOKIES.get(THEME_COOKIE, "") if request else ""
    return chosen if chosen in THEMES else ""  # type: ignore[return-value]  # checked by the line itself
