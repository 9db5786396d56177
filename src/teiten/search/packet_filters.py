"""The WHERE clause of a question over single packets."""

from __future__ import annotations

from teiten.foundation.clock import to_us
from teiten.search.predicates import Binding, write_filter
from teiten.search.query import Query
from teiten.search.statements import write_survey


def write_where(query: Query, binding: Binding) -> str:
    """Give the clause of a query over single packets, its period exact."""
    parts = [
        f"dataset = {binding.bind('String', query.dataset)}",
        f"observed_at >= {binding.instant(to_us(query.start))}",
        f"observed_at < {binding.instant(to_us(query.end))}",
        *([] if query.survey == "all" else [write_survey(query.survey)]),
        *([] if query.filters is None else [write_filter(query.filters, binding)]),
    ]
    return " AND ".join(parts)
