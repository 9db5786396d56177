"""What is seen for the first time."""

from __future__ import annotations

from teiten.search.answers_news import News, NewsDimension
from teiten.search.desk import Desk
from teiten.search.errors import SearchUnavailable
from teiten.search.query import Query
from teiten.search.visibility import Visibility


def answer_news(
    desk: Desk, visibility: Visibility, query: Query, *, dimension: NewsDimension, days: int, limit: int
) -> News:
    """See :meth:`teiten.search.service.Search.news`."""
    raise SearchUnavailable("this question is not answered by this version yet; update and ask again")
