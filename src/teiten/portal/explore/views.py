"""Explore: one question, its chart, facets and packets; every value a pivot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from teiten.accounts.models import Role
from teiten.portal import frame, services
from teiten.portal.access import role_required
from teiten.portal.controls import list_controls
from teiten.portal.explore import options as explore_options
from teiten.portal.explore.finding import find_target
from teiten.portal.explore.packets import describe_packet
from teiten.portal.explore.presenter import describe_explore
from teiten.portal.naming.regions import region_names
from teiten.portal.presenting.chips import list_chips
from teiten.portal.presenting.exporting import FORMATS, list_formats
from teiten.portal.presenting.reasons import reason_address
from teiten.portal.presenting.rows import COLUMNS, describe_rows
from teiten.portal.refused_questions import refuse_question
from teiten.portal.screen import read_screen
from teiten.search import language
from teiten.search.errors import QueryError, SearchError
from teiten.search.exports import Export, ExportFormat


@role_required(Role.MEMBER)
@require_safe
def show_explore(request: HttpRequest) -> HttpResponse:
    """Show Explore for the question in the URL."""
    try:
        screen = read_screen(request, extra=explore_options.PARAMETERS)
        options = explore_options.read_options(request)
    except SearchError as error:
        return _refuse_filter(request, error)
    shown = describe_explore(services.get_search(), screen, options)
    context = {
        "here": "explore",
        "screen": screen,
        "controls": list_controls(screen, region_names(), basis=shown["basis"]),
        "chips": list_chips(screen),
        "text": language.print_filters(screen.query.filters),
        "formats": list_formats(screen),
        **shown,
    }
    return render(request, "portal/explore/explore.html", context)


def _refuse_filter(request: HttpRequest, error: SearchError) -> HttpResponse:
    """Show what is wrong beside the text that was typed, so that it can be mended."""
    return refuse_question(request, error, place="explore", typed=request.GET.get("q", ""))


@role_required(Role.MEMBER)
@require_safe
def show_packets(request: HttpRequest) -> HttpResponse:
    """Show the next page of packets, as rows to be appended or as a page of its own."""
    try:
        screen = read_screen(request, extra=("page",))
        rows = services.get_search().rows(
            screen.viewer, screen.query, page=request.GET.get("page") or None, columns=COLUMNS, count=False
        )
    except SearchError as error:
        return refuse_question(request, error, place="explore")
    context = {
        "here": "explore",
        "screen": screen,
        "packets": describe_rows(rows, screen),
        "basis": rows.basis,
    }
    template = "portal/explore/rows.html" if frame.is_partial(request) else "portal/explore/packets.html"
    return render(request, template, context)


@role_required(Role.MEMBER)
@require_safe
def show_packet(request: HttpRequest) -> HttpResponse:
    """Show one packet in the drawer, or as a page of its own."""
    try:
        screen = read_screen(request, extra=("ref",))
        packet = services.get_search().packet(screen.viewer, request.GET.get("ref", ""))
    except SearchError as error:
        return refuse_question(request, error, place="explore")
    context = {
        "here": "explore",
        "screen": screen,
        "packet": describe_packet(packet, screen),
        "reason_url": reason_address(request),
        "basis": packet.basis,
    }
    template = "portal/explore/drawer.html" if frame.is_partial(request) else "portal/explore/packet.html"
    return render(request, template, context)


@role_required(Role.MEMBER)
@require_safe
def export_packets(request: HttpRequest) -> HttpResponseBase:
    """Stream the packets of the question as a file."""
    try:
        screen = read_screen(request, extra=("format",))
        export = services.get_search().export(
            screen.viewer, screen.query, file_format=_read_format(request), byte_order_mark=True
        )
    except SearchError as error:
        return refuse_question(request, error, place="explore")
    response = StreamingHttpResponse(_send(export), content_type=export.start.media_type)
    response["Content-Disposition"] = f'attachment; filename="{export.start.file_name}"'
    response["X-Accel-Buffering"] = "no"
    return response


def _read_format(request: HttpRequest) -> ExportFormat:
    wanted = request.GET.get("format", "csv")
    for known in FORMATS:
        if known == wanted:
            return known
    rule = f"one of {', '.join(FORMATS)}"
    raise QueryError(f"format {wanted!r} is unknown; use {rule}", field="format", value=wanted, rule=rule)


async def _send(export: Export) -> AsyncIterator[bytes]:
    """Hand the pieces over one by one; Django would read a plain iterator whole under ASGI."""
    pieces: Iterator[bytes] = iter(export)
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


@role_required(Role.MEMBER)
@require_safe
def complete_query(request: HttpRequest) -> HttpResponse:
    """Say what may stand at the cursor of the query text."""
    cursor = request.GET.get("cursor", "")
    try:
        found = services.get_search().complete(
            frame.visibility_of(request),
            request.GET.get("text", ""),
            cursor=int(cursor) if cursor.isdecimal() else None,
            dataset=request.GET.get("dataset", "live"),
        )
    except SearchError as error:
        return JsonResponse({"completions": [], "problem": str(error)}, status=400)
    completions: list[dict[str, Any]] = [
        {"text": c.text, "kind": c.kind, "meaning": c.meaning} for c in found
    ]
    return JsonResponse({"completions": completions})


@role_required(Role.MEMBER)
@require_safe
def find(request: HttpRequest) -> HttpResponse:
    """Lead from the search box of the top bar to what was meant."""
    try:
        return redirect(find_target(request.GET.get("for", ""), dataset=request.GET.get("dataset", "")))
    except SearchError as error:
        return refuse_question(request, error, place="")
