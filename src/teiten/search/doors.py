"""What search needs from the store, as narrow as it uses it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import pyarrow as pa


class StoreSettings(Protocol):
    """What search reads of the store's settings."""

    @property
    def zone(self) -> str:
        """The zone of the days and hours of the roll-ups."""


class ObservationStore(Protocol):
    """Reads of the store; :class:`teiten.store.service.Store` is one."""

    @property
    def config(self) -> StoreSettings:
        """The settings that the store was opened with."""

    def select(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        role: Literal["screen", "export"] = "screen",
    ) -> pa.Table:
        """Run a SELECT with bound ``{name:Type}`` parameters, on a client of this thread."""


class SystemNames(Protocol):
    """Knows who holds an AS number; wired to the country/AS file in use."""

    def list_names(self, numbers: Sequence[int]) -> Mapping[int, str]:
        """Give number to name, for those that are known."""
