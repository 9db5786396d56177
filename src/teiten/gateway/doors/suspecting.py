"""Two machines seem to hold one key."""

from __future__ import annotations

from typing import Protocol

from teiten.gateway.doors.identifying import SensorIdentity


class SuspectDoor(Protocol):
    async def suspect(self, identity: SensorIdentity, *, why: str, detail: str) -> None:
        """Quarantine the sensor from its next request on, if it is active."""
