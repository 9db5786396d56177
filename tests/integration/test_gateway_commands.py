"""Commands through the real gateway: fetched, answered, asked for again, and told of by heartbeats."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from teiten.foundation.clock import FixedClock
from teiten.gateway.config import GatewayConfig
from teiten.gateway.testing import AUTHORITY, HonestSensor, RawClient
from teiten.landing.config import LandingConfig
from teiten.portal.testing import Cast
from teiten.protocol import commands as wire
from teiten.protocol import keys, results
from teiten.protocol.commands import Targets
from teiten.protocol.heartbeat import ChainHead, Heartbeat

sys.path.insert(0, str(Path(__file__).parent))
from command_fixtures import (
    CONFIG,
    enter_sensors,
    know_operators,
    make_content,
    make_result,
    payload_of,
    seconds,
    sensor_key,
    start_command,
)

if TYPE_CHECKING:
    from teiten.fleet.commands.door import CommandsDoors
    from teiten.fleet.doors import FleetDoors

pytestmark = pytest.mark.requirement("R1.3", "R2.1")
BEAT = Heartbeat(
    counter=10,
    boot_id="boot-aaaa",
    software="0.1.0",
    uptime_s=10,
    clock_offset_us=None,
    captured=0,
    kernel_drops=0,
    excluded=0,
    spool_batches=0,
    spool_bytes=0,
    disk_free_bytes=10**9,
    last_error="",
    last_window_end_us=None,
    config_version=1,
)


@pytest.fixture
def sensors(cast: Cast, clock: FixedClock) -> list[int]:
    know_operators(clock)
    return enter_sensors(cast, clock)


def through(url: str, clock: FixedClock, use: Callable[[FleetDoors, CommandsDoors], Awaitable[Any]]) -> Any:
    from teiten.fleet.commands.door import CommandsDoors
    from teiten.fleet.doors import FleetDoors

    async def run() -> Any:
        doors = FleetDoors(url, CONFIG, clock)
        await doors.start()
        try:
            return await use(doors, CommandsDoors(doors.ask, CONFIG, clock))
        finally:
            await doors.stop()

    return asyncio.run(run())


def read(parts: tuple[bytes, ...]) -> tuple[wire.Delivery, ...]:
    return wire.read_deliveries(b'{"commands":[' + b",".join(parts) + b"]}")


def states(command) -> set[str]:
    return set(command.rollout.targets.values_list("state", flat=True))


def test_it_works(database: str, cast: Cast, clock: FixedClock, sensors: list[int]) -> None:
    command = start_command(sensors, clock, cast)

    async def use(fleet: FleetDoors, doors: CommandsDoors) -> Any:
        before = await fleet.heartbeat(sensors[0], BEAT, peer="192.0.2.1")
        got = await asyncio.gather(*(doors.pending(sensor) for sensor in [*sensors, 4_000_000]))
        body, signature = make_result(command.pk, sensors[0], payload_of(command))
        taken = [await doors.take_result(sensors[0], command.pk, body, signature) for _ in range(2)]
        after = await fleet.heartbeat(sensors[0], dataclasses.replace(BEAT, counter=11), peer="192.0.2.1")
        return before, got, taken, after, await doors.pending(sensors[0])

    before, got, taken, after, rest = through(database, clock, use)

    assert (before.commands_pending, after.commands_pending, rest) == (1, 0, ())
    assert [len(one) for one in got] == [1, 1, 1, 0]
    delivery = read(got[0])[0]
    assert delivery == wire.Delivery(command.pk, wire.read_envelope(bytes(command.envelope)), None)
    assert taken == [True, False]
    assert states(command) == {"ok", "fetched"}


def test_a_lost_answer_is_given_again(
    database: str, cast: Cast, clock: FixedClock, sensors: list[int]
) -> None:
    command = start_command(sensors[:1], clock, cast)
    fetched_at = []

    async def use(_: FleetDoors, doors: CommandsDoors) -> Any:
        first = await doors.pending(sensors[0])
        fetched_at.append(clock.now())
        clock.advance(60)
        return first, await doors.pending(sensors[0])

    first, again = through(database, clock, use)

    assert first == again != ()
    assert command.rollout.targets.get().fetched_at == fetched_at[0]


def test_an_answer_that_cannot_be_the_sensors_own_is_one_audit_line(
    database: str, cast: Cast, clock: FixedClock, sensors: list[int]
) -> None:
    from teiten.accounts.models import AuditRecord
    from teiten.fleet.commands.errors import ResultRefusedError

    command = start_command(sensors, clock, cast)
    body, signature = make_result(command.pk, sensors[0], payload_of(command), key=sensor_key(99))

    async def use(_: FleetDoors, doors: CommandsDoors) -> None:
        for _try in range(3):
            with pytest.raises(ResultRefusedError, match="signature"):
                await doors.take_result(sensors[0], command.pk, body, signature)

    through(database, clock, use)

    record = AuditRecord.objects.get(kind="command.answer_refused")
    assert record.subject == f"sensor:{sensors[0]}"


def test_a_command_is_not_given_before_its_time(
    database: str, cast: Cast, clock: FixedClock, sensors: list[int]
) -> None:
    from teiten.fleet.rollouts.advancing import advance_all

    later = seconds(clock) + 600
    start_command(sensors, clock, cast, not_before_s=later, expires_s=later + 600)
    assert through(database, clock, lambda _, doors: doors.pending(sensors[0])) == ()

    clock.advance(600)
    advance_all(clock.now(), CONFIG)
    assert len(through(database, clock, lambda _, doors: doors.pending(sensors[0]))) == 1


def test_who_was_told_too_late_did_nothing_wrong(
    database: str, cast: Cast, clock: FixedClock, sensors: list[int]
) -> None:
    command = start_command(sensors, clock, cast)
    late = make_result(command.pk, sensors[0], payload_of(command), state="refused", reason="expired")

    through(database, clock, lambda _, doors: doors.take_result(sensors[0], command.pk, *late))

    command.rollout.refresh_from_db()
    assert command.rollout.state == "running"
    assert states(command) == {"expired", "released"}


def test_a_selectors_list_goes_with_it(
    database: str, cast: Cast, clock: FixedClock, sensors: list[int]
) -> None:
    targets = Targets(selector="all", max_sensors=3, resolved_sha256=wire.digest_of_sensors(sensors))
    start_command([], clock, cast, targets=targets)

    delivery = read(through(database, clock, lambda _, doors: doors.pending(sensors[2])))[0]

    assert delivery.resolved == tuple(sensors)


def test_what_is_not_released_expired_or_stopped_is_not_given(
    database: str, cast: Cast, clock: FixedClock, sensors: list[int]
) -> None:
    from teiten.fleet.commands import services
    from teiten.fleet.services import Act

    act = Act(clock.now(), cast.dana)
    waiting, _ = services.submit(make_content(sensors, clock), act=act)
    services.start(waiting, act=act, per_minute=10)
    assert through(database, clock, lambda _, doors: doors.pending(sensors[0])) == ()
    services.stop(waiting, reason="test", act=act)

    command = start_command(sensors, clock, cast, counter=seconds(clock) + 1)
    services.stop(command, reason="test", act=act)
    assert through(database, clock, lambda _, doors: doors.pending(sensors[0])) == ()

    late = start_command(sensors, clock, cast, counter=seconds(clock) + 2)
    clock.advance(3600)
    assert through(database, clock, lambda _, doors: doors.pending(sensors[0])) == ()
    assert states(late) == {"released"}


def test_only_so_many_at_once(database: str, cast: Cast, clock: FixedClock, sensors: list[int]) -> None:
    for who in ("alice", "bob", "carol", "dora", "alice-2"):
        start_command(sensors[:1], clock, cast, by=who, names=(who,))

    assert len(read(through(database, clock, lambda _, doors: doors.pending(sensors[0])))) == 4


def test_answers_bring_the_next_stage_without_the_clocks_job(
    database: str, cast: Cast, clock: FixedClock, sensors: list[int]
) -> None:
    from teiten.fleet.commands import services
    from teiten.fleet.rollouts.advancing import advance_all
    from teiten.fleet.services import Act

    act = Act(clock.now(), cast.dana)
    command, _ = services.submit(make_content(sensors, clock), act=act)
    command = services.start(command, act=act, per_minute=10_000, stages=[1, 100])
    advance_all(clock.now(), CONFIG)
    first = command.rollout.targets.get(state="released").sensor_id
    body, signature = make_result(command.pk, first, payload_of(command))

    through(database, clock, lambda _, doors: doors.take_result(first, command.pk, body, signature))

    assert states(command) == {"ok", "released"}


def test_releases_are_told_of_until_they_run(
    database: str, cast: Cast, clock: FixedClock, sensors: list[int]
) -> None:
    from teiten.fleet.rollouts import services
    from teiten.fleet.rollouts.advancing import advance_all
    from teiten.fleet.services import Act

    act = Act(clock.now(), cast.dana)
    rollout = services.start_rollout(
        kind="update", subject="12", sensors=sensors[:1], per_minute=10, stages=[100], act=act
    )
    advance_all(clock.now(), CONFIG)

    def beat(sensor: int, counter: int) -> Any:
        said = dataclasses.replace(BEAT, counter=counter)
        return through(database, clock, lambda fleet, _: fleet.heartbeat(sensor, said, peer="192.0.2.1"))

    answer = beat(sensors[0], 20)
    assert (answer.release, answer.commands_pending) == (12, 0)
    assert beat(sensors[1], 20).release is None
    services.halt(rollout, reason="bad", act=act)
    assert beat(sensors[0], 21).release is None


def test_a_chain_that_goes_back_raises_one_alarm(
    database: str, cast: Cast, clock: FixedClock, sensors: list[int]
) -> None:
    from teiten.accounts.models import AuditRecord
    from teiten.fleet.models import Sensor, SensorEvent

    said: list[ChainHead | None] = [
        ChainHead(5, b"\5" * 32),
        ChainHead(5, b"\5" * 32),
        ChainHead(7, b"\7" * 32),
        ChainHead(7, b"\1" * 32),
        ChainHead(7, b"\1" * 32),
        ChainHead(6, b"\6" * 32),
        None,
        None,
        ChainHead(1, b"\1" * 32),
    ]

    async def use(fleet: FleetDoors, _: CommandsDoors) -> None:
        for counter, head in enumerate(said, start=30):
            beat = dataclasses.replace(BEAT, counter=counter, audit=head)
            await fleet.heartbeat(sensors[0], beat, peer="192.0.2.1")

    through(database, clock, use)
    events = SensorEvent.objects.filter(sensor=sensors[0], kind="chain_broken").order_by("pk")
    assert [event.detail["why"] for event in events] == ["forked", "went_back", "gone"]
    assert AuditRecord.objects.filter(kind="sensor.chain_broken").count() == 3

    Sensor.objects.filter(pk=sensors[0]).update(epoch=2)
    anew = dataclasses.replace(BEAT, counter=60, audit=ChainHead(0, bytes(32)))
    through(database, clock, lambda fleet, _: fleet.heartbeat(sensors[0], anew, peer="192.0.2.1"))
    assert events.count() == 3


def test_the_wire(
    database: str, cast: Cast, clock: FixedClock, sensors: list[int], tmp_path: Path, database_url: str
) -> None:
    from teiten.cli.fleet_doors import GatewayDoors
    from teiten.fleet.commands.door import CommandsDoors
    from teiten.fleet.doors import FleetDoors
    from teiten.gateway.testing import run_gateway
    from teiten.landing import migrations
    from teiten.landing.log import LandingLog
    from teiten.protocol.keys import generate_key

    command = start_command(sensors[:1], clock, cast)
    fleet = FleetDoors(database, CONFIG, clock)
    doors = GatewayDoors(fleet, CommandsDoors(fleet.ask, CONFIG, clock))
    migrations.migrate(database_url)
    signing_key = generate_key()
    landing = LandingLog(
        LandingConfig(folder=tmp_path / "landing"), database_url, clock, signing_key=signing_key
    )
    config = GatewayConfig(port=0, metrics_port=0, authority=AUTHORITY)
    with run_gateway(
        landing, config=config, signing_key=signing_key, key_dir=tmp_path, clock=clock, doors=doors
    ) as running:
        asyncio.run_coroutine_threadsafe(fleet.start(), running.loop).result(10)
        try:
            with contextlib.closing(RawClient(running.port)) as client:
                talk(client, command, sensors, clock)
        finally:
            asyncio.run_coroutine_threadsafe(fleet.stop(), running.loop).result(10)


def talk(client: RawClient, command: Any, sensors: list[int], clock: FixedClock) -> None:
    me = HonestSensor(sensor_key(sensors[0]), sensor=sensors[0])

    def ask(method: str, path: str, body: bytes = b"", **fields: str):
        made = me.sign(method, path, body, created_s=seconds(clock))
        return client.send(method, path, [*made.as_list(), *fields.items()], body)

    answer = ask("GET", "/v1/commands")
    assert answer.status == 200
    assert read_body(answer.body)[0].command_id == command.pk
    body, signature = make_result(command.pk, sensors[0], payload_of(command))
    path = f"/v1/commands/{command.pk}/result"
    signed = {results.SIGNATURE_FIELD: results.format_signature(signature)}
    assert ask("POST", path, body).status == 400
    assert ask("POST", path, body, **{results.SIGNATURE_FIELD: "x"}).json()["error"] == "result.form"
    assert ask("POST", path, body[:-1], **signed).status == 400
    assert [ask("POST", path, body, **signed).status for _ in range(2)] == [201, 200]
    other = make_result(command.pk, sensors[0], payload_of(command), output="no\n")
    refused = ask("POST", path, other[0], **{results.SIGNATURE_FIELD: results.format_signature(other[1])})
    assert (refused.status, refused.json()["error"]) == (409, "result_exists")
    assert ask("POST", "/v1/commands/x/result", body, **signed).status == 404
    assert json.loads(ask("GET", "/v1/commands").body) == {"commands": []}
    stranger = HonestSensor(keys.generate_key(), sensor=sensors[0])
    made = stranger.sign("GET", "/v1/commands", b"", created_s=seconds(clock))
    assert client.send("GET", "/v1/commands", made.as_list()).status == 401


def read_body(body: bytes) -> tuple[wire.Delivery, ...]:
    return wire.read_deliveries(body)
