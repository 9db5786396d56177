"""Sensors that must wait, a database that is away, and copies that the heartbeat gives away."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from teiten.foundation.clock import FixedClock, from_us
from teiten.protocol import keys, rotation
from teiten.protocol.heartbeat import MAX_RELEASE, ChainHead, Heartbeat, UpdateState
from teiten.protocol.testing import START_US
from teiten.sensor.config import SensorConfig
from teiten.sensor.connection import address_of
from teiten.sensor.errors import BusyError, ConflictError
from teiten.sensor.outbox import Outbox
from teiten.sensor.reporting import SpoolReporter
from teiten.sensor.rotation import rotate_key
from teiten.sensor.sender import Sender
from teiten.sensor.spool import Spool, SpoolLimits
from teiten.sensor.state import StateFolder
from teiten.sensor.uplink import Uplink

sys.path.insert(0, str(Path(__file__).parent))
from fleet_fixtures import FleetHouse, SensorMachine, run_fleet_house

pytestmark = pytest.mark.requirement("R1.2", "R1.3", "R2.1")


@pytest.fixture
def house(tmp_path: Path, postgres_server_url: str) -> Iterator[FleetHouse]:
    with run_fleet_house(
        tmp_path, postgres_server_url, FixedClock(from_us(START_US + 3_600_000_000))
    ) as made:
        yield made


def the_sensor():
    from teiten.fleet.models import Sensor

    return Sensor.objects.get()


def open_sender(machine: SensorMachine) -> Sender:
    """Give the sending process of a machine, to be stepped."""
    identity = machine.state.load_identity()
    outbox = Outbox(machine.state.path / "spool")
    uplink = Uplink(
        address_of(identity.gateway, timeout_seconds=20),
        machine.clock,
        identity=identity.sealing,
        gateway_keys=identity.gateway_keys,
    )
    return Sender(
        outbox,
        uplink,
        reporter=SpoolReporter(machine.state, outbox, machine.clock),
        config=SensorConfig(first_connect_seconds=0.0),
        clock=machine.clock,
        rng=random.Random(1),
    )


def spool(machine: SensorMachine, batches: int) -> None:
    kept = Spool(machine.state.path, epoch=1, limits=SpoolLimits(10**9))
    for _ in range(batches):
        kept.add(lambda seq, _lost: machine.seal(seq))
    kept.close()


@pytest.mark.parametrize("reason", ["pending_approval", "suspended"])
def test_a_sensor_that_must_wait_spools_and_goes_up_when_it_may(house: FleetHouse, reason: str) -> None:
    from teiten.fleet import services

    machine = house.enrol(house.make_sensor(needs_approval=reason == "pending_approval"))
    if reason == "suspended":
        services.suspend_sensor(the_sensor(), reason="look", act=house.act())
    spool(machine, 3)
    sender = open_sender(machine)
    for _ in range(4):
        sender.step()
    assert sender.as_status()["standing"] == reason
    assert f"sensor_{reason}" in sender.last_error
    assert len(Outbox(machine.state.path / "spool").list_waiting()) == 3
    assert house.states() == []

    if reason == "suspended":
        services.resume_sensor(the_sensor(), reason="fine", act=house.act())
    else:
        services.approve_sensor(the_sensor(), act=house.act())
    house.clock.advance(61)
    for _ in range(5):
        sender.step()

    assert [row[1] for row in house.states()] == [1, 2, 3]
    assert (sender.as_status()["standing"], sender.last_error) == ("", "")
    sender._gateway.close()


def test_the_copys_heartbeats_that_lag_behind_give_it_away(house: FleetHouse, tmp_path: Path) -> None:
    """The copy's clock is behind, so that its counters never grow beyond the other's."""
    machine = house.enrol(house.make_sensor())
    copy = machine.copy_to(tmp_path / "copy", boot_id="boot-bbbbbbbb")
    machine.counter = house.clock.now_us() // 1_000_000 + 3_600
    machine.beat()

    with pytest.raises(ConflictError, match="heartbeat_stale"):
        copy.beat()

    assert the_sensor().state == "quarantined"
    event = the_sensor().events.order_by("-id").first()
    assert "never heard of" in event.detail["why"]


def test_a_replayed_heartbeat_accuses_nobody(house: FleetHouse) -> None:
    machine = house.enrol(house.make_sensor())
    machine.beat()
    first = machine.boot_id, machine.counter
    house.clock.advance(60)
    machine.boot_id = "boot-cccccccc"
    machine.beat()
    machine.boot_id, machine.counter = first
    machine.counter -= 1
    house.clock.step(-120)
    with pytest.raises(ConflictError, match="heartbeat_stale"):
        machine.beat()
    assert the_sensor().state == "active"


def test_a_process_that_does_not_record_yet_is_no_copy(house: FleetHouse) -> None:
    machine = house.enrol(house.make_sensor())
    for boot_id in ("boot-aaaaaaaa", "not-recording", "boot-aaaaaaaa", "not-recording", "boot-aaaaaaaa"):
        house.clock.advance(60)
        machine.boot_id = boot_id
        machine.beat()
    assert the_sensor().state == "active"


def test_the_greatest_numbers_have_room(house: FleetHouse) -> None:
    most = (1 << 63) - 1
    time_us = 9_000_000_000_000_000
    beat = Heartbeat(
        most, "b" * 36, "9" + "x" * 63, most, -time_us, most, most, most, most, most, most,
        "\U0001f422" * 200, time_us, (1 << 31) - 1,
        ring_fill_permille=1000,
        audit=ChainHead(most, b"\xff" * 32),
        update=UpdateState(MAX_RELEASE, "rolled_back", "\u732b" * 200),
    )  # fmt: skip
    machine = house.enrol(house.make_sensor())
    with machine.uplink() as uplink:
        uplink.heartbeat(beat)
        identity = machine.state.load_identity().sealing
        request = rotation.make_request(
            keys.generate_key(), sensor=identity.sensor, key_no=2, sealed_to=1 << 62
        )
        assert uplink.rotate(request).key_no == 2
        with pytest.raises(ConflictError):
            uplink.rotate(
                rotation.make_request(
                    keys.generate_key(), sensor=identity.sensor, key_no=rotation.MAX_KEY_NO, sealed_to=0
                )
            )


def test_without_its_database_the_gateway_refuses_everything(house: FleetHouse, tmp_path: Path) -> None:
    machine = house.enrol(house.make_sensor())
    second, token = house.make_sensor("TK-002"), house.issue_recovery(the_first())
    spool(machine, 1)
    house.cut_database()
    asked = {
        "heartbeat": machine.beat,
        "batch": lambda: machine.send(machine.seal(1)),
        "rotate": lambda: rotate_key(machine.state, house.settings, clock=house.clock),
        "commands": lambda: fetch_commands(machine),
        "enrol": lambda: house.enrol(second, "second"),
        "recover": lambda: house.recover(SensorMachine(StateFolder(tmp_path / "r"), house.clock), token),
    }

    def ask(name: str) -> str:
        try:
            asked[name]()
        except BusyError as error:
            return str(error)
        return f"{name} was done"

    with ThreadPoolExecutor(len(asked)) as threads:
        answers = dict(zip(asked, threads.map(ask, asked), strict=True))

    house.mend_database()
    assert [name for name, text in answers.items() if "503 database_unavailable" not in text] == [], answers
    assert Outbox(machine.state.path / "spool").list_waiting()
    assert machine.key_no == 1
    sender = open_sender(machine)
    for _ in range(3):
        sender.step()
    assert [row[1] for row in house.states()] == [1]
    assert rotate_key(machine.state, house.settings, clock=house.clock) == 2
    enrol_again = house.enrol(second, "second")
    assert enrol_again.key_no == 1
    sender._gateway.close()


def fetch_commands(machine: SensorMachine) -> None:
    with machine.uplink() as uplink:
        uplink.fetch_commands()


def the_first():
    from teiten.fleet.models import Sensor

    return Sensor.objects.order_by("pk").first()
