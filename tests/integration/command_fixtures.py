"""What tests of commands share: operators, sensors with real keys, a command that was handed in."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.fleet.config import FleetConfig
from teiten.foundation.clock import FixedClock
from teiten.portal.testing import Cast
from teiten.protocol import command_testing as operators
from teiten.protocol import commands as wire
from teiten.protocol import results
from teiten.protocol.keys import public_bytes

if TYPE_CHECKING:
    from teiten.fleet.commands.models import Command

CONFIG = FleetConfig()


def seconds(clock: FixedClock) -> int:
    return int(clock.now().timestamp())


def sensor_key(number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"sensor {number}".encode()).digest())


def enter_sensors(cast: Cast, clock: FixedClock, count: int = 3) -> list[int]:
    """Make active sensors that speak and have keys."""
    from teiten.fleet.models import Region, Sensor, SensorHealth, SensorKey

    region = Region.objects.create(code="kanto", name_ja="関東", name_en="Kanto")
    sensors = Sensor.objects.bulk_create(
        Sensor(
            name=f"TK-{number:05}",
            region=region,
            organisation=cast.beta if number == 0 else cast.alpha,
            dataset="live",
            state="active",
            created_at=clock.now(),
            enrolled_at=clock.now(),
        )
        for number in range(count)
    )
    SensorHealth.objects.bulk_create(
        SensorHealth(
            sensor=one,
            heartbeat_at=clock.now(),
            counter=1,
            boot_id="b",
            booted_at=clock.now(),
            software="1.3.0",
        )
        for one in sensors
    )
    SensorKey.objects.bulk_create(
        SensorKey(
            sensor=one,
            key_no=1,
            public_key=public_bytes(sensor_key(one.pk)),
            epoch=1,
            created_at=clock.now(),
        )
        for one in sensors
    )
    return [one.pk for one in sensors]


def know_operators(clock: FixedClock) -> None:
    from teiten.fleet.commands.operators import import_operators
    from teiten.fleet.services import Act

    import_operators(operators.make_operators(seconds(clock)).to_json(), act=Act(clock.now()))


def make_content(sensors: list[int], clock: FixedClock, *names: str, **changes: Any) -> bytes:
    """Give an envelope file for these sensors, signed by ``names`` (default alice)."""
    verb = changes.pop("verb", "status")
    command = operators.make_command(verb, sensors=tuple(sensors), now_s=seconds(clock), **changes)
    return wire.write_envelope(operators.sign(command, *(names or ("alice",))))


def start_command(sensors: list[int], clock: FixedClock, cast: Cast, **changes: Any) -> Command:
    """Hand a command in and let everybody have it."""
    from teiten.fleet.commands import services
    from teiten.fleet.rollouts.advancing import advance_all
    from teiten.fleet.services import Act

    act = Act(clock.now(), cast.dana)
    names = changes.pop("names", ())
    command, _ = services.submit(make_content(sensors, clock, *names, **changes), act=act)
    started = services.start(command, act=act, per_minute=10_000, stages=[100])
    advance_all(clock.now(), CONFIG)
    return started


def make_result(command_id: str, sensor: int, payload: bytes, **changes: Any) -> tuple[bytes, bytes]:
    """Give the body and the signature of an answer."""
    key = changes.pop("key", None) or sensor_key(sensor)
    given: dict[str, Any] = {
        "command_id": command_id,
        "sensor": sensor,
        "key_no": 1,
        "payload_sha256": hashlib.sha256(payload).digest(),
        "state": "done",
        "reason": "",
        "output": "all is well\n",
        "started_us": 1_795_230_000_000_000,
        "ended_us": 1_795_230_001_000_000,
    }
    body = results.write_result(results.Result(**(given | changes)))
    return body, results.sign_result(key, body)


def payload_of(command: Command) -> bytes:
    return wire.read_envelope(bytes(command.envelope)).payload
