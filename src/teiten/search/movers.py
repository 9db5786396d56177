"""What grew beyond its usual range."""

from __future__ import annotations

from teiten.search.answers_news import Movers
from teiten.search.desk import Desk
from teiten.search.errors import SearchUnavailable
from teiten.search.query import Query
from teiten.search.visibility import Visibility


def answer_movers(desk: Desk, visibility: Visibility, query: Query, *, dimension: str, limit: int) -> Movers:
    """See :meth:`teiten.search.service.Search.movers`."""
    raise SearchUnavailable("this question is not answered by this version yet; update and ask again")
