"""One group of sensors against another: rates, ratios, and how sure they are."""

from __future__ import annotations

from teiten.search.answers_places import Comparison, SensorGroup
from teiten.search.desk import Desk
from teiten.search.errors import SearchUnavailable
from teiten.search.query import Query
from teiten.search.visibility import Visibility


def answer_comparison(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    *,
    one: SensorGroup,
    other: SensorGroup | None,
    dimension: str,
    limit: int,
    same_sensors: bool,
) -> Comparison:
    """See :meth:`teiten.search.service.Search.compare`."""
    raise SearchUnavailable("this question is not answered by this version yet; update and ask again")
