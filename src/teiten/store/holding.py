"""Legal holds as the store knows them: days of data sets that nothing removes.

Who holds what, and why, is written elsewhere; the store is handed the holds that stand
and keeps the whole of every day that one of them touches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from teiten.store.errors import DayHeld
from teiten.store.partitions import DayOfDataset


@dataclass(frozen=True)
class Hold:
    """One hold that stands."""

    #: None: every data set.
    dataset: str | None
    start_at: datetime
    #: Exclusive; None: for ever.
    end_at: datetime | None
    reason: str


def find_hold(holds: Iterable[Hold], day: DayOfDataset, zone: str) -> Hold | None:
    """Give a hold that touches a day, or None."""
    start_at = datetime.combine(day.day, time(), ZoneInfo(zone))
    end_at = datetime.combine(day.day + timedelta(days=1), time(), ZoneInfo(zone))
    for hold in holds:
        is_same = hold.dataset is None or hold.dataset == day.dataset
        if is_same and hold.start_at < end_at and (hold.end_at is None or hold.end_at > start_at):
            return hold
    return None


def refuse_held(holds: Sequence[Hold], days: Iterable[DayOfDataset], zone: str) -> None:
    """Refuse work that would remove something of a held day.

    Raises:
        DayHeld: naming the first such day and the hold's reason.
    """
    for day in sorted(days):
        hold = find_hold(holds, day, zone)
        if hold is not None:
            raise DayHeld(
                f"{day.day} of {day.dataset} is under a legal hold ({hold.reason}), so nothing of it may be removed;"
                " release the hold or leave the day out; nothing was changed"
            )
