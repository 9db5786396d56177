"""Live mode: the last minute as it comes, for analysts and operators."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from teiten.accounts.models import Role
from teiten.portal import services
from teiten.portal.access import role_required
from teiten.portal.controls import list_controls
from teiten.portal.naming.groups import name_group
from teiten.portal.naming.regions import region_names
from teiten.portal.presenting.chips import list_chips
from teiten.portal.presenting.pivots import narrow_by
from teiten.portal.presenting.rows import describe_rows
from teiten.portal.problems import Panel, attempt
from teiten.portal.refused_questions import refuse_question
from teiten.portal.screen import Screen, read_screen
from teiten.search.answers import Live
from teiten.search.errors import SearchError

SECONDS = 120
LATEST = 25


@role_required(Role.ANALYST)
@require_safe
def show_live(request: HttpRequest) -> HttpResponse:
    """Show live mode; its figures come from the feed every two seconds."""
    try:
        screen = read_screen(request)
    except SearchError as error:
        return refuse_question(request, error, place="live")
    context = {
        "here": "live",
        "controls": list_controls(screen, region_names()),
        "chips": list_chips(screen),
        "feed": screen.url_of("live-feed"),
        **_describe(screen),
    }
    return render(request, "portal/live/live.html", context)


@role_required(Role.ANALYST)
@require_safe
def show_feed(request: HttpRequest) -> HttpResponse:
    """Show the newest figures, as the part of the page that changes."""
    try:
        screen = read_screen(request)
    except SearchError as error:
        return refuse_question(request, error, place="live")
    return render(request, "portal/live/feed.html", _describe(screen))


def _describe(screen: Screen) -> dict[str, Any]:
    search = services.get_search()
    panel = attempt(lambda: search.live(screen.viewer, screen.query, seconds=SECONDS, latest=LATEST))
    return {"screen": screen, "live": Panel(_describe_live(panel.answer, screen)) if panel.answer else panel}


def _describe_live(live: Live, screen: Screen) -> dict[str, Any]:
    instants = screen.instants
    most = max((count.packets for count in live.top), default=1)
    seconds = max(1, len(live.packets) * live.step_seconds)
    return {
        "data": {
            "starts": [instants.wall_ms(at) for at in live.starts],
            "step": live.step_seconds * 1000,
            "packets": list(live.packets),
            "hosts": list(live.hosts),
            "pendingFrom": _pending_from(live, screen),
            "words": {"packets": _("Packets"), "hosts": _("Hosts"), "pending": _("not all has arrived yet")},
        },
        "now": f"{instants.second(live.now_at)} {instants.zone_word(live.now_at)}",
        "rate": sum(live.packets) / seconds,
        "packets": sum(live.packets),
        "most": max(live.packets, default=0),
        "pending": _pending_from(live, screen) is not None,
        "top": [
            {"name": name_group(count.group, screen.language)[0], "small": count.group.name or "", "count": count, "bar": count.packets / most, "url": narrow_by(screen, count.group.condition)}
            for count in live.top
        ],
        "list": describe_rows(live.latest, screen),
        "basis": live.basis,
    }  # fmt: skip


def _pending_from(live: Live, screen: Screen) -> int | None:
    """Give from when on packets may still arrive; a bar there is no figure yet, and no bar is no zero."""
    until = live.basis.complete_until
    if not live.starts or (until is not None and until >= live.now_at):
        return None
    return screen.instants.wall_ms(max(until, live.starts[0]) if until is not None else live.starts[0])
