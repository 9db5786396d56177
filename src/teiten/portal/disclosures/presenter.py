"""The disclosure log in words: who, by which way, which question, at which level, how much of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from django.urls import reverse
from django.utils.translation import gettext as _

from teiten.custody.models import Disclosure
from teiten.custody.recipients import Receipts
from teiten.portal.screen import Screen
from teiten.search import language, url
from teiten.search.errors import SearchError

_PAGE = 100
_MOST_RECEIPTS = 500
#: A page of one screen asks several questions; each is a row of its own.
_SHORT = 12
_TLP_CSS = {"RED": "red", "AMBER": "amber", "AMBER+STRICT": "amber", "GREEN": "green", "CLEAR": "clear"}


def list_newest(chosen: Mapping[str, Any], screen: Screen) -> dict[str, Any]:
    """Give a page of the log, newest first."""
    rows = Disclosure.objects.select_related("user", "organisation", "end", "payload_reason").order_by("-pk")
    rows = _narrow(rows, chosen)
    if chosen["before"]:
        rows = rows.filter(pk__lt=chosen["before"])
    found = list(rows[: _PAGE + 1])
    shown = found[:_PAGE]
    return {
        "rows": [describe_row(row, screen) for row in shown],
        "older": shown[-1].pk if len(found) > _PAGE else None,
        "subject": None,
    }


def _narrow(rows: QuerySet[Disclosure], chosen: Mapping[str, Any]) -> QuerySet[Disclosure]:
    if chosen["organisation"]:
        rows = rows.filter(organisation=chosen["organisation"])
    return rows.filter(channel=chosen["channel"]) if chosen["channel"] else rows


def describe_receipts(receipts: Receipts, chosen: Mapping[str, Any], screen: Screen) -> dict[str, Any]:
    """Give everybody who received, or may have received, data on a subject."""
    wanted = [
        receipt
        for receipt in receipts.receipts
        if (not chosen["organisation"] or receipt.disclosure.organisation_id == chosen["organisation"].pk)
        and (not chosen["channel"] or receipt.disclosure.channel == chosen["channel"])
    ]
    rows = [
        {**describe_row(receipt.disclosure, screen), "is_verified": receipt.is_verified}
        for receipt in wanted[:_MOST_RECEIPTS]
    ]
    return {
        "rows": rows,
        "older": None,
        "subject": str(receipts.subject),
        "recipients": sorted({receipt.disclosure.organisation.code for receipt in wanted}),
        "people": len({receipt.disclosure.user_id for receipt in wanted}),
        "found": len(wanted),
        "considered": receipts.considered,
        "is_cut": receipts.is_cut,
    }


def describe_row(row: Disclosure, screen: Screen) -> dict[str, Any]:
    """Turn one row of the log into words."""
    end = getattr(row, "end", None) if row.is_file else None
    return {
        "row": row,
        "period": screen.instants.period(row.start_at, row.end_at),
        "again": f"{reverse('explore')}?{row.query}",
        "question": _word_question(row),
        "tlp": f"TLP:{row.tlp}",
        "tlp_css": _TLP_CSS.get(row.tlp, ""),
        "sha256": (end.sha256 if end else row.sha256) or "",
        "short": (end.sha256 if end else row.sha256)[:_SHORT] if (end or row.sha256) else "",
        "state": _word_state(row, end),
        "is_broken": row.is_file and (end is None or not end.is_whole),
        "reason": row.payload_reason.reason if row.payload_reason else "",
    }


def _word_question(row: Disclosure) -> str:
    """Write what was asked for, as a filter; as it is in the log when this version cannot read it."""
    try:
        query = url.decode(row.query, now=row.at)
    except SearchError:
        return row.query
    words = language.print_filters(query.filters) or _("every packet")
    return f"{row.dataset} · {words}"


def _word_state(row: Disclosure, end: Any) -> str:
    if not row.is_file:
        return _("whole")
    if end is None:
        return _("broken off")
    return _("whole") if end.is_whole else _("broken off")
