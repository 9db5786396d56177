"""Packets as files: CSV, NDJSON, Parquet, Arrow stream, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

from teiten.search.answers import ExportStart

ExportFormat: TypeAlias = Literal["csv", "ndjson", "parquet", "arrow"]


class Export:
    """Bytes of a file, piece by piece; close it when it is not read to its end."""

    def __init__(self, start: ExportStart, pieces: Iterator[bytes]) -> None:
        #: Name, media type, columns and metadata, known before the first byte.
        self.start = start
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces
