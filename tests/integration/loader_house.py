"""A landing, a ledger and a store with a loader between them, for tests and the processes they kill."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from teiten.foundation.clock import Clock
from teiten.landing.blocks import BlockLedger
from teiten.landing.config import LandingConfig
from teiten.landing.log import LandingLog
from teiten.landing.segments import Arrival
from teiten.loader.config import LoaderConfig
from teiten.loader.reference import ReferenceBook
from teiten.loader.service import Loader
from teiten.loader.testing import StandingPeriod, StandingPlacement, StandingRegister
from teiten.protocol import batch, keys, seal
from teiten.protocol.testing import make_columns, make_header
from teiten.store.schema import ROLLUPS
from teiten.store.service import Store

KEY_SEED = bytes(range(32))


def signing_key():
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(KEY_SEED)


class Fleet(StandingRegister):
    """Sensors of ``simulated`` with one key; a test may take some away, or give them addresses."""

    def __init__(self) -> None:
        self.public = keys.public_bytes(signing_key())
        self.unknown: set[int] = set()
        self.periods: tuple[StandingPeriod, ...] = ()
        self.dataset = "simulated"
        #: In which revision anything changed last, of any sensor.
        self.revision = 0

    def find_placement(self, sensor: int, key_no: int) -> StandingPlacement | None:
        if sensor in self.unknown:
            return None
        return StandingPlacement(
            sensor,
            f"region-{sensor % 3}",
            self.dataset,
            may_import=False,
            keys={1: self.public},
            public_periods=self.periods,
            revision=self.revision,
        )

    def current_revision(self) -> int:
        return self.revision

    def change(self, *periods: StandingPeriod) -> None:
        """Give all sensors other addresses."""
        self.periods, self.revision = periods, self.revision + 1


def landing_config(folder: Path) -> LandingConfig:
    return LandingConfig(folder=folder / "landing", min_free_bytes=0)


def make_arrival(seq: int, *, sensor: int = 7, rows: int = 24, **changes: object) -> Arrival:
    header = dataclasses.replace(make_header(rows=rows, seq=seq, sensor=sensor), **changes)  # type: ignore[arg-type]
    body = batch.encode(header, make_columns(rows, seed=seq, start_us=header.window_start_us))
    return seal_arrival(body, sensor=sensor, seq=seq)


def seal_arrival(body: bytes, *, sensor: int, seq: int) -> Arrival:
    digest = seal.digest_of(body)
    sealed = seal.seal(signing_key(), sensor=sensor, key_no=1, epoch=1, seq=seq, digest=digest)
    return Arrival(sensor=sensor, key_no=1, epoch=1, seq=seq, digest=digest, seal=sealed, body=body)


def land(folder: Path, url: str, clock: Clock, arrivals: Sequence[Arrival]) -> None:
    async def run() -> None:
        log = LandingLog(landing_config(folder), url, clock, signing_key=signing_key())
        await log.start()
        await asyncio.gather(*(log.append(one) for one in arrivals))
        await log.stop()

    asyncio.run(run())


def make_loader(
    folder: Path,
    url: str,
    clock: Clock,
    store: Store,
    fleet: Fleet,
    at: Callable[[str], None] = lambda _: None,
    **settings: object,
) -> Loader:
    return Loader(
        LoaderConfig(**settings),  # type: ignore[arg-type]
        ledger=BlockLedger(landing_config(folder), url, clock),
        store=store,
        register=fleet,
        reference=ReferenceBook(folder / "reference"),
        clock=clock,
        at=at,
    )


def count(store: Store, table: str, what: str = "count()") -> int:
    return int(store.select(f"SELECT {what} AS n FROM {table}", role="maintenance")["n"][0].as_py())


def count_all(store: Store) -> dict[str, int]:
    """Count raw rows, batches, and the packets of every roll-up."""
    found = {table: count(store, table, "sum(packets)") for table in ROLLUPS}
    return found | {
        "packets": count(store, "packets"),
        "distinct": count(store, "packets", "uniqExact(sensor, epoch, batch_seq, row)"),
        "coverage": count(store, "coverage FINAL"),
        "coverage_1h": count(store, "coverage_1h", "sum(batches)"),
    }


def expect(packets: int, batches: int) -> dict[str, int]:
    return dict.fromkeys((*ROLLUPS, "packets", "distinct"), packets) | {
        "coverage": batches,
        "coverage_1h": batches,
    }
