"""A batch's whole way: sealed by a sensor's own code, over TLS, landed, loaded, and found in the store."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from teiten.foundation.clock import FixedClock, from_us
from teiten.gateway.config import GatewayConfig
from teiten.gateway.doors import Doors, SensorIdentity
from teiten.gateway.service import Gateway
from teiten.gateway.tls import pin_of
from teiten.landing import migrations
from teiten.landing.blocks import BlockLedger
from teiten.landing.config import LandingConfig
from teiten.landing.log import LandingLog
from teiten.loader.config import LoaderConfig
from teiten.loader.reference import ReferenceBook
from teiten.loader.service import Loader
from teiten.loader.testing import StandingPlacement, StandingRegister
from teiten.protocol import batch, keys, seal
from teiten.protocol.arrangement import arrange
from teiten.protocol.testing import START_US, make_columns, make_header
from teiten.sensor.connection import parse_address
from teiten.sensor.errors import ConflictError, StandingError, UplinkError
from teiten.sensor.sealing import SealedBatch, SealingIdentity
from teiten.sensor.uplink import Uplink
from teiten.store.service import Store
from teiten.store.testing import temporary_store
from teiten.traffic.columns import VarBytes

SENSOR = 7


class Fleet(StandingRegister):
    """One sensor, as doors and register see it."""

    def __init__(self) -> None:
        self.key = keys.generate_key()
        self.state = "active"

    async def identify(self, sensor: int, key_no: int) -> SensorIdentity | None:
        if (sensor, key_no) != (SENSOR, 1):
            return None
        return SensorIdentity(SENSOR, 1, keys.public_bytes(self.key), 1, self.state)  # type: ignore[arg-type]

    def find_placement(self, sensor: int, key_no: int) -> StandingPlacement | None:
        if sensor != SENSOR:
            return None
        return StandingPlacement(
            SENSOR, "kanto", "simulated", may_import=False, keys={1: keys.public_bytes(self.key)}
        )


@dataclass
class House:
    gateway: Gateway
    landing: LandingLog
    loader: Loader
    fleet: Fleet
    store: Store
    uplink: Uplink

    async def send(self, sealed: SealedBatch) -> object:
        return await asyncio.to_thread(self.uplink.send, sealed)

    def seal(self, seq: int, *, rows: int = 24, **changes: object) -> SealedBatch:
        header = dataclasses.replace(make_header(rows=rows, seq=seq, sensor=SENSOR), **changes)  # type: ignore[arg-type]
        body = batch.encode(header, make_columns(rows, seed=seq, start_us=header.window_start_us))
        digest = seal.digest_of(body)
        sealed = seal.seal(self.fleet.key, sensor=SENSOR, key_no=1, epoch=1, seq=seq, digest=digest)
        return SealedBatch(
            sensor=SENSOR,
            key_no=1,
            epoch=1,
            seq=seq,
            window_start_us=header.window_start_us,
            window_end_us=header.window_end_us,
            dataset=header.dataset,
            digest=digest,
            seal=sealed,
            body=body,
        )

    def count(self, table: str, what: str = "count()") -> int:
        return self.store.select(f"SELECT {what} AS n FROM {table}", role="maintenance")["n"][0].as_py()


@asynccontextmanager
async def run_house(tmp_path: Path, database_url: str, store: Store) -> AsyncIterator[House]:
    clock = FixedClock(from_us(START_US + 3_600_000_000))
    migrations.migrate(database_url)
    fleet, signing = Fleet(), keys.generate_key()
    landing_config = LandingConfig(folder=tmp_path / "landing", min_free_bytes=0)
    landing = LandingLog(landing_config, database_url, clock, signing_key=signing)
    config = GatewayConfig(port=0, metrics_port=0, authority="gateway.example")
    gateway = Gateway(
        config,
        doors=Doors(fleet, None, None),  # type: ignore[arg-type]  # nobody enrols or beats here
        landing=landing,
        signing_key=signing,
        key_dir=tmp_path / "keys",
        clock=clock,
    )
    ledger = BlockLedger(landing_config, database_url, clock)
    loader = Loader(
        LoaderConfig(),
        ledger=ledger,
        store=store,
        register=fleet,
        reference=ReferenceBook(tmp_path / "reference"),
        clock=clock,
    )
    await landing.start()
    await gateway.start()
    address = parse_address(
        f"https://127.0.0.1:{gateway.port}",
        authority="gateway.example",
        pins=(pin_of(gateway.certificate()[0]),),
        ca_file=None,
        timeout_seconds=10,
    )
    known = {keys.gateway_key_id(gateway.public_key): gateway.public_key}
    identity = SealingIdentity(SENSOR, 1, 1, fleet.key)
    uplink = Uplink(address, clock, identity=identity, gateway_keys=known)
    try:
        yield House(gateway, landing, loader, fleet, store, uplink)
    finally:
        uplink.close()
        await gateway.stop()
        await landing.stop()
        loader.close()


@pytest.mark.requirement("R1.2", "R2.1")
def test_it_works(tmp_path: Path, database_url: str) -> None:
    async def play(store: Store) -> None:
        async with run_house(tmp_path, database_url, store) as house:
            first = house.seal(1, rows=24)
            receipt = await house.send(first)
            assert await house.send(first) == receipt
            await house.send(house.seal(2, rows=0))
            loaded = await asyncio.to_thread(house.loader.step)

            assert loaded is not None
            assert (loaded.rows, loaded.batches, loaded.quarantined) == (24, 2, 0)
            assert house.count("packets") == 24
            assert house.count("coverage") == 2
            assert house.count("ports_1h", "sum(packets)") == 24
            assert house.count("coverage_1h", "sum(address_seconds)") == 600

    with temporary_store() as store:
        asyncio.run(play(store))


@pytest.mark.requirement("R2.1")
def test_every_column_arrives_as_it_was_sent(tmp_path: Path, database_url: str) -> None:
    async def play(store: Store) -> None:
        async with run_house(tmp_path, database_url, store) as house:
            await house.send(house.seal(1, rows=200))
            await asyncio.to_thread(house.loader.step)
            sent = arrange(make_columns(200, seed=1, start_us=make_header(seq=1).window_start_us))
            names = ", ".join(f"hex({name}) AS {name}" if is_text(name) else name for name in sent)
            rows = store.select(f"SELECT {names} FROM packets ORDER BY row", role="maintenance").to_pydict()

            for name, values in sent.items():
                got = rows[name]
                if is_text(name):
                    assert got == list_texts(values)
                elif name == "observed_at":
                    assert [round(at.timestamp() * 1e6) for at in got] == values.tolist()
                elif name.endswith("_addr"):
                    assert got == [bytes(row) for row in values]
                else:
                    assert got == values.tolist(), name

    with temporary_store() as store:
        asyncio.run(play(store))


def is_text(name: str) -> bool:
    return name in ("tcp_options", "payload")


def list_texts(values: VarBytes) -> list[str]:
    ends = values.offsets.tolist()
    return [values.data[a:b].tobytes().hex().upper() for a, b in pairwise(ends)]


@pytest.mark.requirement("R2.1")
def test_what_does_not_verify_is_quarantined_and_the_rest_is_loaded(
    tmp_path: Path, database_url: str
) -> None:
    async def play(store: Store) -> None:
        async with run_house(tmp_path, database_url, store) as house:
            await house.send(house.seal(1))
            await house.send(house.seal(2, dataset="live"))
            await house.send(house.seal(3, dataset="import:other"))
            await house.send(
                dataclasses.replace(house.seal(1), seq=4, seal=house_seal(house, 4, house.seal(1)))
            )
            loaded = await asyncio.to_thread(house.loader.step)

            assert loaded is not None
            assert (loaded.batches, loaded.quarantined) == (1, 3)
            codes = {one.code for one in house.loader._ledger.quarantined()}
            assert codes == {"dataset.other", "dataset.import", "claims.seq"}
            assert house.count("packets") == 24

    with temporary_store() as store:
        asyncio.run(play(store))


def house_seal(house: House, seq: int, sealed: SealedBatch) -> bytes:
    """Seal another batch's bytes under a number that its header does not have."""
    return seal.seal(house.fleet.key, sensor=SENSOR, key_no=1, epoch=1, seq=seq, digest=sealed.digest)


@pytest.mark.requirement("R1.2", "R2.1")
def test_the_gateway_refuses_what_is_not_authentic(tmp_path: Path, database_url: str) -> None:
    async def play(store: Store) -> None:
        async with run_house(tmp_path, database_url, store) as house:
            await house.send(house.seal(1))
            with pytest.raises(ConflictError):
                await house.send(house.seal(1, rows=3))
            with pytest.raises(UplinkError, match=r"seal\.invalid"):
                await house.send(dataclasses.replace(house.seal(2), seal=bytes(64)))
            house.fleet.state = "suspended"
            with pytest.raises(StandingError, match="suspended"):
                await house.send(house.seal(2))
            loaded = await asyncio.to_thread(house.loader.step)

            assert loaded is not None
            assert loaded.batches == 1

    with temporary_store() as store:
        asyncio.run(play(store))
