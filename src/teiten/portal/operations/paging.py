"""Pages of long lists: a number in the URL, nothing counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest

One = TypeVar("One", bound=Model)
PAGE_ROWS = 50
#: A page far behind costs as much as all before it.
_LAST_PAGE = 2_000


@dataclass(frozen=True)
class Page(Generic[One]):
    """One page of a list."""

    rows: Sequence[One]
    number: int
    #: 0: there is none.
    before: int
    after: int


def read_page(request: HttpRequest, rows: QuerySet[One], *, size: int = PAGE_ROWS) -> Page[One]:
    """Give the page that the URL's ``page`` names; what is no number is the first."""
    text = request.GET.get("page", "1")
    number = min(int(text), _LAST_PAGE) if text.isascii() and text.isdecimal() and len(text) < 6 else 1
    number = max(1, number)
    found = list(rows[(number - 1) * size : number * size + 1])
    return Page(found[:size], number, number - 1, number + 1 if len(found) > size else 0)
