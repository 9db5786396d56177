"""What jobs need from rooms that this one does not know; ``cli`` hands it over.

Each method does its work in the calling thread and gives facts about it that can be
written as JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Protocol

from teiten.accounts.heads import Head
from teiten.custody.doors import CustodyStore
from teiten.custody.holding import StandingHold
from teiten.datasets.doors import SurveyStore

Facts = Mapping[str, Any]


class StoreDoor(CustodyStore, SurveyStore, Protocol):
    """The observation store, in the process that owns it."""

    def rebuild(self, day: date) -> Facts:
        """Make one day's roll-ups anew from raw rows."""

    def check(self, day: date | None) -> Facts:
        """Compare raw rows with every roll-up, for one day or all."""

    def apply_retention(self, list_holds: Callable[[], Sequence[StandingHold]]) -> Facts:
        """Delete what is past its data set's retention, but nothing of a held day; holds are asked for again and again."""


class LandingDoor(Protocol):
    """The landing log and its ledger."""

    def expire(self, *, held_from: date | None) -> Facts:
        """Delete segments and partitions past their retention, but nothing that landed from ``held_from`` on."""


class AuditDoor(Protocol):
    """Where signed heads of the audit chain are kept, outside the database."""

    def keep_head(self, head: Head) -> None:
        """Sign how far the chain goes, and keep it."""
