"""What the screens ask: set once at start-up by `cli`, so that views stay free of wiring."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from teiten.portal.errors import NotWired
from teiten.search.config import SearchConfig
from teiten.search.service import Search

if TYPE_CHECKING:
    # Django's models can be imported only once Django has been set up.
    from teiten.fleet.installing import Kit

_search: Search | None = None
_releases_dir: Path | None = None
_make_kit: Callable[[bool], Kit] | None = None


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


def set_fleet(*, releases_dir: Path, make_kit: Callable[[bool], Kit]) -> None:
    """Tell the portal where releases lie and what install scripts have in common (with or without free commands)."""
    global _releases_dir, _make_kit
    _releases_dir, _make_kit = releases_dir, make_kit


def releases_dir() -> Path | None:
    """Give the folder of releases; None before :func:`set_fleet`."""
    return _releases_dir


def make_kit(*, allow_exec: bool) -> Kit:
    """Give what install scripts of this installation have in common.

    Raises:
        NotWired: before :func:`set_fleet`.
    """
    if _make_kit is None:
        raise NotWired(
            "the portal makes no install scripts; call teiten.portal.services.set_fleet at start-up"
        )
    return _make_kit(allow_exec)
