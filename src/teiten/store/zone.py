"""The zone of an installation's days: chosen once, recorded in the store, checked at each start."""

from __future__ import annotations

import re
import zoneinfo

import pyarrow as pa

from teiten.store.connections import Connections
from teiten.store.errors import StoreMismatch

_NAME = re.compile(r"[A-Za-z0-9_+\-]+(/[A-Za-z0-9_+\-]+)*")


def check_name(zone: str) -> None:
    """Refuse what names no zone.

    Raises:
        StoreMismatch: naming the setting.
    """
    if not _NAME.fullmatch(zone):
        raise StoreMismatch(f"store.zone {zone!r} is no name of a time zone; use one such as Asia/Tokyo")
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, OSError, ValueError) as error:
        raise StoreMismatch(
            f"store.zone {zone!r} is an unknown time zone; use one such as Asia/Tokyo"
        ) from error


def find_recorded(connections: Connections) -> str | None:
    """Give the zone with which the stored days were made, or None in a new store."""
    rows = connections.select(
        "SELECT value FROM store_meta FINAL WHERE name = 'zone'", role="maintenance"
    ).to_pylist()
    return str(rows[0]["value"]) if rows else None


def settle(connections: Connections, zone: str) -> None:
    """Record the zone in a new store, and compare it in an old one.

    Raises:
        StoreMismatch: when the stored days are those of another zone.
    """
    recorded = find_recorded(connections)
    if recorded is None:
        row = pa.table({"name": ["zone"], "value": [zone]})
        connections.insert("store_meta", row, token=f"zone-{zone}", role="maintenance")
    elif recorded != zone:
        raise StoreMismatch(
            f"store.zone is {zone}, but the stored days are those of {recorded}, and cannot be cut anew;"
            f" set store.zone to {recorded}, or start with an empty store"
        )
