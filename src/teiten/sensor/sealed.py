"""Who seals, and what a sealed batch is: no more than the sending process needs to know."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True)
class SealingIdentity:
    """Who seals: a sensor's number, its key and the key's epoch."""

    sensor: int
    key_no: int
    epoch: int
    private_key: Ed25519PrivateKey


@dataclass(frozen=True)
class SealedBatch:
    """A batch as it is spooled and sent."""

    sensor: int
    key_no: int
    epoch: int
    seq: int
    #: SHA-256 of ``body``.
    digest: bytes
    #: Ed25519 over (sensor, key number, epoch, seq, digest).
    seal: bytes
    window_start_us: int
    window_end_us: int
    #: ``live``, ``simulated`` or ``import:NAME``.
    dataset: str
    body: bytes
