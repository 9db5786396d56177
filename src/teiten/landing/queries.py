"""The named queries of ``sql/queries.sql``."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources

_HEAD = re.compile(r"^-- ([a-z_]+) --$", re.MULTILINE)


@lru_cache(maxsize=1)
def _load() -> dict[str, bytes]:
    text = resources.files("teiten.landing").joinpath("sql", "queries.sql").read_text(encoding="utf-8")
    parts = _HEAD.split(text)
    return {name: body.strip().encode() for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def get(name: str) -> bytes:
    """Give the SQL headed ``-- name --``."""
    return _load()[name]


def list_names() -> list[str]:
    return list(_load())
