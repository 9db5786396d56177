"""The key of a state folder, and what takes a new one while it runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from teiten.foundation.clock import FixedClock, from_us
from teiten.protocol import keys
from teiten.protocol.enrolment import EnrolAnswer
from teiten.protocol.sensor_config import SensorConfig as ToldConfig
from teiten.protocol.testing import START_US
from teiten.sensor.config import SensorConfig
from teiten.sensor.errors import StateBusyError, StateError
from teiten.sensor.keeper import Keeper
from teiten.sensor.rotation import PENDING, KeyKeeper, find_last_seq
from teiten.sensor.sealed import SealingIdentity
from teiten.sensor.spool import Spool, SpoolLimits
from teiten.sensor.spool_files import READY, list_names, read_sealed
from teiten.sensor.state import ORDERS, GatewaySettings, IdentityWatch, StateFolder
from teiten.sensor.windows import Window

pytestmark = pytest.mark.requirement("R1.2", "R2.1")

GATEWAY = GatewaySettings("https://gateway.example:8443", "", ("pin",), "")
CLOCK = FixedClock(from_us(START_US))


def enrolled(folder: Path) -> StateFolder:
    state = StateFolder(folder)
    state.make_key()
    state.save_identity(EnrolAnswer(7, 1, 1, (), 0, ToldConfig()), GATEWAY, at_us=5)
    return state


def test_a_folder_of_before_rotation_is_read(tmp_path: Path) -> None:
    state = enrolled(tmp_path)
    path = tmp_path / "identity.json"
    told = json.loads(path.read_text())
    path.write_text(
        json.dumps({name: told[name] for name in ("sensor", "key_no", "epoch", "gateway_keys", "gateway")})
    )

    assert state.load_identity().sealing.key_no == 1
    assert state.key_file() == "key.pem"
    assert state.keyed_at_us() == (tmp_path / "key.pem").stat().st_mtime_ns // 1_000


@pytest.mark.parametrize("name", ["../key.pem", "/etc/key.pem", "key-.pem", "other.pem", 7, None])
def test_a_key_file_of_another_name_is_damage(tmp_path: Path, name: object) -> None:
    state = enrolled(tmp_path)
    told = json.loads((tmp_path / "identity.json").read_text())
    (tmp_path / "identity.json").write_text(json.dumps({**told, "key_file": name}))

    with pytest.raises(StateError, match="damaged"):
        state.load_identity()


def test_a_key_is_adopted_with_one_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = enrolled(tmp_path)
    old = state.load_identity().sealing
    new = state.make_key(PENDING)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(StateError, match="full"):
            state.adopt_key(PENDING, key_no=2, epoch=1, at_us=9)
    assert state.load_identity().sealing.key_no == old.key_no

    state.adopt_key(PENDING, key_no=2, epoch=1, at_us=9)

    found = state.load_identity()
    assert (found.sealing.key_no, state.keyed_at_us()) == (2, 9)
    assert keys.public_bytes(found.sealing.private_key) == keys.public_bytes(new)
    assert found.gateway == GATEWAY
    assert [path.name for path in tmp_path.glob("*.pem")] == ["key-2.pem"]
    assert (tmp_path / "key-2.pem").stat().st_mode & 0o777 == 0o600


def test_two_processes_do_not_change_one_key(tmp_path: Path) -> None:
    state = enrolled(tmp_path)
    with state.changing_key(), pytest.raises(StateBusyError), StateFolder(tmp_path).changing_key():
        pass
    with state.changing_key():
        pass


def test_a_watch_sees_each_change_once_and_looks_again_at_what_it_cannot_read(tmp_path: Path) -> None:
    state = enrolled(tmp_path)
    watch = IdentityWatch(state)
    assert watch.look() is None
    state.make_key(PENDING)
    state.adopt_key(PENDING, key_no=2, epoch=1, at_us=9)
    (tmp_path / "key-2.pem").rename(tmp_path / "elsewhere")
    with pytest.raises(StateError):
        watch.look()
    (tmp_path / "elsewhere").rename(tmp_path / "key-2.pem")

    found = watch.look()

    assert found is not None
    assert found.sealing.key_no == 2
    assert watch.look() is None


def test_the_recording_side_seals_by_the_new_key_and_numbers_anew_in_a_new_epoch(tmp_path: Path) -> None:
    first = SealingIdentity(7, 1, 1, keys.generate_key())
    told: list[SealingIdentity | None] = []
    spool = Spool(tmp_path, epoch=1, limits=SpoolLimits(10**9))
    keeper = Keeper(
        first,
        spool,
        boot_id="boot-aaaaaaaa",
        clock_offset_us=lambda: None,
        clock=CLOCK,
        renew=lambda: told.pop() if told else None,
    )
    windows = [
        None,
        SealingIdentity(7, 2, 1, keys.generate_key()),
        SealingIdentity(7, 3, 2, keys.generate_key()),
        None,
    ]
    for number, renewed in enumerate(windows):
        told.append(renewed)
        start = START_US + number * 1_000_000
        keeper._hold(Window(start, start + 1_000_000, ()))
        keeper._keep_held()

    names = list_names(tmp_path / "spool" / READY)
    sealed = [read_sealed(tmp_path / "spool" / READY / name) for name in names]
    assert [(one.epoch, one.seq, one.key_no) for one in sealed] == [
        (1, 1, 1),
        (1, 2, 2),
        (2, 1, 3),
        (2, 2, 3),
    ]
    assert find_last_seq(tmp_path, epoch=1) == 2
    assert find_last_seq(tmp_path, epoch=2) == 2
    assert find_last_seq(tmp_path / "nothing", epoch=1) == 0
    spool.close()
    assert Spool(tmp_path, epoch=2, limits=SpoolLimits(10**9)).next_seq == 3


def test_an_identity_that_cannot_be_read_does_not_stop_the_sealing(tmp_path: Path) -> None:
    def fail() -> SealingIdentity | None:
        raise StateError("gone for a moment")

    spool = Spool(tmp_path, epoch=1, limits=SpoolLimits(10**9))
    keeper = Keeper(
        SealingIdentity(7, 1, 1, keys.generate_key()),
        spool,
        boot_id="boot-aaaaaaaa",
        clock_offset_us=lambda: None,
        clock=CLOCK,
        renew=fail,
    )
    keeper._hold(Window(START_US, START_US + 1_000_000, ()))
    keeper._keep_held()
    assert spool.next_seq == 2
    spool.close()


def test_nobody_fills_another_users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = enrolled(tmp_path)
    state.check_owner()
    monkeypatch.setattr("os.geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(StateError, match="run this as that user"):
        state.check_owner()


def test_an_identity_that_is_gone_is_not_written_anew(tmp_path: Path) -> None:
    state = enrolled(tmp_path)
    state.make_key(PENDING)
    (tmp_path / "identity.json").write_text("damaged")
    with pytest.raises(StateError, match="old key stands"):
        state.adopt_key(PENDING, key_no=2, epoch=1, at_us=9)
    assert (tmp_path / "key.pem").exists()


def test_a_clock_that_was_set_makes_no_key_old(tmp_path: Path) -> None:
    clock = FixedClock(from_us(START_US))
    state = StateFolder(tmp_path)
    state.make_key()
    state.save_identity(EnrolAnswer(7, 1, 1, (), 0, ToldConfig()), GATEWAY, at_us=clock.now_us())
    keeper = KeyKeeper(SensorConfig(), state, clock)

    clock.step(14 * 365 * 86_400)
    assert not keeper.is_due()
    clock.advance(60)
    # Until the gateway has told the offset …
    assert not keeper.is_due()
    state.write_json(ORDERS, {"clock_offset_us": -14 * 365 * 86_400_000_000})
    clock.advance(600)
    # … by which the key is young.
    assert not keeper.is_due()
    clock.advance(366 * 86_400)
    assert keeper.is_due()
