"""The audit log: what was done to the fleet, each record bound to the one before it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from teiten.accounts import audit, chain
from teiten.accounts.models import AuditRecord, Role
from teiten.fleet.commands.selectors import audit_visible_to
from teiten.portal import middleware
from teiten.portal.access import role_required, viewer_of
from teiten.portal.operations.paging import read_page
from teiten.portal.sensors.history import write_facts

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@role_required(Role.OPERATOR)
@require_safe
def show_records(request: HttpRequest) -> HttpResponse:
    """List the newest records; check those shown against their digests."""
    # PostgreSQL keeps no NUL, and takes none in a question.
    subject = request.GET.get("subject", "").replace("\0", "").strip()[:100]
    page = read_page(request, audit_visible_to(viewer_of(request), subject=subject or None))
    context = {
        "here": "operations",
        "tab": "records",
        "lines": [_describe(record) for record in page.rows],
        "page": page,
        "subject": subject,
        "head": audit.read_head(at=middleware.clock.now()),
        # Only records that follow one another can be checked as a chain.
        "flaw": None if subject else find_flaw(page.rows),
        "checked": 0 if subject else len(page.rows),
        "pager_extra": f"{urlencode({'subject': subject})}&",
    }
    return render(request, "portal/operations/records.html", context)


def find_flaw(newest_first: Sequence[AuditRecord]) -> chain.Break | None:
    """Give the first of some successive records that does not hold; None when all do."""
    links = [_link(record) for record in reversed(newest_first)]
    if not links:
        return None
    return chain.find_break(links, after=links[0].number - 1, previous=links[0].previous)


def _link(record: AuditRecord) -> chain.Link:
    at_us = (record.at - _EPOCH) // timedelta(microseconds=1)
    return chain.Link(
        record.number, at_us, record.kind, record.subject, record.actor, record.content,
        bytes(record.previous), bytes(record.digest),
    )  # fmt: skip


def _describe(record: AuditRecord) -> dict[str, Any]:
    try:
        facts = json.loads(record.content).get("facts", {})
    except (ValueError, AttributeError):
        facts = {"content": record.content}
    told = facts if isinstance(facts, dict) else {"facts": facts}
    return {"record": record, "facts": write_facts(told), "digest": bytes(record.digest).hex()[:12]}
