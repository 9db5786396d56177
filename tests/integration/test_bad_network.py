"""A real gateway behind a line that is slow, lossy, full of holes or gone; and the sensor's real way to it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

import simulators_fixtures

from bad_line import BadLine, Faults, open_line
from sensor_wire import SENSOR, enter, needs_wire, wait_until
from teiten.foundation.clock import SystemClock
from teiten.gateway.config import GatewayConfig
from teiten.protocol import keys
from teiten.protocol.receipt import Receipt
from teiten.protocol.testing import START_US, make_columns
from teiten.sensor import reaching
from teiten.sensor.connection import parse_address
from teiten.sensor.errors import UplinkError
from teiten.sensor.sealing import BatchDraft, SealedBatch, SealingIdentity, seal_batch
from teiten.sensor.uplink import Uplink

pytestmark = [pytest.mark.requirement("R1.2", "R2.1"), *needs_wire()]

PORT = 8443
IDENTITY = SealingIdentity(SENSOR, 1, 1, keys.generate_key())
#: Little patience on both sides: every case is a slow line in a hurry.
SILENCE_SECONDS = 1.2
IMPATIENT = {"receive_seconds": SILENCE_SECONDS, "keepalive_seconds": 0.05}


class House:
    """A gateway at one end of a line, a sensor's uplink at the other."""

    def __init__(self, line: BadLine, gateway: SimpleNamespace) -> None:
        self.line, self.gateway = line, gateway
        self._seq = 0

    def seal(self, rows: int) -> SealedBatch:
        self._seq += 1
        draft = BatchDraft(START_US, START_US + 300_000_000, boot_id="0123456789abcdef", payload_bytes=64)
        columns = make_columns(rows, start_us=START_US, seed=self._seq)
        return seal_batch(IDENTITY, draft, columns=columns, seq=self._seq)

    def open_uplink(
        self, *, silence_seconds: float = SILENCE_SECONDS, addresses: tuple[str, ...] = ("192.0.2.1",)
    ) -> Uplink:
        public = keys.public_bytes(self.gateway.memory.signing_key)
        return Uplink(
            parse_address(
                f"https://gateway.example:{PORT}",
                pins=(self.gateway.pin,),
                authority=f"localhost:{PORT}",
                timeout_seconds=silence_seconds,
            ),
            SystemClock(),
            identity=IDENTITY,
            gateway_keys={keys.gateway_key_id(public): public},
            find_addresses=lambda _name: addresses,
        )

    def send(self, sealed: SealedBatch, uplink: Uplink | None = None) -> Receipt:
        """Send from the sensor's namespace."""
        used = uplink or self.open_uplink()
        try:
            return call_inside(self.line.here, lambda: used.send(sealed))
        finally:
            if uplink is None:
                used.close()

    def landed(self, sealed: SealedBatch) -> bool:
        return bool(self.gateway.memory.bodies.get((SENSOR, 1, sealed.seq)) == sealed.body)


def call_inside(namespace: str, work: Callable[[], Any]) -> Any:
    """Call in a thread that stands in a namespace; raises what it raises."""
    results: list[Any] = []

    def run() -> None:
        enter(namespace)
        try:
            results.append(work())
        except Exception as error:  # noqa: BLE001  # it is raised where the thread is waited for
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(results[0], Exception):
        raise results[0]
    return results[0]


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with pytest.MonkeyPatch.context() as patch, open_line() as line:

        def configure(**given: Any) -> GatewayConfig:
            return GatewayConfig(**{**given, **IMPATIENT, "host": "", "port": PORT})

        patch.setattr(simulators_fixtures, "GatewayConfig", configure)
        folder = tmp_path_factory.mktemp("gateway")
        with simulators_fixtures.open_gateway(folder, enter=lambda: enter(line.there)) as gateway:
            gateway.memory.public_keys[SENSOR] = keys.public_bytes(IDENTITY.private_key)
            yield House(line, gateway)
            line.faults = Faults()
            # Its loop must not end under a connection that is still being closed.
            wait_until(lambda: not call_inside(line.there, list_connections))


def list_connections() -> list[str]:
    """Give the connections that the gateway's process still holds (proc(5), net/tcp)."""
    rows = [line.split() for line in Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]]
    return [row[2] for row in rows if row[1].endswith(f":{PORT:04X}") and row[3] != "0A" and row[9] != "0"]


@pytest.fixture
def house(far: House) -> Iterator[House]:
    """The house with a good line, whatever a test made of it."""
    far.line.faults = Faults()
    yield far
    far.line.faults = Faults()


def test_a_slow_line_is_given_its_time(house: House) -> None:
    house.line.faults = Faults(bytes_per_second=10_000)
    sealed = house.seal(1_000)
    assert len(sealed.body) > 1.2 * SILENCE_SECONDS * 10_000, "it takes longer than silence is borne"

    house.send(sealed)

    assert house.landed(sealed)


def test_a_slow_line_is_used_again_for_the_next(house: House) -> None:
    house.line.faults = Faults(bytes_per_second=40_000)
    uplink = house.open_uplink()
    batches = [house.seal(1_000) for _ in range(2)]
    try:
        for sealed in batches:
            house.send(sealed, uplink)
    finally:
        uplink.close()

    assert all(map(house.landed, batches))


def test_a_tunnel_that_swallows_long_packets_lets_batches_through(house: House) -> None:
    house.line.faults = Faults(largest=1_280)
    sealed = house.seal(1_000)

    house.send(sealed)

    assert house.landed(sealed)


def test_what_is_lost_on_the_way_is_neither_lost_nor_doubled(house: House) -> None:
    house.line.faults = Faults(loss=0.1, delay_seconds=0.02)
    batches = [house.seal(100) for _ in range(4)]

    with_patience = house.open_uplink(silence_seconds=20)
    try:
        for sealed in batches:
            deliver(house, sealed, with_patience)
    finally:
        with_patience.close()

    assert all(map(house.landed, batches))
    assert house.gateway.memory.conflicts == 0


def deliver(house: House, sealed: SealedBatch, uplink: Uplink) -> None:
    """Send until it is receipted, as a sensor does; the gateway here has less patience than a real one."""
    for _try in range(10):
        try:
            house.send(sealed, uplink)
        except UplinkError:
            continue
        return
    pytest.fail("no receipt after ten tries")


def test_ipv6_that_leads_nowhere_costs_a_moment_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaching, "STAGGER_SECONDS", 0.2)
    house.line.faults = Faults(drops=lambda packet: packet[0] >> 4 == 6)
    uplink = house.open_uplink(addresses=("2001:db8::1", "192.0.2.1"), silence_seconds=5)
    took = []
    for _ in range(2):
        began = time.monotonic()
        house.send(house.seal(10), uplink)
        took.append(time.monotonic() - began)
        uplink.close()

    assert took[0] >= 0.2
    assert took[1] < 0.2, "what has answered comes first"


def test_a_line_that_dies_is_given_up_and_comes_back(house: House) -> None:
    house.line.faults = Faults(bytes_per_second=20_000)
    sealed = house.seal(1_000)
    cut = threading.Timer(0.4, lambda: setattr(house.line.faults, "is_cut", True))
    cut.start()
    began = time.monotonic()

    with pytest.raises(UplinkError, match=r"did not answer in 1\.2 s"):
        house.send(sealed)
    assert time.monotonic() - began < 0.4 + 3 * SILENCE_SECONDS
    cut.join()
    house.line.faults = Faults()

    house.send(sealed)
    assert house.landed(sealed)


def test_a_refusal_is_heard_while_the_batch_is_still_being_sent(house: House) -> None:
    house.line.faults = Faults(bytes_per_second=20_000)
    stranger = SENSOR + 1
    identity = SealingIdentity(stranger, 1, 1, IDENTITY.private_key)
    draft = BatchDraft(START_US, START_US + 300_000_000, boot_id="0123456789abcdef", payload_bytes=64)
    sealed = seal_batch(identity, draft, columns=make_columns(3_000, start_us=START_US, seed=1), seq=1)
    uplink = house.open_uplink()
    uplink._identity = identity
    began = time.monotonic()
    try:
        with pytest.raises(UplinkError, match=f"401 unknown_key: key {stranger}"):
            house.send(sealed, uplink)
    finally:
        uplink.close()

    assert time.monotonic() - began < len(sealed.body) / 20_000, "sooner than all of it could go out"
