"""Any value is a pivot: the address of Explore that keeps, or leaves out, exactly this value."""

from __future__ import annotations

from teiten.portal.screen import Screen
from teiten.search import language
from teiten.search.query import Query


def keep(query: Query, condition: str) -> Query:
    """Narrow to a condition in the query language."""
    parsed = language.parse(condition)
    return query if parsed is None else query.narrow(parsed)


def leave_out(query: Query, condition: str) -> Query:
    """Narrow to all but a condition."""
    parsed = language.parse(condition)
    return query if parsed is None else query.exclude(parsed)


def narrow_by(screen: Screen, condition: str) -> str:
    """Give Explore's address for this screen's question, kept to ``condition``."""
    return screen.url_of("explore", keep(screen.query, condition))
