"""Any value is a pivot: its own page, or Explore kept to it or without it."""

from __future__ import annotations

from teiten.portal.naming.kinds import kind_of, write_key
from teiten.portal.screen import Screen
from teiten.search import language
from teiten.search.answers import Group
from teiten.search.query import Query

#: Dimensions whose values are sources, which have pages of another kind.
_SOURCES = frozenset({"src_addr", "src_prefix"})


def keep(query: Query, condition: str) -> Query:
    """Narrow to a condition in the query language."""
    parsed = language.parse(condition)
    return query if parsed is None else query.narrow(parsed)


def leave_out(query: Query, condition: str) -> Query:
    """Narrow to all but a condition."""
    parsed = language.parse(condition)
    return query if parsed is None else query.exclude(parsed)


def narrow_by(screen: Screen, condition: str) -> str:
    """Give Explore's address for this screen's question, kept to ``condition``: the rows behind a number."""
    return screen.url_of("explore", keep(screen.query, condition))


def page_of(screen: Screen, group: Group) -> str:
    """Give the address of a value's own page, with this screen's question; Explore for a value without one."""
    if group.dimension in _SOURCES and group.key not in ("", "unknown"):
        return screen.url_of("source", None, group.key)
    kind = kind_of(group)
    if kind is None:
        return narrow_by(screen, group.condition)
    return screen.url_of(kind.name, None, write_key(kind, group.key))
