"""Whether a logged question held a subject: the store is asked again, and nothing of it is handed out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from django.http import HttpRequest

from teiten.custody.recipients import Verify
from teiten.portal import services
from teiten.portal.frame import visibility_of
from teiten.search.errors import SearchError
from teiten.search.query import Query
from teiten.search.service import Search
from teiten.search.visibility import Visibility

#: If its first day has no packet of anybody, the packets of the period are gone.
_FIRST = timedelta(days=1)


def make_verify(request: HttpRequest) -> Verify:
    """Give what asks the store for an operator, beside the record of disclosures."""
    search = services.get_search()
    unrecorded = replace(visibility_of(request), recorder=None)

    def verify(query: Query) -> bool | None:
        try:
            if _has_packet(search, unrecorded, query):
                return True
            first = query.within(query.start, min(query.end, query.start + _FIRST))
            anybody = replace(first, filters=None, survey="all", mode="all")
            return False if _has_packet(search, unrecorded, anybody) else None
        except SearchError:
            return None

    return verify


def _has_packet(search: Search, visibility: Visibility, query: Query) -> bool:
    found = search.rows(visibility, query, limit=1, columns=("observed_at",), count=False)
    return bool(found.rows)
