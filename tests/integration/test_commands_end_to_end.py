"""A command from two operators' machines through the real base to a real sensor process, and back."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from teiten.foundation.clock import SystemClock
from teiten.gateway import tls
from teiten.gateway.config import GatewayConfig
from teiten.landing.config import LandingConfig
from teiten.operators.main import main as operate
from teiten.portal.testing import Cast, make_cast
from teiten.protocol import keys, results
from teiten.protocol.enrolment import EnrolAnswer, GatewayKey
from teiten.protocol.sensor_config import SensorConfig as Wanted
from teiten.sensor.chain import verify_chain
from teiten.sensor.state import GatewaySettings, StateFolder

sys.path.insert(0, str(Path(__file__).parent))
from command_fixtures import CONFIG, enter_sensors, sensor_key

if TYPE_CHECKING:
    from teiten.fleet.commands.models import Command

pytestmark = pytest.mark.requirement("R1.3", "R2.1")
CLOCK = SystemClock()
AUTHORITY = "base.example:8443"


@pytest.fixture
def cast(database: str) -> Cast:
    return make_cast(CLOCK.now())


@contextmanager
def open_base(folder: Path, database: str, ledger: str) -> Iterator[GatewaySettings]:
    """Run the gateway with the fleet's own doors; give what a sensor must know of it, and its key."""
    from teiten.cli.fleet_doors import GatewayDoors
    from teiten.fleet.commands.door import CommandsDoors
    from teiten.fleet.doors import FleetDoors
    from teiten.gateway.testing import run_gateway
    from teiten.landing import migrations
    from teiten.landing.log import LandingLog

    fleet = FleetDoors(database, CONFIG, CLOCK)
    doors = GatewayDoors(fleet, CommandsDoors(fleet.ask, CONFIG, CLOCK))
    migrations.migrate(ledger)
    key = keys.generate_key()
    keys.save_private(key, folder / "signing.pem")
    landing = LandingLog(LandingConfig(folder=folder / "landing"), ledger, CLOCK, signing_key=key)
    config = GatewayConfig(port=0, metrics_port=0, authority=AUTHORITY)
    with run_gateway(
        landing,
        config=config,
        signing_key=key,
        key_dir=folder,
        clock=CLOCK,
        doors=doors,  # type: ignore[arg-type]  # as_doors is all that is asked of it
    ) as running:
        asyncio.run_coroutine_threadsafe(fleet.start(), running.loop).result(10)
        certificate, _ = running.gateway.certificate()
        try:
            yield GatewaySettings(
                f"https://127.0.0.1:{running.port}", AUTHORITY, (tls.pin_of(certificate),), ""
            )
        finally:
            asyncio.run_coroutine_threadsafe(fleet.stop(), running.loop).result(10)


class Office:
    """Alice's and Bob's machines."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.path("pass").write_text("correct horse battery\n")
        self.path("pass").chmod(0o600)

    def path(self, name: str) -> Path:
        return self.folder / name

    def run(self, *words: str) -> None:
        assert operate(words, CLOCK) == 0, words

    def make_operators(self, capsys: pytest.CaptureFixture[str]) -> Path:
        for name in ("alice", "bob"):
            key, secret = str(self.path(f"{name}.key")), str(self.path("pass"))
            self.run("key", "create", key, "--passphrase-file", secret)
            capsys.readouterr()
            self.run("key", "show", key, "--person", name, "--classes", "A,B")
            self.path(f"{name}.json").write_text(capsys.readouterr().out)
        entries = [str(self.path(f"{name}.json")) for name in ("alice", "bob")]
        self.run("list", "make", *entries, "--output", str(self.path("operators.json")))
        self.path("operators.json").chmod(0o644)
        return self.path("operators.json")

    def sign(self, name: str, *words: str, by: tuple[str, ...]) -> bytes:
        file = str(self.path(f"{name}.command.json"))
        key = str(self.path(f"{by[0]}.key"))
        self.run("command", "new", *words, "--reason", "a test", "--key", key, "--output", file)
        for person in by:
            self.run(
                *("sign", file, "--key", str(self.path(f"{person}.key")), "--yes"),
                *("--passphrase-file", str(self.path("pass"))),
                *("--operators", str(self.path("operators.json"))),
            )
        return Path(file).read_bytes()


def start_sensor(folder: Path, sensor: int, gateway: GatewaySettings, base: Path, operators: Path) -> Any:
    state = StateFolder(folder)
    keys.save_private(sensor_key(sensor), state.path / "key.pem")
    public = keys.public_bytes(keys.load_private(base / "signing.pem"))
    known = (GatewayKey(keys.gateway_key_id(public), public),)
    state.save_identity(EnrolAnswer(sensor, 1, 1, known, 0, Wanted()), gateway, at_us=CLOCK.now_us())
    settings = {
        "state_dir": str(folder),
        "operators_file": str(operators),
        "heartbeat_seconds": 0.3,
        "first_connect_seconds": 0.0,
        "poll_seconds": 0.05,
        "exclude_own": False,
    }
    config = folder / "sensor.toml"
    config.write_text("[sensor]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in settings.items()))
    return subprocess.Popen([sys.executable, "-m", "teiten.sensor.main", "upload", "--config", str(config)])


def wait_until(is_so: Callable[[], Any], seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := is_so()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)
    return found


def hand_in(content: bytes, cast: Cast, targets: list[int] | None = None) -> Command:
    """Do at the base what `teiten command submit --start` does."""
    from teiten.fleet.commands import services
    from teiten.fleet.rollouts.advancing import advance_all
    from teiten.fleet.services import Act

    act = Act(CLOCK.now(), cast.dana)
    command, _ = services.submit(content, targets=targets, act=act)
    started = services.start(command, act=act, per_minute=10_000, stages=[100])
    advance_all(CLOCK.now(), CONFIG)
    return started


def wait_for_answer(command: Command, sensor: int) -> results.Result:
    from teiten.fleet.commands.models import CommandResult

    row = wait_until(lambda: CommandResult.objects.filter(command=command, sensor=sensor).first())
    results.verify_result(keys.public_bytes(sensor_key(sensor)), bytes(row.body), bytes(row.signature))
    return results.read_result(bytes(row.body))


def test_it_works(
    database: str,
    database_url: str,
    cast: Cast,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from teiten.fleet.commands.models import SensorChain
    from teiten.fleet.commands.operators import import_operators
    from teiten.fleet.commands.targeting import resolve_selector
    from teiten.fleet.services import Act

    (sensor,) = enter_sensors(cast, CLOCK, 1)  # type: ignore[arg-type]  # only now() is asked
    office = Office(tmp_path / "office")
    operators = office.make_operators(capsys)
    import_operators(operators.read_bytes(), act=Act(CLOCK.now()))
    base = tmp_path / "base"
    base.mkdir()
    with open_base(base, database, database_url) as gateway:
        process = start_sensor(tmp_path / "sensor", sensor, gateway, base, operators)
        try:
            named = office.sign("status", "status", "--to", str(sensor), by=("alice",))
            first = wait_for_answer(hand_in(named, cast), sensor)

            found = resolve_selector("region = kanto")
            listed = office.path("kanto.json")
            listed.write_text(json.dumps({"selector": "region = kanto", "sensors": list(found.sensors)}))
            words = ("set_config", "payload_bytes=4", "--targets", str(listed))
            both = hand_in(office.sign("set", *words, by=("alice", "bob")), cast, list(found.sensors))
            second = wait_for_answer(both, sensor)

            wait_until(lambda: both.rollout.targets.get().state == "ok")
            told = wait_until(lambda: SensorChain.objects.filter(sensor=sensor, records=5).first())
        finally:
            process.terminate()
            process.wait(30)

    assert (first.state, json.loads(first.output)["sensor"]) == ("done", sensor)
    assert (second.state, json.loads(second.output)["payload_bytes"]) == ("done", 4)
    # What the base was told is what the sensor's own chain holds.
    head = verify_chain(tmp_path / "sensor" / "audit.chain")
    assert (head.count, head.head) == (5, bytes(told.head))
