"""Named queries: ``-- name --`` heads one, the next comment line says what it is for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from teiten.store.errors import BadQuery

_HEADING = re.compile(r"^-- ([a-z0-9_]+) --\n-- (.+)\n", re.MULTILINE)
_PARAMETER = re.compile(r"\{(\w+):([^}]+)\}")


@dataclass(frozen=True)
class NamedQuery:
    """One query of a ``.sql`` file."""

    name: str
    purpose: str
    sql: str

    @property
    def parameters(self) -> dict[str, str]:
        """Names of the bound values and their ClickHouse types."""
        return dict(_PARAMETER.findall(self.sql))


def read_queries() -> dict[str, NamedQuery]:
    """Read every ``.sql`` file beside this module."""
    found: dict[str, NamedQuery] = {}
    for entry in resources.files(__name__).iterdir():
        if entry.name.endswith(".sql"):
            parts = _HEADING.split(entry.read_text(encoding="utf-8"))[1:]
            for name, purpose, sql in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
                found[name] = NamedQuery(name, purpose, sql.strip().rstrip(";"))
    return found


def get_query(known: Mapping[str, NamedQuery], name: str) -> NamedQuery:
    """Give the query called ``name``.

    Raises:
        BadQuery: when there is none.
    """
    if name not in known:
        raise BadQuery(f"the store has no query named {name!r}; known: {', '.join(sorted(known))}")
    return known[name]
