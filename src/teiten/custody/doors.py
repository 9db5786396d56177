"""What this room needs of the observation store; ``cli`` hands it over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

Facts = Mapping[str, Any]


class CustodyStore(Protocol):
    """Long changes of stored data, in the process that owns the store.

    Each may be cut off at any moment and begun again: it goes on where it was. Periods
    are half-open, by time of observation; ``dataset`` None means every data set. Facts
    say what was touched this time: ``rows`` (packets) of an erasure, ``batches`` of an exclusion.
    """

    def count_rows(
        self,
        *,
        network: str | None,
        sensors: Sequence[int] | None,
        start_at: datetime | None,
        end_at: datetime,
        dataset: str | None,
    ) -> Facts:
        """Count the packets (``rows``) that an erasure or exclusion would touch, changing nothing."""

    def erase_address(
        self, *, network: str, start_at: datetime | None, end_at: datetime, dataset: str | None
    ) -> Facts:
        """Erase every packet from or to ``network``, and make the figures anew."""

    def erase_sensors(
        self, *, sensors: Sequence[int], start_at: datetime | None, end_at: datetime, dataset: str | None
    ) -> Facts:
        """Erase everything that these sensors observed, and make the figures anew."""

    def exclude_sensor(self, *, dataset: str, sensor: int, start_at: datetime, end_at: datetime) -> Facts:
        """Set a sensor's batches whose windows overlap the period aside, and make the figures anew."""

    def include_sensor(
        self,
        *,
        dataset: str,
        sensor: int,
        start_at: datetime,
        end_at: datetime,
        standing: Sequence[tuple[datetime, datetime]],
    ) -> Facts:
        """Take a sensor's batches back in, but those that a ``standing`` period covers too, and make the figures anew."""
