"""Who is this? The one question before every signed request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

State: TypeAlias = Literal["active", "suspended", "revoked", "quarantined"]


@dataclass(frozen=True)
class SensorIdentity:
    """Whom a key belongs to, now."""

    sensor: int
    key_no: int
    #: 32 raw bytes, Ed25519.
    public_key: bytes
    #: The sensor's present epoch.
    epoch: int
    state: State


class IdentifyDoor(Protocol):
    async def identify(self, sensor: int, key_no: int) -> SensorIdentity | None:
        """Find whose key this is; a revocation counts from the next call on."""
