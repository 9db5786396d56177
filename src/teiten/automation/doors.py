"""What jobs need from rooms that this one does not know; ``cli`` hands it over.

Each method does its work in the calling thread and gives facts about it that can be
written as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Protocol

Facts = Mapping[str, Any]


class StoreDoor(Protocol):
    """The observation store, in the process that owns it."""

    def rebuild(self, day: date) -> Facts:
        """Make one day's roll-ups anew from raw rows."""

    def check(self, day: date | None) -> Facts:
        """Compare raw rows with every roll-up, for one day or all."""

    def apply_retention(self) -> Facts:
        """Delete what is past its data set's retention."""


class LandingDoor(Protocol):
    """The landing log and its ledger."""

    def expire(self) -> Facts:
        """Delete segments and partitions past their retention."""
