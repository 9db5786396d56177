"""Errors of the search room, one class per decision of the caller.

SearchError
├── QueryError         the question makes no sense: show rule and way out, do not retry
├── NotPermitted       the viewer's role does not allow it: say who grants it
├── TooExpensive       beyond the limits of the role: narrow the question
├── NotFound           what was pointed at is not (or no longer) there
└── SearchUnavailable  the store does not answer: retry later
"""

from __future__ import annotations

from teiten.foundation.errors import TeitenError


class SearchError(TeitenError):
    """A search could not be answered."""

    #: Stable word for the API.
    code = "search_failed"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        #: Field or URL parameter concerned, if one is.
        self.field = field


class QueryError(SearchError):
    """A query text, a URL parameter or an argument makes no sense."""

    code = "bad_query"

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        value: str | None = None,
        rule: str = "",
        position: int | None = None,
    ) -> None:
        super().__init__(message, field=field)
        #: What was given, as text.
        self.value = value
        #: The rule that the value breaks, and with it the way out.
        self.rule = rule
        #: Place in the query text, in characters from 0; None when it is no text.
        self.position = position


class NotPermitted(SearchError):
    """The viewer may not see or filter by this."""

    code = "not_permitted"


class TooExpensive(SearchError):
    """The question costs more rows, time or memory than the role allows."""

    code = "too_expensive"


class NotFound(SearchError):
    """The packet, or whatever else was pointed at, is not in the store."""

    code = "not_found"


class SearchUnavailable(SearchError):
    """The store did not answer."""

    code = "store_unavailable"
