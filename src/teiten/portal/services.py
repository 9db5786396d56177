"""What the screens ask: set once at start-up by `cli`, so that views stay free of wiring."""

from __future__ import annotations

from teiten.portal.errors import NotWired
from teiten.search.config import SearchConfig
from teiten.search.service import Search

_search: Search | None = None


def set_search(search: Search) -> None:
    """Give the portal its search; called once before the first request."""
    global _search  # noqa: PLW0603 - one process serves one installation
    _search = search


def get_search() -> Search:
    """Give the search that `cli` has wired.

    Raises:
        NotWired: before :func:`set_search`.
    """
    if _search is None:
        raise NotWired("the portal has no search; call teiten.portal.services.set_search at start-up")
    return _search


def search_config() -> SearchConfig:
    """Give the search's settings; their defaults before it is wired (the sign-in page needs no search)."""
    return _search.config if _search is not None else SearchConfig()
