"""Who is this? The one question before every signed request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

State: TypeAlias = Literal["active", "pending_approval", "suspended", "revoked", "quarantined"]


@dataclass(frozen=True)
class SealKey:
    """Which numbers of which epoch a key may have sealed."""

    #: 32 raw bytes, Ed25519.
    public_key: bytes
    epoch: int
    from_seq: int = 1
    #: None: no end.
    to_seq: int | None = None

    def covers(self, epoch: int, seq: int) -> bool:
        """Tell whether the key was good for this number."""
        return epoch == self.epoch and seq >= self.from_seq and (self.to_seq is None or seq <= self.to_seq)


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
    #: Batches of epochs up to this one are kept back.
    held_epoch: int = 0
    #: The next key has taken over; this one may only ask for that again.
    is_superseded: bool = False
    #: None: the key is good for every number up to the present epoch.
    seals: SealKey | None = None


class IdentifyDoor(Protocol):
    async def identify(self, sensor: int, key_no: int) -> SensorIdentity | None:
        """Find whose key this is; a revocation counts from the next call on."""


class SealKeyDoor(Protocol):
    async def find_seal_key(self, sensor: int, key_no: int) -> SealKey | None:
        """Find a key by which a sensor sealed batches, also one that signs no requests any more."""
