"""Pages of the fleet's lists: each begins after the last row of the one before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from teiten.search.errors import QueryError

_LARGEST = (1 << 63) - 1
_RULE = "next_page of the answer before"


@dataclass(frozen=True)
class Listed:
    """A page, and where the next one begins; None after the last."""

    rows: Sequence[Any]
    next_page: str | None


def read_list(
    rows: QuerySet[Any], page: str | None, limit: int, *, by: str = "pk", newest_first: bool = True
) -> Listed:
    """Give the rows after the one that ``page`` names, in the order of ``by``.

    Raises:
        QueryError: when ``page`` names none.
    """
    if page is not None:
        is_text = by == "pk" and rows.model._meta.pk.get_internal_type() == "CharField"  # noqa: SLF001  # Django's documented interface
        last: str | int = _read_text(page) if is_text else read_number(page)
        rows = rows.filter(**{f"{by}__{'lt' if newest_first else 'gt'}": last})
    found = list(rows.order_by(f"-{by}" if newest_first else by)[: limit + 1])
    kept = found[:limit]
    return Listed(kept, str(getattr(kept[-1], by)) if len(found) > limit else None)


def read_number(page: str | None) -> int:
    """Give the number that a page begins after; without one, that before the first.

    Raises:
        QueryError: when it is no number.
    """
    if page is None:
        return 0
    if not (page.isascii() and page.isdecimal() and len(page) < 20 and int(page) <= _LARGEST):
        raise QueryError(f"URL parameter page={page!r} must be {_RULE}", field="page", value=page, rule=_RULE)
    return int(page)


def _read_text(page: str) -> str:
    if not (page.isascii() and page.isalnum() and len(page) <= 64):
        raise QueryError(f"URL parameter page={page!r} must be {_RULE}", field="page", value=page, rule=_RULE)
    return page
