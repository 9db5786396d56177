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
    value = error.value if isinstance(error, QueryError) else None
    if value and value != error.field:
        return _("%(field)s = %(value)s cannot be used here.") % {"field": error.field, "value": value}
    return _("%(field)s cannot be used here.") % {"field": error.field}


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
