"""Let me in."""

from __future__ import annotations

from typing import Protocol

from teiten.protocol.enrolment import EnrolAnswer, EnrolRequest


class EnrolDoor(Protocol):
    async def enrol(self, request: EnrolRequest, *, peer: str) -> EnrolAnswer:
        """Bind a key to a sensor.

        Raises:
            EnrolRefused: with the reason; nothing was changed.
        """
