"""A port that a firewall keeps from one sensor, from the probe on the wire to the page that divides by who saw it."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import loader_house as house

from teiten.fleet.canary import packets
from teiten.fleet.config import FleetConfig
from teiten.foundation.clock import FixedClock, from_us
from teiten.landing import migrations
from teiten.landing.blocks import BlockLedger
from teiten.loader.config import LoaderConfig
from teiten.loader.reference import ReferenceBook
from teiten.loader.service import Loader
from teiten.portal.testing import Cast, client_of, make_cast, migrated_database
from teiten.protocol import batch, canary
from teiten.protocol.canary import Probe
from teiten.protocol.header import Watched
from teiten.protocol.testing import START_US, make_header
from teiten.store.service import Store
from teiten.store.testing import temporary_store
from teiten.traffic.columns import WIRE_COLUMNS
from teiten.traffic.parse import parse_packets

pytestmark = pytest.mark.requirement("R1.3", "R2.1", "R2.3")

SLOT_US, PROBER = 900_000_000, "203.0.113.9"
CONFIG = FleetConfig(canary_tcp_ports=(445,), canary_udp_ports=(53,))


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(from_us(START_US // SLOT_US * SLOT_US))


@pytest.fixture
def database(postgres_server_url: str) -> Iterator[str]:
    with migrated_database(postgres_server_url) as url:
        migrations.migrate(url)
        yield url


@pytest.fixture
def store(clock: FixedClock) -> Iterator[Store]:
    with temporary_store(clock) as opened:
        yield opened


class Place:
    """A fleet in the control database, a landing log, a loader and a store; sensors are played."""

    def __init__(self, folder: Path, url: str, clock: FixedClock, store: Store, cast: Cast) -> None:
        from teiten.fleet.canary import services
        from teiten.fleet.canary.door import CanaryDesk
        from teiten.fleet.services import Act

        self.folder, self.url, self.clock = folder, url, clock
        self.sensors = [self._create(cast, f"TK-00{number}") for number in (1, 2)]
        self.held = services.register_prober(
            "lab", addresses=[PROBER], slot_seconds=900, act=Act(clock.now())
        )
        register = house.Fleet()
        register.dataset = "live"
        self.loader = Loader(
            LoaderConfig(),
            ledger=BlockLedger(house.landing_config(folder), url, clock),
            store=store,
            register=register,
            reference=ReferenceBook(folder / "reference"),
            clock=clock,
            canaries=CanaryDesk(clock),
        )

    def _create(self, cast: Cast, name: str) -> Any:
        from teiten.fleet import services
        from teiten.fleet.models import SensorHealth

        region = services.find_or_create_region(code="kanto", name_ja="関東", name_en="Kanto")
        sensor = services.create_sensor(
            name=name,
            region=region,
            organisation=cast.alpha,
            dataset="live",
            act=services.Act(self.clock.now()),
            config=CONFIG,
        ).sensor
        sensor.state, sensor.enrolled_at = "active", self.clock.now()
        sensor.save()
        report = {"interfaces": [{"name": "e", "state": "up", "addresses": [f"192.0.2.{name[-1]}"]}]}
        now = self.clock.now()
        SensorHealth.objects.create(
            sensor=sensor,
            heartbeat_at=now,
            counter=1,
            boot_id="a",
            booted_at=now,
            software="1",
            report=report,
        )
        return sensor

    def play(self, seq: int, *, blocked: int = 0) -> None:
        """Play a slot; port 445 does not reach the first sensor when it is ``blocked``."""
        from teiten.fleet.canary import files, services
        from teiten.fleet.canary.judging import judge_canaries
        from teiten.fleet.models import SensorHealth

        slot = self.clock.now_us() // SLOT_US
        plan = services.make_plan(services.get_prober("lab"), now=self.clock.now(), config=CONFIG)
        due = tuple(
            canary.list_probes(self.held.key, plan.targets, slot=slot, tcp_ports=(445,), udp_ports=(53,))
        )
        log = files.write_log(self.folder, files.SentLog("lab", slot, due), key=self.held.key)
        arrived = [one for one in due if (one.target.sensor, one.port) != (blocked, 445)]
        batches = [self._record(sensor, seq, slot, arrived) for sensor in self.sensors]
        self.clock.advance(1_800)
        house.land(self.folder, self.url, self.clock, batches)
        assert self.loader.step() is not None
        services.bring_log(log, now=self.clock.now())
        SensorHealth.objects.update(heartbeat_at=self.clock.now(), spool_batches=0)
        self.clock.advance(60)
        judge_canaries(now=self.clock.now(), config=CONFIG)

    def _record(self, sensor: Any, seq: int, slot: int, arrived: list[Probe]) -> Any:
        """Give the batch of a sensor for a slot: its canaries, and one strange packet to port 445."""
        stranger = packets.write_ipv4(
            Probe(canary.Target(sensor.pk, f"192.0.2.{sensor.name[-1]}"), 6, 445),
            canary.Marks(40_000, 7, 1024, 9, b""),
            source="198.51.100.7",
        )
        sent = [stranger, *(self._write(one, slot) for one in arrived if one.target.sensor == sensor.pk)]
        raw = np.zeros((len(sent), 176), np.uint8)
        for row, packet in enumerate(sent):
            raw[row, : len(packet)] = np.frombuffer(packet, np.uint8)
        lengths = np.array([len(packet) for packet in sent], np.int64)
        start_us = slot * SLOT_US
        columns = parse_packets(
            raw,
            lengths,
            wire_length=lengths,
            observed_at_us=np.full(len(sent), start_us + 1_000_000, np.int64),
            vlan=np.zeros(len(sent), np.uint16),
            payload_bytes=64,
            stacked_vlan=np.zeros(len(sent), np.bool_),
        )
        header = dataclasses.replace(
            make_header(rows=len(sent), seq=seq, sensor=sensor.pk),
            dataset="live",
            window_start_us=start_us,
            window_end_us=start_us + SLOT_US,
            watched=(Watched(f"192.0.2.{sensor.name[-1]}/32", "silent"),),
        )
        body = batch.encode(header, {column.name: columns[column.name] for column in WIRE_COLUMNS})
        return house.seal_arrival(body, sensor=sensor.pk, seq=seq)

    def _write(self, probe: Probe, slot: int) -> bytes:
        destination = canary.pack_address(probe.target.address)
        marks = canary.mark_canary(
            self.held.key, slot=slot, destination=destination, protocol=probe.protocol, port=probe.port
        )
        return packets.write_ipv4(probe, marks, source=PROBER)


@pytest.fixture
def place(tmp_path: Path, database: str, clock: FixedClock, store: Store) -> Iterator[Place]:
    made = Place(tmp_path, database, clock, store, make_cast(clock.now()))
    yield made
    made.loader.close()


def test_who_could_not_see_a_port_is_not_counted(
    place: Place, store: Store, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from teiten.accounts.models import User
    from teiten.fleet.facts import FleetFacts
    from teiten.portal import middleware, services
    from teiten.search import language
    from teiten.search.query import Query
    from teiten.search.service import Search
    from teiten.search.visibility import for_role

    blocked = place.sensors[0].pk
    starts = []
    for seq in range(1, 8):
        starts.append(clock.now())
        place.play(seq, blocked=blocked)
        clock.advance(12 * 3_600 - 1_860)
    assert house.count(store, "packets") == 14, "canaries are in no figure"

    search = Search(store, clock, fleet=FleetFacts(clock))
    services.set_search(search)
    analyst = for_role("analyst")
    smb = language.parse("dst_port = 445/tcp and ip_version = 4")
    last_slot = Query(
        "live", starts[-1], from_us(int(starts[-1].timestamp()) * 1_000_000 + SLOT_US), filters=smb
    )
    totals = search.totals(analyst, dataclasses.replace(last_slot, metric="rate"))
    assert totals.basis.covered_address_days == pytest.approx(900 / 86_400)
    assert [(one.ports, one.sensors) for one in totals.basis.not_counted] == [(("445/tcp",), 1)]
    first_us = int(starts[0].timestamp()) * 1_000_000
    whole = search.basis(analyst, Query("live", from_us(first_us), from_us(first_us + SLOT_US), filters=smb))
    assert whole.covered_address_days == pytest.approx(2 * 900 / 86_400), "before the first that was lost"
    udp = dataclasses.replace(last_slot, filters=language.parse("dst_port = 53/udp"))
    assert search.basis(analyst, udp).not_counted == ()

    monkeypatch.setattr(middleware, "clock", clock)
    page = client_of(User.objects.get(user_id="ann")).get(
        "/explore/",
        {"dataset": "live", "period": "24h", "q": "dst_port = 445/tcp"},
    )
    assert page.status_code == 200
    (said,) = re.findall(r'<span class="uncounted"[^>]*>(.*?)</span>', page.content.decode())
    assert "1" in said
    assert "445/tcp" in said
    place.play(8)
    clock.advance(60)
    after = Query("live", clock.now().replace(minute=0), clock.now(), filters=smb)
    assert search.basis(analyst, after).sensors_seen == 2, "one that arrives opens it again"
    search.close()
