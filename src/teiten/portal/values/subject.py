"""Which value a page is about, read from its address."""

from __future__ import annotations

from dataclasses import dataclass, replace

from teiten.portal.naming.kinds import Kind, read_key
from teiten.portal.screen import Screen
from teiten.search import language, values
from teiten.search.answers import Group
from teiten.search.conditions import Expression, where
from teiten.search.dimensions import get_dimension, parse_key
from teiten.search.fields import get_field
from teiten.search.masking import check_filters
from teiten.search.query import Query


@dataclass(frozen=True)
class Subject:
    """A value, and the screen's question kept to it."""

    kind: Kind
    group: Group
    condition: Expression
    query: Query

    def narrow(self, query: Query) -> Query:
        """Keep another question to this value."""
        return query.narrow(self.condition)


def read_subject(kind: Kind, text: str, screen: Screen) -> Subject:
    """Read the value from the page's address.

    Raises:
        QueryError: when it is no value of the dimension, naming the rule.
        NotPermitted: when the viewer may not ask for this value.
    """
    field = get_field(kind.dimension)
    value = parse_key(get_dimension(kind.dimension), read_key(kind, text))
    condition = where(kind.dimension, "=", value)
    check_filters(screen.viewer, condition)
    key = values.print_value(field, value)
    written = language.print_condition(condition)
    group = Group(kind.dimension, key, _label(kind, key), None, written)
    return Subject(kind, group, condition, screen.query.narrow(condition))


def _label(kind: Kind, key: str) -> str:
    if kind.name == "port":
        return key.upper()
    return f"AS{key}" if kind.name == "as" and key.isdecimal() and key != "0" else key


def name_better(subject: Subject, group: Group | None) -> Subject:
    """Take over the names that an answer gave the value."""
    return subject if group is None else replace(subject, group=group)
