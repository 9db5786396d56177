"""In what share of the covered sensors something was seen, and where."""

from __future__ import annotations

from teiten.search.answers_places import Breadth
from teiten.search.desk import Desk
from teiten.search.errors import SearchUnavailable
from teiten.search.query import Query
from teiten.search.visibility import Visibility


def answer_breadth(desk: Desk, visibility: Visibility, query: Query) -> Breadth:
    """See :meth:`teiten.search.service.Search.breadth`."""
    raise SearchUnavailable("this question is not answered by this version yet; update and ask again")
