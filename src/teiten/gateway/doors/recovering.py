"""I lost my key, and an administrator gave me a token."""

from __future__ import annotations

from typing import Protocol

from teiten.protocol.enrolment import EnrolAnswer
from teiten.protocol.recovery import RecoverRequest


class RecoverDoor(Protocol):
    async def recover(self, request: RecoverRequest, *, peer: str) -> EnrolAnswer:
        """Give a sensor a new key in a new epoch.

        Raises:
            EnrolRefused: with the reason; nothing was changed.
        """
