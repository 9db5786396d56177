"""Real sensor processes and a real gateway whose base is captured: it can make them do nothing, and say nothing.

The base here is the attacker's: it holds the gateway's keys, delivers what it likes and
answers what it likes. What it does not hold are operators' keys and sensors' keys.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from teiten.foundation.clock import SystemClock
from teiten.protocol import commands, keys, results
from teiten.protocol.command_testing import make_command, make_key, make_operators, sign
from teiten.protocol.commands import Command, Delivery, Envelope, Targets
from teiten.protocol.enrolment import EnrolAnswer, GatewayKey
from teiten.protocol.errors import CommandError, ResultError
from teiten.protocol.results import Result
from teiten.protocol.sensor_config import SensorConfig as Wanted
from teiten.sensor.chain import read_chain, verify_chain
from teiten.sensor.obeying.handing import RequestBox, places_of
from teiten.sensor.state import GatewaySettings, StateFolder

sys.path.insert(0, str(Path(__file__).parent))
from simulators_fixtures import open_gateway

SENSOR = 7
pytestmark = pytest.mark.requirement("R1.3", "R2.1")


def now_s() -> int:
    return SystemClock().now_us() // 1_000_000


def wait_until(is_so: Callable[[], Any], seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := is_so()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return found


class House:
    """One sensor's folders, and the processes that work on them."""

    def __init__(self, folder: Path, gateway: SimpleNamespace) -> None:
        self.folder = folder
        self.memory = gateway.memory
        self.state = StateFolder(folder / "state")
        self.key = self.state.make_key()
        self.memory.public_keys[SENSOR] = keys.public_bytes(self.key)
        self._enter(gateway)
        self._settle(gateway)
        self.started: list[subprocess.Popen[bytes]] = []

    def _enter(self, gateway: SimpleNamespace) -> None:
        public = keys.public_bytes(self.memory.signing_key)
        known = (GatewayKey(keys.gateway_key_id(public), public),)
        answer = EnrolAnswer(SENSOR, 1, 1, known, 0, Wanted())
        settings = GatewaySettings(gateway.url, gateway.authority, (gateway.pin,), "")
        self.state.save_identity(answer, settings, at_us=SystemClock().now_us())

    def _settle(self, gateway: SimpleNamespace) -> None:
        operators = self.folder / "operators.json"
        operators.write_bytes(make_operators(now_s()).to_json())
        operators.chmod(0o644)
        self.config = self.folder / "sensor.toml"
        settings = {
            "state_dir": str(self.state.path),
            "operators_file": str(operators),
            "helper_dir": str(self.folder / "helper"),
            "allow_exec": True,
            "number": SENSOR,
            "heartbeat_seconds": 0.3,
            "first_connect_seconds": 0.0,
            "poll_seconds": 0.05,
            "exclude_own": False,
        }
        self.config.write_text(
            "[sensor]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
        )

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        with (self.folder / "sensor.log").open("ab") as log:
            process = subprocess.Popen(self.words(*words), stdout=log, stderr=log)
        self.started.append(process)
        return process

    def words(self, *words: str) -> list[str]:
        return [
            sys.executable,
            "-m",
            "teiten.sensor.main",
            words[0],
            "--config",
            str(self.config),
            *words[1:],
        ]

    def obey(self) -> None:
        """Run the root helper once, as its path unit would."""
        subprocess.run(self.words("obey"), check=True, timeout=60)

    def deliver(self, *deliveries: Delivery) -> None:
        self.memory.deliveries[SENSOR] = list(deliveries)

    def order(self, verb: str, *names: str, **changes: Any) -> Command:
        command = make_command(verb, now_s=now_s(), **changes)
        self.deliver(Delivery(command.command_id, sign(command, *names)))
        return command

    def result(self, command_id: str, which: int = 0) -> Result:
        """Wait for an answer, and believe it only by the sensor's own signature."""
        wait_until(lambda: len(self.memory.results.get(command_id, ())) > which)
        body, signature = self.memory.results[command_id][which]
        results.verify_result(self.memory.public_keys[SENSOR], body, signature)
        return results.read_result(body)

    def kinds(self) -> list[str]:
        return [record.kind for record in read_chain(self.state.path / "audit.chain")]

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    with open_gateway(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@pytest.fixture
def house(tmp_path: Path, gateway: SimpleNamespace) -> Iterator[House]:
    for table in ("deliveries", "results", "beats", "public_keys"):
        getattr(gateway.memory, table).clear()
    house = House(tmp_path, gateway)
    yield house
    house.close()


def test_it_works(house: House) -> None:
    house.start("upload")
    command = house.order("status", "alice")

    result = house.result(command.command_id)

    assert (result.state, result.sensor, result.key_no) == ("done", SENSOR, 1)
    assert json.loads(result.output)["sensor"] == SENSOR
    assert house.kinds() == ["sensor.started", "command.accepted", "command.ended"]
    head = wait_until(lambda: [beat.audit for beat in house.memory.beats[SENSOR] if beat.audit.count == 3])
    assert head[-1] == verify_chain(house.state.path / "audit.chain")
    tail = house.order("log_tail", "alice", arguments={"lines": 50}, counter=now_s() + 1)
    assert "A command is obeyed" in house.result(tail.command_id).output


def make_attacks(mark: Path) -> list[tuple[str, Envelope]]:
    """Make what a captured base may try so that the file ``mark`` is made, each with why it must be refused."""
    touch = {"argv": ["/usr/bin/touch", str(mark)], "timeout_s": 5}
    now = now_s()
    good = make_command("exec", now_s=now, arguments=touch, sensors=(8,))
    for_other = sign(good, "alice", "bob")
    reserialised = Envelope(json.dumps(json.loads(for_other.payload)).encode(), for_other.signatures)
    payload = for_other.payload.replace(b'"sensors":[8]', b'"sensors":[7]')
    retargeted = Envelope(payload, for_other.signatures)

    def made(number: int, *names: str, verb: str = "exec", **changes: Any) -> Envelope:
        given = {"now_s": now, "counter": now + number, "arguments": touch, **changes}
        return sign(make_command(verb, **given), *names)

    listed = Targets(selector="all", max_sensors=2, resolved_sha256=commands.digest_of_sensors([8, 9]))
    return [
        ("not_targeted", for_other),
        ("signature_wrong", retargeted),
        ("signatures_few", made(1, "alice", "alice-2")),
        ("key_withdrawn", made(2, "alice", "eve")),
        ("key_unknown", made(3, "alice", "base")),
        ("creator_unsigned", made(4, "bob", "carol")),
        ("expired", made(5, "alice", "bob", now_s=now - 3600)),
        ("lifetime", made(6, "alice", "bob", expires_s=now + 86_400)),
        ("targets_explicit", made(7, "alice", "bob", targets=listed)),
        ("class_wrong", made(8, "alice", command_class="A")),
        ("arguments", made(9, "alice", "bob", arguments={"argv": "touch", "timeout_s": 5})),
        ("role_missing", made(10, "alice", "bob", verb="wipe", arguments={})),
        ("targets_differ", made(11, "alice", "bob", verb="restart", arguments={}, targets=listed)),
        ("form", Envelope(b'{"v":1,"verb":"exec"}', for_other.signatures)),
        ("signature_wrong", reserialised),
    ]


def test_a_captured_base_can_run_nothing(house: House) -> None:
    mark = house.folder / "ran"
    process = house.start("upload")
    found = {}
    for number, (reason, envelope) in enumerate(make_attacks(mark)):
        command_id = _id_of(envelope, commands.make_command_id(number * 1000, bytes(10)))
        resolved = (7, 8, 9) if reason == "targets_differ" else None
        # Each goes to the sending process, and past it to the root helper, as a captured sensor would.
        RequestBox(places_of(house.state.path, house.folder / "helper")).hand_over(
            Delivery(command_id, envelope, resolved)
        )
        which = len(house.memory.results.get(command_id, ()))
        house.deliver(Delivery(command_id, envelope, resolved))
        found[number] = (house.result(command_id, which).reason, reason)
    house.obey()

    assert all(told == reason for told, reason in found.values()), found
    assert not mark.exists()
    assert process.poll() is None
    assert house.kinds() == ["sensor.started", *["command.refused"] * len(found)]
    helper_kinds = {record.kind for record in read_chain(house.folder / "helper" / "audit.chain")}
    assert helper_kinds == {"command.refused"}


def _id_of(envelope: Envelope, fallback: str) -> str:
    try:
        return commands.read_command(envelope.payload).command_id
    except CommandError:
        return fallback


def test_a_captured_base_can_forge_no_result(house: House) -> None:
    house.start("upload")
    command = house.order("status", "alice")
    house.result(command.command_id)
    body, signature = house.memory.results[command.command_id][0]
    mine, other = house.memory.public_keys[SENSOR], keys.public_bytes(make_key("another sensor"))

    forged = body.replace(b'"state":"done","reason":""', b'"state":"failed","reason":"failed"')
    assert forged != body
    for public_key, told, signed in (
        (mine, forged, signature),
        (mine, body, house.memory.signing_key.sign(body)),
        (mine, body, results.sign_result(house.memory.signing_key, body)),
        (other, body, signature),
    ):
        with pytest.raises(ResultError, match="not of this sensor"):
            results.verify_result(public_key, told, signed)
    # The answer to junk under a genuine id is the answer to the junk, and says so.
    junk = make_command("status", now_s=now_s(), counter=now_s() + 5)
    house.deliver(Delivery(junk.command_id, Envelope(b"junk")))
    refusal = house.result(junk.command_id)
    assert refusal.state == "refused"
    assert refusal.payload_sha256 != hashlib.sha256(commands.write_command(junk)).digest()


def test_a_command_that_needs_root_is_run_once_by_the_helper_alone(house: House) -> None:
    runs = house.folder / "runs"
    script = f"echo run >> {runs}; id -u"
    command = house.order(
        "exec", "alice", "bob", arguments={"argv": ["/bin/sh", "-c", script], "timeout_s": 5}
    )
    process = house.start("upload")
    requests = house.state.path / "obey" / "requests"
    wait_until(lambda: list(requests.glob("*.json")))
    saved = {path: path.read_bytes() for path in requests.glob("*.json")}
    process.send_signal(signal.SIGKILL)
    process.wait()

    house.obey()
    house.start("upload")
    result = house.result(command.command_id)

    assert (result.state, result.output) == ("done", f"{os.getuid()}\n")
    for path, content in saved.items():
        path.write_bytes(content)
        (house.folder / "helper" / "outcomes" / path.name).unlink()
    house.obey()
    assert runs.read_text() == "run\n"


def test_a_helper_that_is_killed_on_the_way_never_runs_it_again(house: House) -> None:
    runs = house.folder / "runs"
    script = f"echo run >> {runs}; sleep 30"
    command = house.order(
        "exec", "alice", "bob", arguments={"argv": ["/bin/sh", "-c", script], "timeout_s": 60}
    )
    house.start("upload")
    requests = house.state.path / "obey" / "requests"
    wait_until(lambda: list(requests.glob("*.json")))
    helper = house.start("obey")
    wait_until(runs.exists)
    helper.kill()
    helper.wait()

    house.obey()
    result = house.result(command.command_id)

    assert (result.state, result.reason) == ("failed", "interrupted")
    assert runs.read_text() == "run\n"
    assert house.kinds()[-1] == "command.ended"


def test_a_sensor_that_is_killed_keeps_its_answers(house: House) -> None:
    process = house.start("upload")
    wait_until(lambda: house.memory.beats.get(SENSOR))
    process.kill()
    process.wait()
    command = house.order("set_config", "alice", "bob", arguments={"payload_bytes": 3})
    process = house.start("upload")
    house.result(command.command_id)
    process.kill()
    process.wait()

    # A base that lost everything asks again: the same answer, and nothing is done twice.
    house.memory.results.clear()
    house.deliver(Delivery(command.command_id, sign(command, "alice", "bob")))
    house.start("upload")

    assert house.result(command.command_id).state == "done"
    assert house.kinds().count("command.accepted") == 1
    assert json.loads((house.state.path / "commanded.json").read_text()) == {"payload_bytes": 3}


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="capturing needs root")
def test_a_sensor_that_supervises_itself_switches_and_begins_again(house: House) -> None:
    process = house.start("run", "--interface", "lo", "--observed", "127.0.0.77/32")

    def status() -> dict[str, Any]:
        return house.state.read_json("capture.json")

    def order(number: int, verb: str, *names: str, **changes: Any) -> Result:
        command = house.order(verb, *(names or ("alice", "bob")), counter=now_s() + number, **changes)
        return house.result(command.command_id)

    first = wait_until(lambda: status().get("running") and status()["boot_id"])
    assert order(1, "capture_off").state == "done"
    wait_until(lambda: status()["last_error"] == "recording is off by command")
    assert order(2, "capture_on").state == "done"
    second = wait_until(lambda: status()["boot_id"] != first and status()["running"] and status()["boot_id"])
    assert order(3, "restart").state == "done"
    wait_until(lambda: status()["boot_id"] not in (first, second) and status()["running"])
    refused = order(4, "exec", arguments={"argv": ["/bin/true"], "timeout_s": 1})
    assert (refused.state, refused.reason) == ("refused", "needs_service")
    assert process.poll() is None
    process.terminate()
    assert process.wait(30) == 0
