"""What the fleet has to do with the landing ledger, which may not be there yet.

``landing`` keeps for ever which sequence numbers it received. A hole counts while
the batch after it is less than a day old: later it is history, told by the
coverage, and says nothing about how the sensor is now.
"""

from __future__ import annotations

from datetime import timedelta

from django.db import connection

from teiten.landing import ledger

#: Age of the batch after a hole up to which the hole counts.
RECENT = timedelta(days=1)

_HAS_LANDING = "SELECT to_regclass('landing.received') IS NOT NULL"


def has_landing() -> bool:
    """Tell whether a gateway has ever prepared its ledger in this database."""
    with connection.cursor() as cursor:
        cursor.execute(_HAS_LANDING)
        return bool(cursor.fetchone()[0])


def release_held(sensor: int) -> int:
    """Let batches that were kept back on suspicion go to the loader; gives how many."""
    if not has_landing():
        return 0
    return ledger.release_held(connection.connection, sensor=sensor)


def discard_held(sensor: int) -> int:
    """Decide that batches that were kept back are never loaded; gives how many."""
    if not has_landing():
        return 0
    return ledger.discard_held(connection.connection, sensor=sensor)
