"""Names of countries and areas, from Unicode CLDR (`countries.tsv`, built by `make vendor`)."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def _names() -> dict[str, dict[str, str]]:
    text = (files("teiten.portal.naming") / "countries.tsv").read_text(encoding="utf-8")
    head, *rows = (line.split("\t") for line in text.splitlines())
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}


def name_country(code: str, language: str) -> str:
    """Give the name in ``language`` (``ja``, otherwise English), or the code itself when it has none."""
    names = _names().get(code)
    if names is None:
        return code
    return names["ja" if language.startswith("ja") else "en"]
