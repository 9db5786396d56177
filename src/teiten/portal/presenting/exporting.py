"""Exports: the same question as a file, in each format."""

from __future__ import annotations

from teiten.portal.screen import Screen
from teiten.search.exports import ExportFormat
from teiten.search.query import Query

FORMATS: tuple[ExportFormat, ...] = ("csv", "ndjson", "parquet", "arrow")


def list_formats(screen: Screen, query: Query | None = None) -> list[tuple[str, str]]:
    """Give each format with its address, for the screen's question or ``query``."""
    return [(name, screen.url_of("export", query, format=name)) for name in FORMATS]
