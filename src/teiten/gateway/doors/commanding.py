"""What waits for me? Here is what became of it."""

from __future__ import annotations

from typing import Protocol

from teiten.gateway.doors.identifying import SensorIdentity


class CommandsDoor(Protocol):
    async def pending(self, identity: SensorIdentity) -> tuple[bytes, ...]:
        """Give the commands that wait for a sensor, each as ``protocol.commands.write_delivery`` writes it."""

    async def take_result(
        self, identity: SensorIdentity, command_id: str, body: bytes, signature: bytes
    ) -> bool:
        """Keep what a sensor answered; False when the same was kept before.

        Raises:
            Refusal: with the reason, when it will never be taken.
        """
