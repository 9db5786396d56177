"""Landing for tests: made-up arrivals, and an open log over a ledger."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.foundation.clock import Clock
from teiten.landing import migrations
from teiten.landing.config import LandingConfig
from teiten.landing.log import LandingLog, pass_point
from teiten.landing.segments import Arrival
from teiten.protocol import keys

SIGNING_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC_KEY = keys.public_bytes(SIGNING_KEY)
GATEWAY_KEYS = {keys.gateway_key_id(PUBLIC_KEY): PUBLIC_KEY}


def make_arrival(
    seq: int, *, sensor: int = 7, epoch: int = 1, body: bytes = b"", held: bool = False
) -> Arrival:
    content = body or f"batch {sensor} {epoch} {seq}".encode() * 20
    return Arrival(
        sensor=sensor,
        key_no=1,
        epoch=epoch,
        seq=seq,
        digest=hashlib.sha256(content).digest(),
        seal=bytes(64),
        body=content,
        held=held,
    )


def make_config(folder: Path) -> LandingConfig:
    """Make settings that mind neither disk nor backlog."""
    return LandingConfig(folder=folder, min_free_bytes=0, connect_seconds=2)


def start_ledger(url: str) -> None:
    """Make an empty ledger, in place of what was there."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS landing CASCADE")
    migrations.migrate(url)


@asynccontextmanager
async def open_log(
    config: LandingConfig, url: str, clock: Clock, *, at: Callable[[str], None] = pass_point
) -> AsyncIterator[LandingLog]:
    log = LandingLog(config, url, clock, signing_key=SIGNING_KEY, at=at)
    await log.start()
    try:
        yield log
    finally:
        await log.stop()
