"""The real gateway over the real fleet: TLS, PostgreSQL, landing; sensors are state folders like any other."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from teiten.fleet.config import FleetConfig
from teiten.foundation.clock import Clock, FixedClock
from teiten.gateway.config import GatewayConfig
from teiten.gateway.service import Gateway
from teiten.gateway.tls import pin_of
from teiten.landing import migrations
from teiten.landing.config import LandingConfig
from teiten.landing.log import LandingLog
from teiten.portal.testing import Cast, make_cast, migrated_database
from teiten.protocol import enrolment, keys
from teiten.protocol.heartbeat import Heartbeat, HeartbeatAnswer
from teiten.protocol.testing import START_US, make_columns
from teiten.sensor import enrol
from teiten.sensor.connection import address_of
from teiten.sensor.sealing import BatchDraft, SealedBatch, seal_batch
from teiten.sensor.state import GatewaySettings, StateFolder
from teiten.sensor.uplink import Uplink

if TYPE_CHECKING:
    from teiten.fleet.models import Sensor
    from teiten.fleet.services import IssuedToken

AUTHORITY = "gateway.example"


@dataclass
class SensorMachine:
    """A state folder, and what its two processes would do with it."""

    state: StateFolder
    clock: Clock
    boot_id: str = "boot-aaaaaaaa"
    counter: int = 0

    @property
    def key_no(self) -> int:
        return self.state.load_identity().sealing.key_no

    @contextmanager
    def uplink(self) -> Iterator[Uplink]:
        identity = self.state.load_identity()
        with Uplink(
            address_of(identity.gateway, timeout_seconds=20),
            self.clock,
            identity=identity.sealing,
            gateway_keys=identity.gateway_keys,
        ) as uplink:
            yield uplink

    def beat(self, *, offset_us: int | None = None) -> HeartbeatAnswer:
        self.counter = max(self.counter + 1, self.clock.now_us() // 1_000_000)
        with self.uplink() as uplink:
            uplink.clock_offset_us = offset_us
            return uplink.heartbeat(
                Heartbeat(self.counter, self.boot_id, "0.1.0", 5, None, 0, 0, 0, 0, 0, 10**9, "", None, 1)
            )

    def seal(self, seq: int, *, seed: int = 1) -> SealedBatch:
        draft = BatchDraft(START_US, START_US + 300_000_000, boot_id=self.boot_id, payload_bytes=64)
        columns = make_columns(3, start_us=START_US, seed=seed)
        return seal_batch(self.state.load_identity().sealing, draft, columns=columns, seq=seq)

    def send(self, sealed: SealedBatch) -> None:
        with self.uplink() as uplink:
            uplink.send(sealed)

    def copy_to(self, folder: Path, *, boot_id: str) -> SensorMachine:
        """Make a disk image of this machine and start it."""
        shutil.copytree(self.state.path, folder)
        return SensorMachine(StateFolder(folder), self.clock, boot_id, self.counter)


@dataclass
class FleetHouse:
    """A gateway with a fleet behind it."""

    folder: Path
    clock: FixedClock
    database_url: str
    cast: Cast
    port: int = 0
    settings: GatewaySettings = field(default_factory=GatewaySettings)
    gateway_keys: dict[str, bytes] = field(default_factory=dict)
    config: FleetConfig = field(default_factory=FleetConfig)
    server_url: str = ""
    fleet: Any = None

    def cut_database(self) -> None:
        """Let nobody into the database any more, and nobody wait long for it."""
        from django.db import connection

        self.fleet._pool.timeout = connection.pool.timeout = 0.5
        self._admit("false")
        with psycopg.connect(self.server_url, autocommit=True) as server:
            name = psycopg.conninfo.conninfo_to_dict(self.database_url)["dbname"]
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )

    def mend_database(self) -> None:
        from django.db import connection

        self._admit("true")
        self.fleet._pool.timeout = connection.pool.timeout = 20.0

    def _admit(self, whether: str) -> None:
        name = str(psycopg.conninfo.conninfo_to_dict(self.database_url)["dbname"])
        with psycopg.connect(self.server_url, autocommit=True) as server:
            server.execute(
                sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS {}").format(
                    sql.Identifier(name), sql.SQL(whether)
                )
            )

    def make_sensor(self, name: str = "TK-001", **given: Any) -> IssuedToken:
        from teiten.fleet import services

        region = services.find_or_create_region(code="kanto", name_ja="関東", name_en="Kanto")
        return services.create_sensor(
            name=name,
            region=region,
            organisation=self.cast.alpha,
            dataset="live",
            act=self.act(),
            config=self.config,
            **given,
        )

    def act(self) -> Any:
        from teiten.fleet.services import Act

        return Act(self.clock.now(), self.cast.dana)

    def enrol(self, issued: IssuedToken, folder: str = "sensor", clock: Clock | None = None) -> SensorMachine:
        state = StateFolder(self.folder / folder)
        enrol.enrol_sensor(
            state,
            enrolment.parse_token(issued.text),
            enrol.Reception(self.settings, self.gateway_keys, clock or self.clock),
        )
        return SensorMachine(state, clock or self.clock)

    def recover(self, machine: SensorMachine, token: str) -> None:
        enrol.recover_sensor(
            machine.state,
            enrolment.parse_token(token, prefix="tr1"),
            enrol.Reception(self.settings, self.gateway_keys, machine.clock),
        )

    def issue_recovery(self, sensor: Sensor) -> str:
        from teiten.fleet import recovering

        return recovering.issue_recovery(sensor, reason="cloned", act=self.act(), config=self.config).text

    def states(self) -> list[tuple[int, int, int, str]]:
        """Give epoch, sequence, key number and state of all that landed."""
        with psycopg.connect(self.database_url) as connection:
            rows = connection.execute(
                "SELECT epoch, seq, key_no, state FROM landing.batches ORDER BY epoch, seq"
            )
            return rows.fetchall()


@contextmanager
def run_fleet_house(
    folder: Path, server_url: str, clock: FixedClock, *, doors_url: str = "", **gateway: Any
) -> Iterator[FleetHouse]:
    """Run gateway, landing and fleet doors in a thread; ``doors_url`` lets the doors look elsewhere."""
    with migrated_database(server_url) as url:
        # Django's models can be imported only once Django has been set up.
        from teiten.cli.fleet_doors import GatewayDoors
        from teiten.fleet.commands.door import CommandsDoors
        from teiten.fleet.doors import FleetDoors

        house = FleetHouse(folder, clock, url, make_cast(clock.now()))
        migrations.migrate(url)
        signing = keys.generate_key()
        landing = LandingLog(
            LandingConfig(folder=folder / "landing", min_free_bytes=0), url, clock, signing_key=signing
        )
        fleet = FleetDoors(doors_url or url, house.config, clock)
        served = Gateway(
            GatewayConfig(port=0, metrics_port=0, authority=AUTHORITY, **gateway),
            doors=GatewayDoors(fleet, CommandsDoors(fleet.ask, house.config, clock)).as_doors(),
            landing=landing,
            signing_key=signing,
            key_dir=folder / "keys",
            clock=clock,
        )
        house.server_url, house.fleet = server_url, fleet
        parts = (fleet, landing, served)
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        try:
            for part in parts:
                asyncio.run_coroutine_threadsafe(part.start(), loop).result(30)
            house.port = served.port
            house.settings = GatewaySettings(
                f"https://127.0.0.1:{served.port}", AUTHORITY, (pin_of(served.certificate()[0]),)
            )
            house.gateway_keys = {keys.gateway_key_id(served.public_key): served.public_key}
            yield house
        finally:
            for part in reversed(parts):
                asyncio.run_coroutine_threadsafe(part.stop(), loop).result(30)
            asyncio.run_coroutine_threadsafe(_finish_tasks(), loop).result(30)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
            with psycopg.connect(url) as connection:
                connection.execute("DROP SCHEMA landing CASCADE")


async def _finish_tasks() -> None:
    """Let connections that are being closed end before their loop does."""
    await asyncio.sleep(0.05)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
