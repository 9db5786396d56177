"""The filter as chips: one for each part that must hold, each with the address that takes it away."""

from __future__ import annotations

from dataclasses import dataclass

from teiten.portal.screen import Screen
from teiten.search import language
from teiten.search.conditions import Condition, Expression, Not, negate

_NEGATED = frozenset({"!=", "not in", "lacks"})


@dataclass(frozen=True)
class Chip:
    """One part of the filter."""

    text: str
    is_negated: bool
    url: str


def list_chips(screen: Screen) -> list[Chip]:
    """Give a chip for each condition of the question."""
    return [
        Chip(*_word(part), url=screen.url(screen.query.widen(index)))
        for index, part in enumerate(screen.query.conditions)
    ]


def _word(part: Expression) -> tuple[str, bool]:
    is_negated = isinstance(part, Not) or (isinstance(part, Condition) and part.operator in _NEGATED)
    return language.print_filters(negate(part) if is_negated else part), is_negated
