"""Names of autonomous systems, from the country/AS file in use; `cli` hands over who knows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

AsNames = Callable[[], Mapping[int, str]]


def _nobody() -> Mapping[int, str]:
    return {}


_names: AsNames = _nobody


def set_as_names(names: AsNames) -> None:
    """Give what knows the names; asked at each use, so that a new file shows at once."""
    global _names  # noqa: PLW0603  # one process serves one installation
    _names = names


def name_system(key: str) -> str:
    """Give an AS's name, or nothing when no file names it."""
    return _names().get(int(key), "") if key.isdecimal() else ""
