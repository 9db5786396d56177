"""What a reader is told when a question cannot be answered: which field, which rule, and the way out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.utils.translation import gettext as _

from teiten.search.errors import (
    NotFound,
    NotPermitted,
    QueryError,
    SearchError,
    SearchUnavailable,
    TooExpensive,
)

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Problem:
    """An error as a panel shows it."""

    title: str
    #: What is the matter, in the reader's language; may be empty.
    summary: str
    #: The search's own English sentence: it names the thing, the rule and the way out.
    text: str
    field: str
    rule: str
    status: int
    #: Asking again may help.
    may_retry: bool


@dataclass(frozen=True)
class Panel(Generic[Answer]):
    """One panel's answer, or why there is none; the other panels do not suffer."""

    answer: Answer | None
    problem: Problem | None = None


def attempt(ask: Callable[[], Answer]) -> Panel[Answer]:
    """Ask for one panel."""
    try:
        return Panel(ask())
    except SearchError as error:
        return Panel(None, describe_problem(error))


def describe_problem(error: SearchError) -> Problem:
    """Turn a search error into words."""
    title, status = _title_of(error)
    rule = error.rule if isinstance(error, QueryError) else ""
    return Problem(
        title=title,
        summary=_summarise(error),
        text=str(error),
        field=error.field or "",
        rule=rule,
        status=status,
        may_retry=isinstance(error, SearchUnavailable),
    )


def _summarise(error: SearchError) -> str:
    if not error.field:
        return ""
    for words, explain in _EXPLAINED.items():
        if words in str(error):
            return explain(error.field)
    value = error.value if isinstance(error, QueryError) else None
    if value and value != error.field:
        return _("%(field)s = %(value)s cannot be used here.") % {"field": error.field, "value": value}
    return _("%(field)s cannot be used here.") % {"field": error.field}


#: Words of a refusal that a member meets in an ordinary question → the same in the reader's language.
_EXPLAINED: dict[str, Callable[[str], str]] = {
    "may not filter by a range of": lambda field: (
        _(
            "%(field)s cannot be filtered by a range: two ranges that differ by one value would tell whether a certain"
            " packet arrived. Name the values one by one."
        )
        % {"field": field}
    ),
    "write each alternative out": lambda _field: _(
        "Within “or” and “not” there may be plain conditions joined by “and” only, no lists and no further “or” or"
        " “not”. Write each alternative out."
    ),
    "negated or listed values": lambda _field: _(
        "There are too many excluded or listed values in one question. Take some away."
    ),
}


def _title_of(error: SearchError) -> tuple[str, int]:
    if isinstance(error, QueryError):
        return _("This question makes no sense"), 400
    if isinstance(error, NotPermitted):
        return _("Not permitted"), 403
    if isinstance(error, TooExpensive):
        return _("Too large a question; narrow it"), 422
    if isinstance(error, NotFound):
        return _("Not found"), 404
    return _("The store does not answer"), 503
