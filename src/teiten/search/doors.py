"""What search needs from the store, as narrow as it uses it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa


@dataclass(frozen=True)
class QueryLimits:
    """Where the store ends one statement."""

    max_rows_read: int
    max_seconds: float
    max_memory_bytes: int


class ObservationStore(Protocol):
    """Reads of the store; implemented by :class:`teiten.store.service.Store`."""

    def select(
        self, statement: str, parameters: Mapping[str, Any], *, settings: Mapping[str, Any] | None = None
    ) -> pa.Table:
        """Run a SELECT with bound ``{name:Type}`` parameters on this thread's client."""

    def stream(
        self, statement: str, parameters: Mapping[str, Any], *, settings: Mapping[str, Any] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The same, batch by batch in bounded memory."""
