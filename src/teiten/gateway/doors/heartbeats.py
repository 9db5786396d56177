"""I am alive."""

from __future__ import annotations

from typing import Protocol

from teiten.gateway.doors.identifying import SensorIdentity
from teiten.protocol.heartbeat import Heartbeat, HeartbeatAnswer


class HeartbeatDoor(Protocol):
    async def heartbeat(self, identity: SensorIdentity, beat: Heartbeat, *, peer: str) -> HeartbeatAnswer:
        """Record a heartbeat; an old counter is a replay and is refused.

        Raises:
            Refusal: when the counter is not above the last one.
        """
