"""The query language as screens and the API show it: its fields, and what may come next."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FieldView:
    """A field of the query language as a viewer may use it."""

    name: str
    kind: str
    meaning: str
    rule: str
    operators: tuple[str, ...]
    #: Words that stand for values.
    words: tuple[str, ...]
    is_dimension: bool
    #: The viewer may not filter by it or see it.
    is_masked: bool


@dataclass(frozen=True)
class Completion:
    """What may stand at the cursor."""

    text: str
    #: ``field``, ``operator``, ``value`` or ``word``.
    kind: str
    meaning: str = ""
