"""Words of the query language for the numbers that packet columns hold."""

from __future__ import annotations

from functools import cache

from teiten.search import fields, services
from teiten.search.answers import Cell


@cache
def _words(field: str) -> dict[int, str]:
    return {number: word for word, number in fields.names_of(field).items()}


def word_of(field: str, cell: Cell) -> str:
    """Give the word of a number (a nature, say); a word stays as it is, nothing is empty."""
    if cell is None or cell == "":
        return ""
    return _words(field).get(cell, str(cell)) if isinstance(cell, int) else str(cell)


def words_of(field: str, cell: Cell) -> tuple[str, ...]:
    """Give the words of the bits that are set."""
    if not isinstance(cell, int):
        return tuple(part for part in str(cell or "").split("+") if part and part != "none")
    return tuple(word for bit, word in sorted(_words(field).items()) if cell & bit)


def name_protocol(cell: Cell) -> str:
    """Give a protocol's word: ``tcp``."""
    return services.name_protocol(cell) if isinstance(cell, int) else str(cell or "")
