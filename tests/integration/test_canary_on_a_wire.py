"""A real prober process, a firewall that blocks one port, and a real sensor process behind it."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from sensor_wire import (
    HOST4,
    HOST6,
    SENSOR,
    Wire,
    command,
    enter,
    make_state,
    needs_wire,
    open_wire,
    read_batches,
    read_status,
    stop,
    wait_until,
)
from teiten.fleet.canary import files
from teiten.loader.canaries import take_out
from teiten.loader.verifying import Verified
from teiten.protocol import canary
from teiten.protocol.canary import TCP, UDP, Target

pytestmark = [*needs_wire("nft"), pytest.mark.requirement("R1.3")]

#: A slot of a day: no boundary falls into the test, but for one at midnight (UTC).
HELD = files.KeyFile("lab", bytes(range(32)), ("192.0.2.1", "2001:db8::1"), 86_400)
TARGETS = (Target(SENSOR, HOST4), Target(SENSOR, HOST6))


@pytest.fixture
def wire() -> Iterator[Wire]:
    with open_wire() as opened:
        yield opened


class Listener:
    """A UDP service on the sensor's host: its kernel gives it only what has a right checksum."""

    def __init__(self, namespace: str) -> None:
        self.payloads: list[bytes] = []
        self._ready = threading.Event()
        threading.Thread(target=self._run, args=(namespace,), daemon=True).start()
        assert self._ready.wait(10)

    def _run(self, namespace: str) -> None:
        enter(namespace)
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as opened:
            opened.bind(("::", 53))
            opened.settimeout(20)
            self._ready.set()
            try:
                while len(self.payloads) < 2:
                    self.payloads.append(opened.recv(100))
            except TimeoutError:
                return


def probe(wire: Wire, folder: Path, *, tcp: tuple[int, ...], udp: tuple[int, ...]) -> files.SentLog:
    """Run a prober process for one slot and give its log."""
    folder.mkdir()
    files.write_key_file(folder / "key.json", HELD)
    files.write_plan(folder / "plan.json", files.Plan("lab", TARGETS, tcp, udp))
    words = ("--key", "key.json", "--plan", "plan.json", "--log", ".", "--slots", "1", "--per-second", "20")
    run = ("ip", "netns", "exec", wire.scanner, sys.executable, "-m", "teiten.cli.main", "canary", "send")
    done = subprocess.run((*run, *words), cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("canary-lab-*.json")
    return files.read_log(path, find_key=lambda _: HELD.key)


def test_what_the_firewall_lets_through_is_known_and_what_not_is_missing(wire: Wire, tmp_path: Path) -> None:
    nft = ("ip", "netns", "exec", wire.scanner, "nft")
    command(*nft, "add", "table", "netdev", "wall")
    # Behind everything that the prober could notice, as a firewall on the way is.
    command(
        *nft, "add", "chain", "netdev", "wall", "out", "{ type filter hook egress device v0 priority 0; }"
    )
    command(
        *nft, "add", "rule", "netdev", "wall", "out", "meta", "protocol", "ip", "tcp", "dport", "23", "drop"
    )
    state = make_state(tmp_path)
    listener = Listener(wire.host)
    sensor = wire.start_sensor(state, "--config", str(state / "sensor.toml"))

    first = probe(wire, tmp_path / "first", tcp=(23,), udp=(53,))
    second = probe(wire, tmp_path / "second", tcp=(80,), udp=())
    wait_until(lambda: int(read_status(state).get("packets", {}).get("captured", 0)) >= 5)
    assert stop(sensor) == 0

    sent = {(one.target.address, one.protocol, one.port) for one in (*first.probes, *second.probes)}
    assert sent == {
        (address, protocol, port)
        for address in (HOST4, HOST6)
        for protocol, port in ((TCP, 23), (TCP, 80), (UDP, 53))
    }
    batches = [Verified(SimpleNamespace(sensor=SENSOR), one, "kanto") for one in read_batches(state)]  # type: ignore[arg-type]
    arrivals: list[Any] = []
    addresses = tuple(canary.pack_address(address) for address in HELD.addresses)
    prober = canary.ProberKey(number=1, key=HELD.key, addresses=addresses, slot_seconds=HELD.slot_seconds)
    door = SimpleNamespace(list_probers=lambda: (prober,), note_arrivals=arrivals.extend)

    kept = take_out(batches, door)

    arrived = {(one.address, one.protocol, one.port) for one in arrivals}
    blocked = (canary.pack_address(HOST4), TCP, 23)
    assert arrived == {(canary.pack_address(one[0]), *one[1:]) for one in sent} - {blocked}
    assert sum(one.batch.header.excluded for one in kept) >= 5
    left = [int(port) for one in kept for port in one.batch.columns["src_port"]]  # type: ignore[union-attr]
    assert not [port for port in left if port >= canary.FIRST_PORT], "no canary is counted"
    wait_until(lambda: len(listener.payloads) == 2, lambda: "the host's kernel threw a datagram away")
