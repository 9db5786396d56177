"""The doors of the gateway: who is this, I am alive."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from teiten.fleet.config import FleetConfig
from teiten.foundation.clock import FixedClock
from teiten.portal.testing import Cast
from teiten.protocol.heartbeat import ChainHead, Heartbeat

if TYPE_CHECKING:
    from teiten.fleet.doors import FleetDoors

pytestmark = pytest.mark.requirement("R1.2", "R1.3", "R2.1")
CONFIG = FleetConfig()
PEER = "192.0.2.10"
BEAT = Heartbeat(
    counter=1,
    boot_id="boot-aaaa",
    software="0.1.0",
    uptime_s=10,
    clock_offset_us=1500,
    captured=100,
    kernel_drops=0,
    excluded=3,
    spool_batches=1,
    spool_bytes=700,
    disk_free_bytes=10**9,
    last_error="",
    last_window_end_us=None,
    config_version=1,
)


def make_active_sensor(cast: Cast, clock: FixedClock, name: str = "TK-001"):
    from teiten.fleet import services
    from teiten.fleet.services import Act

    region = services.find_or_create_region(code="kanto", name_ja="関東", name_en="Kanto")
    sensor = services.create_sensor(
        name=name, region=region, organisation=cast.alpha, dataset="live", act=Act(clock.now()), config=CONFIG
    ).sensor
    services.add_key(sensor, public_key=name.encode().ljust(32, b"."), at=clock.now())
    sensor.state = "active"
    sensor.enrolled_at = clock.now()
    sensor.save()
    return sensor


def through(url: str, clock: FixedClock, use: Callable[[FleetDoors], Awaitable[Any]]) -> Any:
    from teiten.fleet.doors import FleetDoors

    async def run() -> Any:
        doors = FleetDoors(url, CONFIG, clock)
        await doors.start()
        try:
            return await use(doors)
        finally:
            await doors.stop()

    return asyncio.run(run())


def beat_with(**changes: Any) -> Heartbeat:
    return dataclasses.replace(BEAT, **changes)


def history(sensor) -> list[str]:
    skipped = ("created", "token_issued")
    return list(sensor.events.order_by("id").exclude(kind__in=skipped).values_list("kind", flat=True))


def test_it_works(database: str, cast: Cast, clock: FixedClock) -> None:
    sensor = make_active_sensor(cast, clock)

    async def use(doors: FleetDoors):
        return await doors.identify(sensor.pk, 1), await doors.heartbeat(sensor.pk, BEAT, peer=PEER)

    identity, answer = through(database, clock, use)

    assert (identity.sensor, identity.key_no, identity.epoch, identity.state) == (sensor.pk, 1, 1, "active")
    assert identity.public_key == b"TK-001".ljust(32, b".")
    assert answer.config.window_seconds == 300
    assert answer.server_time_us == clock.now_us()
    sensor.refresh_from_db()
    assert sensor.health.counter == 1
    assert sensor.health.peer == PEER
    assert sensor.health.report["excluded"] == 3


def test_strangers_are_unknown(database: str, cast: Cast, clock: FixedClock) -> None:
    sensor = make_active_sensor(cast, clock)
    asked = [(sensor.pk, 2), (sensor.pk + 1, 1), (0, 0), ((1 << 32) - 1, (1 << 31))]

    async def use(doors: FleetDoors):
        return [await doors.identify(*one) for one in asked]

    assert through(database, clock, use) == [None] * 4


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("suspended", "suspended"),
        ("revoked", "revoked"),
        ("quarantined", "quarantined"),
        ("pending_approval", "pending_approval"),
    ],
)
def test_a_change_of_state_counts_from_the_next_request(
    database: str, cast: Cast, clock: FixedClock, state: str, told: str
) -> None:
    from teiten.fleet.models import Sensor

    sensor = make_active_sensor(cast, clock)

    async def use(doors: FleetDoors):
        before = await doors.identify(sensor.pk, 1)
        await asyncio.to_thread(change)
        return before, await doors.identify(sensor.pk, 1)

    def change() -> None:
        from django.db import connection

        Sensor.objects.filter(pk=sensor.pk).update(state=state)
        connection.close()

    before, after = through(database, clock, use)

    assert (before.state, after.state) == ("active", told)


def test_a_revoked_key_is_unknown(database: str, cast: Cast, clock: FixedClock) -> None:
    sensor = make_active_sensor(cast, clock)
    sensor.keys.update(revoked_at=clock.now())

    assert through(database, clock, lambda doors: doors.identify(sensor.pk, 1)) is None


def test_many_at_once_get_their_own_answers(database: str, cast: Cast, clock: FixedClock) -> None:
    sensors = [make_active_sensor(cast, clock, name=f"TK-{number:03}") for number in range(20)]

    async def use(doors: FleetDoors):
        asked = [doors.identify(sensor.pk, 1) for sensor in sensors] * 1
        beats = [doors.heartbeat(sensor.pk, beat_with(counter=5), peer=PEER) for sensor in sensors]
        return await asyncio.gather(*asked), await asyncio.gather(*beats)

    identities, answers = through(database, clock, use)

    assert [identity.public_key[:6].decode() for identity in identities] == [
        sensor.name for sensor in sensors
    ]
    assert len(answers) == 20
    assert {sensor.health.counter for sensor in sensors} == {5}


def test_a_replayed_heartbeat_is_refused(database: str, cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet.errors import StaleHeartbeatError

    sensor = make_active_sensor(cast, clock)

    async def use(doors: FleetDoors):
        await doors.heartbeat(sensor.pk, beat_with(counter=7, captured=70), peer=PEER)
        twins = [doors.heartbeat(sensor.pk, beat_with(counter=7, captured=99), peer=PEER) for _ in range(3)]
        return await asyncio.gather(*twins, return_exceptions=True)

    refusals = through(database, clock, use)

    assert all(isinstance(refusal, StaleHeartbeatError) for refusal in refusals)
    assert "7" in str(refusals[0])
    sensor.refresh_from_db()
    assert sensor.health.captured == 70
    assert history(sensor) == []


def test_the_same_heartbeat_twice_at_once_counts_once(database: str, cast: Cast, clock: FixedClock) -> None:
    sensor = make_active_sensor(cast, clock)

    async def use(doors: FleetDoors):
        twins = [doors.heartbeat(sensor.pk, beat_with(counter=3), peer=PEER) for _ in range(5)]
        return await asyncio.gather(*twins, return_exceptions=True)

    outcomes = through(database, clock, use)

    assert sum(isinstance(outcome, Exception) for outcome in outcomes) == 4


def test_a_restart_is_written_down(database: str, cast: Cast, clock: FixedClock) -> None:
    sensor = make_active_sensor(cast, clock)

    async def use(doors: FleetDoors):
        await doors.heartbeat(sensor.pk, beat_with(counter=1), peer=PEER)
        clock.advance(60)
        await doors.heartbeat(sensor.pk, beat_with(counter=2, boot_id="boot-bbbb"), peer=PEER)

    through(database, clock, use)

    sensor.refresh_from_db()
    assert history(sensor) == ["restarted"]
    assert (sensor.health.boot_id, sensor.health.previous_boot_id) == ("boot-bbbb", "boot-aaaa")
    assert sensor.health.booted_at == clock.now()
    assert sensor.state == "active"


def test_a_new_boot_with_each_heartbeat_fills_no_history(
    database: str, cast: Cast, clock: FixedClock
) -> None:
    """A captured sensor's: a boot id never heard of each time, and a chain that goes back and forth."""
    sensor = make_active_sensor(cast, clock)

    async def use(doors: FleetDoors) -> None:
        for counter in range(1, 41):
            audit = ChainHead(100 - counter % 2, bytes(31) + bytes([counter]))
            said = beat_with(counter=counter, boot_id=f"boot-{counter:04}", audit=audit)
            await doors.heartbeat(sensor.pk, said, peer=PEER)
            clock.advance(10)
        clock.advance(3600)
        await doors.heartbeat(sensor.pk, beat_with(counter=99, boot_id="boot-later"), peer=PEER)

    through(database, clock, use)

    kinds = history(sensor)
    assert (kinds.count("restarted"), kinds.count("chain_broken")) == (13, 13)
    marked = sensor.events.filter(detail__and_more=True).values_list("kind", flat=True)
    assert sorted(marked) == ["chain_broken", "restarted"]


def test_keys_do_not_follow_one_another_without_end(database: str, cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet import rotating
    from teiten.fleet.errors import RotationError
    from teiten.protocol.rotation import RotateRequest

    sensor = make_active_sensor(cast, clock)

    def rotate(key_no: int) -> None:
        request = RotateRequest(
            sensor=sensor.pk, key_no=key_no, public_key=bytes([key_no]) * 32, sealed_to=0, proof=bytes(64)
        )
        rotating.rotate_key(request, used_key_no=key_no - 1, peer=PEER, now=clock.now())

    for key_no in range(2, 25):
        rotate(key_no)
    with pytest.raises(RotationError, match="at most 24 times a day"):
        rotate(25)
    clock.advance(86_401)
    rotate(25)


def test_two_machines_with_one_key_are_quarantined(database: str, cast: Cast, clock: FixedClock) -> None:
    sensor = make_active_sensor(cast, clock)

    async def use(doors: FleetDoors):
        for counter, boot_id in enumerate(("boot-aaaa", "boot-bbbb", "boot-aaaa"), start=1):
            await doors.heartbeat(sensor.pk, beat_with(counter=counter, boot_id=boot_id), peer=PEER)
        return await doors.identify(sensor.pk, 1)

    identity = through(database, clock, use)

    assert identity.state == "quarantined"
    assert history(sensor) == ["restarted", "clone_suspected"]


def test_counters_fade_and_survive_a_restart(database: str, cast: Cast, clock: FixedClock) -> None:
    from math import exp

    sensor = make_active_sensor(cast, clock)

    async def use(doors: FleetDoors):
        await doors.heartbeat(sensor.pk, beat_with(counter=1, captured=1000, kernel_drops=10), peer=PEER)
        clock.advance(900)
        await doors.heartbeat(sensor.pk, beat_with(counter=2, captured=1500, kernel_drops=10), peer=PEER)
        clock.advance(900)
        restarted = beat_with(counter=3, captured=40, kernel_drops=4, boot_id="boot-bbbb")
        await doors.heartbeat(sensor.pk, restarted, peer=PEER)

    through(database, clock, use)

    sensor.refresh_from_db()
    assert sensor.health.recent_captured == pytest.approx((1000 * exp(-1) + 500) * exp(-1) + 40)
    assert sensor.health.recent_drops == pytest.approx(10 * exp(-2) + 4)


def test_a_silent_sensor_that_speaks_again_is_noted(database: str, cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet.models import SensorHealth

    sensor = make_active_sensor(cast, clock)

    async def use(doors: FleetDoors):
        await doors.heartbeat(sensor.pk, BEAT, peer=PEER)
        await asyncio.to_thread(fall_silent)
        await doors.heartbeat(sensor.pk, beat_with(counter=2), peer="fe80::1%eth0")

    def fall_silent() -> None:
        from django.db import connection

        SensorHealth.objects.update(silent_since=clock.now())
        connection.close()

    through(database, clock, use)

    sensor.refresh_from_db()
    assert history(sensor) == ["heard_again"]
    assert sensor.health.silent_since is None
    assert sensor.health.peer == "fe80::1"


def test_new_settings_travel_with_the_answer(database: str, cast: Cast, clock: FixedClock) -> None:
    from teiten.fleet import services
    from teiten.fleet.errors import FleetInputError
    from teiten.fleet.services import Act

    sensor = make_active_sensor(cast, clock)
    services.configure_sensor(sensor, live=True, act=Act(clock.now()))
    with pytest.raises(FleetInputError, match="window_seconds"):
        services.configure_sensor(sensor, window_seconds=0, act=Act(clock.now()))

    answer = through(database, clock, lambda doors: doors.heartbeat(sensor.pk, BEAT, peer=PEER))

    assert (answer.config.version, answer.config.live, answer.config.window_seconds) == (2, True, 300)


def test_a_database_that_is_away_is_told_apart(
    cast: Cast, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from teiten.fleet import doors as module
    from teiten.fleet.errors import FleetAwayError

    monkeypatch.setattr(module, "_CONNECTION_WAIT_SECONDS", 0.2)

    async def use(doors: FleetDoors):
        with pytest.raises(FleetAwayError, match="does not answer"):
            await doors.identify(1, 1)
        with pytest.raises(FleetAwayError, match="does not answer"):
            await doors.heartbeat(1, BEAT, peer=PEER)

    through("postgresql://127.0.0.1:1/nowhere", clock, use)


@pytest.mark.requirement("R1.3")
def test_what_foreshadows_trouble_is_kept_where_pages_find_it(
    database: str, cast: Cast, clock: FixedClock
) -> None:
    from teiten.fleet import selectors
    from teiten.protocol.heartbeat import ChainHead, UpdateState

    sensor = make_active_sensor(cast, clock)
    told = beat_with(
        counter=5,
        disk_free_bytes=77,
        ring_fill_permille=950,
        audit=ChainHead(4, b"h" * 32),
        update=UpdateState(12, "rolled_back", "release 13: no heartbeat"),
    )

    async def use(doors: FleetDoors):
        await doors.heartbeat(sensor.pk, told, peer=PEER)
        return await doors.heartbeat(sensor.pk, dataclasses.replace(told, counter=6), peer=PEER)

    through(database, clock, use)

    (row,) = selectors.sensor_states(cast.alice, now=clock.now(), config=CONFIG)
    assert (row.disk_free_bytes, row.ring_fill_permille, row.release) == (77, 950, 12)
    assert (row.update_state, row.update_detail) == ("rolled_back", "release 13: no heartbeat")
    assert (row.audit_records, row.audit_head) == (4, "68" * 32)
    assert [one.value for one in row.conditions] == ["ring_full", "disk_low", "update_failed"]
    (masked,) = selectors.sensor_states(cast.charlie, now=clock.now(), config=CONFIG)
    assert (masked.ring_fill_permille, masked.disk_free_bytes, masked.release) == (None, None, None)
    assert [one.value for one in masked.conditions] == ["watching"], "a flood shows nowhere"
