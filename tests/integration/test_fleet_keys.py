"""Keys of sensors over their whole life: rotated, lost, copied, recovered; with real folders over real TLS."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest

from teiten.foundation.clock import FixedClock, from_us
from teiten.protocol import keys, rotation
from teiten.protocol.testing import START_US, make_columns
from teiten.sensor.config import SensorConfig
from teiten.sensor.errors import (
    ClockSkewError,
    ConflictError,
    RefusedError,
    StandingError,
    UntrustedError,
    UplinkError,
)
from teiten.sensor.rotation import PENDING, KeyKeeper, rotate_key
from teiten.sensor.sealing import BatchDraft, seal_batch
from teiten.sensor.spool import Spool, SpoolLimits
from teiten.sensor.state import StateFolder

sys.path.insert(0, str(Path(__file__).parent))
from fleet_fixtures import FleetHouse, SensorMachine, run_fleet_house

pytestmark = pytest.mark.requirement("R1.2", "R2.1")


@pytest.fixture
def house(tmp_path: Path, postgres_server_url: str) -> Iterator[FleetHouse]:
    with run_fleet_house(
        tmp_path, postgres_server_url, FixedClock(from_us(START_US + 3_600_000_000))
    ) as made:
        yield made


@pytest.fixture
def machine(house: FleetHouse) -> SensorMachine:
    return house.enrol(house.make_sensor())


class PowerCut(Exception):
    pass


def history(sensor) -> list[str]:
    return list(sensor.events.order_by("id").values_list("kind", flat=True))


def the_sensor():
    from teiten.fleet.models import Sensor

    return Sensor.objects.get()


def test_it_works(house: FleetHouse, machine: SensorMachine) -> None:
    before = machine.seal(1)
    old = machine.state.load_identity()

    assert rotate_key(machine.state, house.settings, clock=house.clock) == 2

    machine.send(before)
    machine.send(machine.seal(2))
    machine.beat()
    assert house.states() == [(1, 1, 1, "landed"), (1, 2, 2, "landed")]
    assert sorted(path.name for path in machine.state.path.glob("*.pem")) == ["key-2.pem"]
    assert history(the_sensor())[-1] == "key_rotated"
    with machine.uplink() as uplink:
        uplink._identity = old.sealing
        with pytest.raises(UplinkError, match="key_superseded"):
            uplink.send(before)


def test_a_long_spool_survives_and_reaches_no_further(house: FleetHouse, machine: SensorMachine) -> None:
    from teiten.fleet.rotating import OVERLAP

    spool = Spool(machine.state.path, epoch=1, limits=SpoolLimits(10**9))
    for _ in range(3):
        spool.add(lambda seq, _lost: machine.seal(seq))
    late, beyond = machine.seal(3 + OVERLAP), machine.seal(4 + OVERLAP)
    spool.close()

    rotate_key(machine.state, house.settings, clock=house.clock)

    waiting = [
        machine.state.path / "spool/ready" / name
        for name in sorted((machine.state.path / "spool/ready").iterdir())
    ]
    from teiten.sensor.spool_files import read_sealed

    for path in waiting:
        machine.send(read_sealed(path))
    machine.send(late)
    with pytest.raises(RefusedError, match=r"seal\.range"):
        machine.send(beyond)
    with pytest.raises(RefusedError, match=r"seal\.range"):
        machine.send(machine.seal(2, seed=5))
    assert [row[1:3] for row in house.states()] == [(1, 1), (2, 1), (3, 1), (3 + OVERLAP, 1)]


@pytest.mark.parametrize("point", ["pending", "answered", "flipped"])
def test_a_power_cut_leaves_one_key_that_works(house: FleetHouse, machine: SensorMachine, point: str) -> None:
    def cut(reached: str) -> None:
        if reached == point:
            raise PowerCut

    with pytest.raises(PowerCut):
        rotate_key(machine.state, house.settings, clock=house.clock, at=cut)

    assert machine.key_no == (2 if point == "flipped" else 1)
    KeyKeeper(SensorConfig(), machine.state, house.clock).look()
    assert machine.key_no == 2
    machine.beat()
    assert the_sensor().keys.count() == 2
    assert [path.name for path in machine.state.path.glob("*.pem")] == ["key-2.pem"]
    assert not machine.state.has_key(PENDING)


def test_a_power_cut_within_the_flip_is_harmless(
    house: FleetHouse, machine: SensorMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object, **__: object) -> None:
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(StateFolder, "_replace_identity", cut)
        with pytest.raises(PowerCut):
            rotate_key(machine.state, house.settings, clock=house.clock)

    assert machine.key_no == 1
    assert rotate_key(machine.state, house.settings, clock=house.clock) == 2
    machine.beat()
    assert rotate_key(machine.state, house.settings, clock=house.clock) == 3
    machine.beat()


def test_while_the_answer_is_lost_the_old_key_goes_on_sealing(
    house: FleetHouse, machine: SensorMachine
) -> None:
    from teiten.fleet.rotating import OVERLAP

    def cut(reached: str) -> None:
        if reached == "answered":
            raise PowerCut

    with pytest.raises(PowerCut):
        rotate_key(machine.state, house.settings, clock=house.clock, at=cut)
    long_after = machine.seal(OVERLAP + 500)
    spool = Spool(machine.state.path, epoch=1, limits=SpoolLimits(10**9))
    spool._last_seq = OVERLAP + 500
    spool.close()

    rotate_key(machine.state, house.settings, clock=house.clock)
    machine.send(long_after)


def test_two_successors_of_one_key_are_two_machines(
    house: FleetHouse, machine: SensorMachine, tmp_path: Path
) -> None:
    copy = machine.copy_to(tmp_path / "copy", boot_id="boot-bbbbbbbb")
    rotate_key(machine.state, house.settings, clock=house.clock)

    with pytest.raises(ConflictError, match="key_conflict"):
        rotate_key(copy.state, house.settings, clock=house.clock)

    assert the_sensor().state == "quarantined"
    assert history(the_sensor())[-1] == "clone_suspected"
    machine.send(machine.seal(1))
    assert house.states() == [(1, 1, 2, "held")]


def test_nobody_brings_in_a_key_that_he_does_not_hold(house: FleetHouse, machine: SensorMachine) -> None:
    other = house.enrol(house.make_sensor("TK-002"), "other")
    mine = rotation.make_request(
        keys.generate_key(), sensor=machine.state.load_identity().sealing.sensor, key_no=2, sealed_to=0
    )
    foreign = rotation.make_request(
        keys.generate_key(), sensor=other.state.load_identity().sealing.sensor, key_no=2, sealed_to=0
    )
    tries = {
        r"rotate_request\.proof": replace(mine, public_key=keys.public_bytes(keys.generate_key())),
        r"rotate_request\.sensor": foreign,
        "key_number": rotation.make_request(keys.generate_key(), sensor=mine.sensor, key_no=3, sealed_to=0),
        "key_taken": rotation.make_request(
            other.state.load_identity().sealing.private_key, sensor=mine.sensor, key_no=2, sealed_to=0
        ),
    }
    for code, request in tries.items():
        with machine.uplink() as uplink, pytest.raises(UplinkError, match=code):
            uplink.rotate(request)
    machine.beat()
    other.beat()


@pytest.mark.parametrize("state", ["suspended", "quarantined", "pending_approval", "revoked"])
def test_only_an_active_sensor_rotates(house: FleetHouse, machine: SensorMachine, state: str) -> None:
    from teiten.fleet.models import Sensor

    Sensor.objects.update(state=state)
    with pytest.raises(StandingError):
        rotate_key(machine.state, house.settings, clock=house.clock)
    assert the_sensor().keys.count() == 1
    Sensor.objects.update(state="active")
    assert rotate_key(machine.state, house.settings, clock=house.clock) == 2


def test_an_old_key_is_replaced_and_a_young_one_is_not(house: FleetHouse, machine: SensorMachine) -> None:
    keeper = KeyKeeper(SensorConfig(), machine.state, house.clock)
    keeper.look()
    assert machine.key_no == 1

    house.clock.advance(366 * 86_400)
    assert KeyKeeper(SensorConfig(key_days=0), machine.state, house.clock).is_due() is False
    keeper.look()
    assert (machine.key_no, keeper.error) == (2, "")
    keeper.look()
    assert machine.key_no == 2


def test_a_disk_image_started_twice_is_noticed_and_undone(
    house: FleetHouse, machine: SensorMachine, tmp_path: Path
) -> None:
    from teiten.fleet import holding
    from teiten.fleet.errors import SensorStateError

    machine.send(machine.seal(1))
    spooled = machine.seal(2)
    copy = machine.copy_to(tmp_path / "copy", boot_id="boot-bbbbbbbb")
    for each in (machine, copy, machine):
        house.clock.advance(60)
        standing = each.beat().standing
    assert standing is None
    assert (the_sensor().state, history(the_sensor())[-1]) == ("quarantined", "clone_suspected")
    house.clock.advance(60)
    assert copy.beat().standing == "quarantined"
    copy.send(copy.seal(3, seed=9))

    with pytest.raises(SensorStateError, match="recover it first"):
        holding.release_batches(the_sensor(), reason="hope", act=house.act())
    house.recover(machine, house.issue_recovery(the_sensor()))

    assert the_sensor().state == "active"
    with pytest.raises(UplinkError, match="unknown_key"):
        copy.beat()
    with pytest.raises(UplinkError, match="unknown_key"):
        copy.send(copy.seal(4))
    machine.send(spooled)
    machine.send(machine.seal(1))
    for _ in range(2):
        house.clock.advance(60)
        assert machine.beat().standing is None
    assert house.states() == [(1, 1, 1, "landed"), (1, 2, 1, "held"), (1, 3, 1, "held"), (2, 1, 2, "landed")]
    assert machine.state.load_identity().sealing.epoch == 2

    assert holding.discard_batches(the_sensor(), reason="a copy", act=house.act()).batches == 2
    assert {row[3] for row in house.states() if row[0] == 1 and row[1] > 1} == {"discarded"}
    assert history(the_sensor())[-3:] == ["recovery_issued", "recovered", "held_discarded"]


def test_a_stolen_key_seals_nothing_for_the_epoch_after_it(house: FleetHouse, machine: SensorMachine) -> None:
    """Who has the old key and may sign requests all the same (the gateway's captor) still seals nothing."""
    stolen = machine.state.load_identity().sealing
    house.recover(machine, house.issue_recovery(the_sensor()))
    today = machine.state.load_identity().sealing
    draft = BatchDraft(START_US, START_US + 300_000_000, boot_id=machine.boot_id, payload_bytes=64)
    columns = make_columns(3, start_us=START_US)
    for key_no, epoch in ((1, 2), (2, 1), (7, 2)):
        forged = seal_batch(
            replace(stolen if key_no == 1 else today, key_no=key_no, epoch=epoch),
            draft,
            columns=columns,
            seq=1,
        )
        with pytest.raises(RefusedError, match=r"seal\.(range|key)"):
            machine.send(forged)
    assert house.states() == []


def test_released_batches_go_to_the_loader(house: FleetHouse, machine: SensorMachine) -> None:
    from teiten.fleet import holding, services
    from teiten.fleet.errors import SensorStateError

    services.quarantine_sensor(the_sensor().pk, at=house.clock.now(), why="test")
    machine.send(machine.seal(1))
    late = machine.seal(2)
    house.recover(machine, house.issue_recovery(the_sensor()))
    machine.send(machine.seal(1))
    assert holding.release_batches(the_sensor(), reason="one machine", act=house.act()).batches == 1
    machine.send(late)
    assert {row[3] for row in house.states()} == {"landed"}
    with pytest.raises(SensorStateError, match="nothing"):
        holding.discard_batches(the_sensor(), reason="again", act=house.act())


def test_a_number_that_comes_twice_holds_the_next_request(
    house: FleetHouse, machine: SensorMachine, tmp_path: Path
) -> None:
    copy = machine.copy_to(tmp_path / "copy", boot_id="boot-bbbbbbbb")
    machine.send(machine.seal(1))
    with pytest.raises(ConflictError):
        copy.send(copy.seal(1, seed=7))

    assert (the_sensor().state, the_sensor().held_epoch) == ("quarantined", 1)
    machine.send(machine.seal(2))
    assert [row[3] for row in house.states()] == ["landed", "held"]

    house.recover(machine, house.issue_recovery(the_sensor()))
    with pytest.raises(ConflictError):
        # The copy's batch under this number had come first: no news about the machine of today.
        machine.send(replace(copy.seal(2, seed=8)))
    from teiten.automation.watch import quarantine_clones

    assert quarantine_clones(now=house.clock.now()) == 0
    assert the_sensor().state == "active"


def test_suspending_decides_no_suspicion(house: FleetHouse, machine: SensorMachine) -> None:
    from teiten.fleet import services

    services.quarantine_sensor(the_sensor().pk, at=house.clock.now(), why="test")
    services.suspend_sensor(the_sensor(), reason="look later", act=house.act())
    assert services.resume_sensor(the_sensor(), reason="go on", act=house.act()).state == "quarantined"
    assert services.resume_sensor(the_sensor(), reason="one machine", act=house.act()).state == "active"
    machine.send(machine.seal(1))
    assert [row[3] for row in house.states()] == ["landed"]


def test_recovery_of_a_lost_disk_and_of_a_lost_answer(
    house: FleetHouse, machine: SensorMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = house.issue_recovery(the_sensor())
    fresh = SensorMachine(StateFolder(tmp_path / "fresh"), house.clock)

    def cut(*_: object, **__: object) -> None:
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(StateFolder, "keep_key", cut)
        with pytest.raises(PowerCut):
            house.recover(fresh, token)
    house.recover(fresh, token)

    fresh.beat()
    fresh.send(fresh.seal(1))
    assert house.states() == [(2, 1, 2, "landed")]
    assert history(the_sensor()).count("recovered") == 1
    thief = SensorMachine(StateFolder(tmp_path / "thief"), house.clock)
    with pytest.raises(ConflictError, match="token_used"):
        house.recover(thief, token)
    assert history(the_sensor())[-1] == "token_reused"
    fresh.beat()


def test_a_recovery_begun_anew_after_its_end_is_no_thief(house: FleetHouse, machine: SensorMachine) -> None:
    """The process was killed before it removed the token, and whoever installs runs it again."""
    token = house.issue_recovery(the_sensor())
    house.recover(machine, token)
    house.recover(machine, token)
    rotate_key(machine.state, house.settings, clock=house.clock)
    house.recover(machine, token)

    assert "token_reused" not in history(the_sensor())
    assert history(the_sensor()).count("recovered") == 1
    machine.beat()


def test_tokens_fit_one_purpose_and_one_sensor(
    house: FleetHouse, machine: SensorMachine, tmp_path: Path
) -> None:
    from teiten.fleet import recovering
    from teiten.fleet.errors import FleetInputError, SensorStateError
    from teiten.protocol import enrolment
    from teiten.protocol.errors import TokenError

    waiting = house.make_sensor("TK-002")
    with pytest.raises(SensorStateError, match="token_issued"):
        recovering.issue_recovery(waiting.sensor, reason="x", act=house.act(), config=house.config)
    with pytest.raises(FleetInputError, match="reason"):
        recovering.issue_recovery(the_first(), reason=" ", act=house.act(), config=house.config)
    other = house.enrol(waiting, "other")
    token = house.issue_recovery(the_first())
    with pytest.raises(TokenError, match="teiten-sensor recover"):
        enrolment.parse_token(token)
    with pytest.raises(StandingError, match="token_sensor"):
        house.recover(other, token)
    renamed = enrolment.make_token(enrolment.parse_token(token, prefix="tr1").token_id, b"x" * 32)
    with pytest.raises(StandingError, match="token_purpose"):
        house.enrol(replace(waiting, text=str(renamed)), "third")
    later = house.issue_recovery(the_first())
    with pytest.raises(StandingError, match="token_revoked"):
        house.recover(machine, token)
    house.clock.advance(house.config.token_hours * 3600)
    with pytest.raises(StandingError, match="token_expired"):
        house.recover(machine, later)
    machine.beat()
    other.beat()


def the_first():
    from teiten.fleet.models import Sensor

    return Sensor.objects.order_by("pk").first()


def test_a_revocation_counts_at_once_and_for_one(house: FleetHouse, machine: SensorMachine) -> None:
    from teiten.fleet import recovering, services
    from teiten.fleet.errors import SensorStateError

    other = house.enrol(house.make_sensor("TK-002"), "other")
    with machine.uplink() as uplink:
        uplink.send(machine.seal(1))
        services.revoke_sensor(the_first(), reason="sold", act=house.act())
        with pytest.raises(StandingError, match="sensor_revoked"):
            uplink.send(machine.seal(2))
    with pytest.raises(StandingError, match="sensor_revoked"):
        machine.beat()
    other.send(other.seal(1))
    other.beat()
    with pytest.raises(SensorStateError, match="revoked"):
        recovering.issue_recovery(the_first(), reason="x", act=house.act(), config=house.config)


@pytest.mark.parametrize("year", [1970, 2040])
def test_a_clock_of_another_age_keeps_an_offset(house: FleetHouse, year: int) -> None:
    wrong = FixedClock(from_us({1970: 60_000_000, 2040: 2_208_988_800_000_000}[year]))
    house.gateway_keys, known = {}, house.gateway_keys
    machine = house.enrol(house.make_sensor(), clock=wrong)
    house.gateway_keys = known

    with pytest.raises(ClockSkewError) as skew:
        machine.beat()
    assert abs(wrong.now_us() + skew.value.offset_us - house.clock.now_us()) < 1_000_000
    machine.beat(offset_us=skew.value.offset_us)
    assert rotate_key(machine.state, house.settings, clock=wrong) == 2
    with machine.uplink() as uplink:
        uplink.clock_offset_us = skew.value.offset_us
        uplink.send(machine.seal(1))
    house.recover(machine, house.issue_recovery(the_sensor()))
    assert machine.state.load_identity().sealing.epoch == 2
    assert abs(machine.state.keyed_at_us() - house.clock.now_us()) < 2_000_000


def test_a_recorded_answer_shifts_no_clock(
    house: FleetHouse, machine: SensorMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = FixedClock(from_us(house.clock.now_us() - 10**12))
    asleep = SensorMachine(machine.state, late)
    from teiten.sensor.connection import Connection

    recorded = []
    real = Connection.exchange

    def record(*given, **fields):
        recorded.append(real(*given, **fields))
        return recorded[-1]

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "exchange", record)
        with pytest.raises(ClockSkewError):
            asleep.beat()
    house.clock.advance(10**6)
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "exchange", lambda *_, **__: recorded[0])
        with pytest.raises(UntrustedError):
            asleep.beat()


class FakeInstallation:
    """What the verbs need of an installation, over the house's database."""

    house: FleetHouse

    def __init__(self, _source: object) -> None:
        self.clock = self.house.clock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def start_django(self) -> None:
        pass

    def section(self, _name: str) -> object:
        return self.house.config


def test_every_state_has_its_verb(
    house: FleetHouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from teiten.cli import parser, standing_commands
    from teiten.fleet import services
    from teiten.sensor.main import main

    monkeypatch.setattr(FakeInstallation, "house", house, raising=False)
    monkeypatch.setattr(standing_commands, "Installation", FakeInstallation)

    def say(*words: str) -> str:
        options = parser.build().parse_args(["sensor", *words])
        assert getattr(standing_commands, words[0])(None, options) == 0
        return capsys.readouterr().out

    machine = house.enrol(house.make_sensor(needs_approval=True))
    assert "is active now" in say("approve", "TK-001")
    machine.send(machine.seal(1))
    services.quarantine_sensor(the_sensor().pk, at=house.clock.now(), why="test")
    machine.send(machine.seal(2))
    told = say("recover", "TK-001", "--reason", "a copy", "--cidr", "127.0.0.0/8")
    token = tmp_path / "token"
    token.write_text(next(word for word in told.split() if word.startswith("tr1_")))
    token.chmod(0o600)

    assert main(["recover", "--state-dir", str(machine.state.path), "--token-file", str(token)]) == 0
    assert "key 2, epoch 2" in capsys.readouterr().out
    assert not token.exists()
    assert "1 batches discarded" in say("discard", "TK-001", "--reason", "a copy")
    assert "0 batches released" in say("release", "TK-001", "--reason", "after all")
    assert [row[3] for row in house.states()] == ["landed", "discarded"]
    machine.beat()
