"""Half-open periods ``[from, to)`` of a history, and what is wrong with one."""

from __future__ import annotations

from datetime import datetime

from django.db import connection

from teiten.fleet.errors import FleetInputError

#: Key of the lock that every writer of places and addresses takes first (migration 0003).
_LOCK = 7_265_201


def lock_histories() -> None:
    """Let nobody else change places or addresses until the transaction ends.

    Taken before any sensor's row is locked: the database's own triggers take it too,
    and two writers must meet the two locks in one order.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def check_order(start: datetime, end: datetime | None) -> None:
    """Refuse a period that ends before, or when, it starts.

    Raises:
        FleetInputError: naming both ends.
    """
    if end is not None and end <= start:
        raise FleetInputError(
            "to", f"the period ends {tell(end)}, not after it starts ({tell(start)}); exchange the two"
        )


def overlap(one: tuple[datetime, datetime | None], other: tuple[datetime, datetime | None]) -> bool:
    """Tell whether two periods share an instant; None is no end."""
    (one_start, one_end), (other_start, other_end) = one, other
    return (other_end is None or one_start < other_end) and (one_end is None or other_start < one_end)


def tell(at: datetime | None) -> str:
    """Write an instant for a message, to the second, in UTC."""
    return "open" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def tell_period(start: datetime, end: datetime | None) -> str:
    """Write a period for a message."""
    return f"from {tell(start)} on" if end is None else f"{tell(start)} to {tell(end)}"
