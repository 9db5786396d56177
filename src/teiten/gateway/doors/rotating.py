"""I have a new key."""

from __future__ import annotations

from typing import Protocol

from teiten.gateway.doors.identifying import SensorIdentity
from teiten.protocol.rotation import RotateAnswer, RotateRequest


class RotateDoor(Protocol):
    async def rotate(self, identity: SensorIdentity, request: RotateRequest, *, peer: str) -> RotateAnswer:
        """Replace the key that signed the request.

        Raises:
            Refusal: with the reason; nothing was changed.
        """
