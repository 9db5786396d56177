"""The base's side of the fleet benchmark: enter sensors, start roll-outs, count what is stored.

A script of its own, because it needs Django and the store; prints one JSON object.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from releases_house import House
from teiten.cli import sensor_settings, user_verbs, wiring
from teiten.cli.installation import Installation
from teiten.foundation import settings
from teiten.protocol import command_testing
from teiten.protocol import commands as wire
from teiten.protocol.keys import public_bytes

RELEASE = 2
_BULK = 2_000


def key_of(number: int) -> Ed25519PrivateKey:
    """Give the key of the fleet's n-th sensor; both sides of the benchmark know it."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"bench fleet {number}".encode()).digest())


def prepare(installation: Installation, sensors: int) -> dict[str, Any]:
    """Enter enrolled sensors and operators, and publish a release."""
    wiring.migrate(installation)
    numbers = enter_sensors(installation, sensors)
    from teiten.fleet.commands.operators import import_operators
    from teiten.fleet.services import Act

    operators = command_testing.make_operators(int(time.time())).to_json()
    import_operators(operators, act=Act(installation.clock.now()))
    house = House(installation.data_dir)
    house.begin()
    house.release(RELEASE)
    target = next((installation.releases_dir / "public/targets").rglob("*.tar.xz"))
    return {
        "gateway_url": sensor_settings.gateway_url(installation),
        "authority": installation.gateway_config.authority,
        "pins": [sensor_settings.gateway_pin(installation)],
        "gateway_keys": [sensor_settings.gateway_key_text(installation)],
        "sensors": numbers,
        "operators": operators.decode(),
        "target": "/tuf/" + str(target.relative_to(installation.releases_dir / "public")),
    }


def enter_sensors(installation: Installation, count: int) -> list[int]:
    """Make rows as enrolment leaves them."""
    from teiten.accounts.models import Organisation
    from teiten.fleet.models import Region, Sensor, SensorKey, SensorPlacement
    from teiten.simulators.roster import REGIONS

    now = installation.clock.now()
    since = now - dt.timedelta(days=1)
    organisation = Organisation.objects.order_by("pk").first() or Organisation.objects.create(
        code="observatory", name_ja="観測所", name_en="Observatory", created_at=since
    )
    for code, name_ja, name_en in REGIONS:
        Region.objects.get_or_create(code=code, defaults={"name_ja": name_ja, "name_en": name_en})
    regions = [code for code, *_ in REGIONS]
    sensors = Sensor.objects.bulk_create(
        (
            Sensor(
                name=f"bench-{number:05}", region_id=regions[number % len(regions)], organisation=organisation,
                dataset="simulated", state="active", created_at=since, enrolled_at=since,
            )
            for number in range(count)
        ),
        batch_size=_BULK,
    )  # fmt: skip
    SensorPlacement.objects.bulk_create(
        (SensorPlacement(sensor=one, valid_from=since, region_id=one.region_id) for one in sensors),
        batch_size=_BULK,
    )
    SensorKey.objects.bulk_create(
        (
            SensorKey(
                sensor=one, key_no=1, public_key=public_bytes(key_of(number)), epoch=1, created_at=since
            )
            for number, one in enumerate(sensors)
        ),
        batch_size=_BULK,
    )
    return [one.pk for one in sensors]


def users(installation: Installation, people: int) -> dict[str, Any]:
    """Enter analysts, each with a token of the API."""
    installation.start_django()
    tokens = []
    for number in range(people):
        name = f"analyst-{number:02}"
        user_verbs.create_user(
            user_id=name, role="analyst", organisation="observatory", clock=installation.clock
        )
        issued = user_verbs.issue_token(name, days=1, label="bench", clock=installation.clock)
        tokens.append(issued.token)
    portal = installation.section("portal")
    return {"tokens": tokens, "url": f"http://{portal.host}:{portal.port}"}


def command(installation: Installation) -> dict[str, Any]:
    """Hand in a class A command to all, signed by one operator, and roll it out at full rate."""
    installation.start_django()
    from teiten.fleet.commands import services
    from teiten.fleet.rollouts.advancing import advance
    from teiten.fleet.services import Act

    now_s = int(time.time())
    made = command_testing.make_command("status", sensors=tuple(all_sensors()), now_s=now_s)
    content = wire.write_envelope(command_testing.sign(made, "alice"))
    act = Act(installation.clock.now())
    entered, _ = services.submit(content, act=act)
    started = services.start(entered, act=act, per_minute=10_000, stages=[100])
    assert started.rollout is not None
    at = time.time()
    step = advance(started.rollout.pk, now=installation.clock.now(), config=installation.section("fleet"))
    return {"command": entered.pk, "at": at, "released": step.count}


def update(installation: Installation) -> dict[str, Any]:
    """Announce the release to all."""
    installation.start_django()
    from teiten.fleet.rollouts import services
    from teiten.fleet.rollouts.advancing import advance
    from teiten.fleet.services import Act

    now = installation.clock.now()
    rollout = services.start_rollout(
        kind="update", subject=str(RELEASE), sensors=all_sensors(), stages=[100], per_minute=10_000, act=Act(now)
    )  # fmt: skip
    at = time.time()
    step = advance(rollout.pk, now=installation.clock.now(), config=installation.section("fleet"))
    return {"rollout": rollout.pk, "at": at, "released": step.count, "release": RELEASE}


def all_sensors() -> list[int]:
    from teiten.fleet.models import Sensor

    return list(Sensor.objects.order_by("pk").values_list("pk", flat=True))


def count(installation: Installation) -> dict[str, Any]:
    """Count ledger, coverage and rows, of a base that has ended."""
    with psycopg.connect(installation.database_url) as connection:
        told: dict[str, Any] = {
            "ledger": dict(
                connection.execute("SELECT state, count(*) FROM landing.batches GROUP BY 1").fetchall()
            ),
            "results": connection.execute("SELECT count(*) FROM fleet_commands_commandresult").fetchone()[0],
            "rollouts": connection.execute(
                "SELECT kind, state, reason FROM fleet_rollouts_rollout ORDER BY id"
            ).fetchall(),
        }
    store = wiring.open_store(installation)
    try:
        told["packets"] = store.select("SELECT count() AS n FROM packets", role="maintenance").to_pylist()[0][
            "n"
        ]
        told["covered"] = [
            list(row.values())
            for row in store.select(
                "SELECT sensor, groupArray(batch_seq) AS seqs, sum(rows) AS rows"
                " FROM coverage GROUP BY sensor ORDER BY sensor",
                role="maintenance",
            ).to_pylist()
        ]
    finally:
        store.close()
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", choices=("prepare", "users", "command", "update", "count"))
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--sensors", type=int, default=0)
    parser.add_argument("--people", type=int, default=0)
    options = parser.parse_args()
    installation = Installation(settings.load(options.config))
    works: dict[str, Callable[[Installation], dict[str, Any]]] = {
        "prepare": lambda where: prepare(where, options.sensors),
        "users": lambda where: users(where, options.people),
        "command": command,
        "update": update,
        "count": count,
    }
    try:
        print(json.dumps(works[options.work](installation)))
    finally:
        installation.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
