"""A real gateway over memory: TLS, signatures, seals and receipts as in production, nothing on disk."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from teiten.foundation.clock import Clock, SystemClock
from teiten.gateway import tls
from teiten.gateway.config import GatewayConfig
from teiten.gateway.doors import Doors, SensorIdentity
from teiten.gateway.errors import EnrolRefused
from teiten.gateway.service import Gateway
from teiten.landing.errors import LandingFull, SequenceConflict
from teiten.landing.groups import Landed
from teiten.landing.segments import Arrival
from teiten.protocol import batch, commands, enrolment, keys, receipt
from teiten.protocol.batch import Batch, DecodeLimits
from teiten.protocol.enrolment import EnrolAnswer, EnrolRequest
from teiten.protocol.heartbeat import Heartbeat, HeartbeatAnswer
from teiten.protocol.receipt import Receipt
from teiten.protocol.sensor_config import SensorConfig


@dataclass
class Memory:
    """Landing and fleet in memory: what the gateway was given."""

    clock: Clock
    #: (sensor, epoch, seq) → body.
    bodies: dict[tuple[int, int, int], bytes] = field(default_factory=dict)
    receipts: dict[tuple[int, int, int], bytes] = field(default_factory=dict)
    #: How often a number came that was known already.
    repeats: int = 0
    conflicts: int = 0
    #: Next appends that answer "full".
    full: int = 0
    #: Next appends that land, but whose answer is lost.
    lost_answers: int = 0
    beats: dict[int, list[Heartbeat]] = field(default_factory=dict)
    secrets: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    public_keys: dict[int, bytes] = field(default_factory=dict)
    config: SensorConfig = field(default_factory=SensorConfig)
    #: Newest release that sensors are told they may take.
    release: int | None = None
    #: Sensor → what waits for it, as ``write_delivery`` writes it; what was answered waits no more.
    deliveries: dict[int, list[commands.Delivery]] = field(default_factory=dict)
    #: Command id → bodies and signatures of all answers, in the order they came.
    results: dict[str, list[tuple[bytes, bytes]]] = field(default_factory=dict)
    signing_key = keys.generate_key()

    def make_token(self, sensor: int) -> str:
        token = enrolment.make_token(f"t{sensor}", bytes([sensor % 256]) * 32)
        self.secrets[token.token_id] = (sensor, token.secret)
        return str(token)

    async def land(self, arrival: Arrival) -> Landed:
        before = self.repeats
        return Landed(await self.append(arrival), is_new=self.repeats == before)

    async def append(self, arrival: Arrival) -> bytes:
        name = (arrival.sensor, arrival.epoch, arrival.seq)
        if self.full:
            self.full -= 1
            raise LandingFull("full, says the test", retry_after_seconds=1)
        if name in self.bodies:
            self.repeats += 1
            if self.bodies[name] != arrival.body:
                self.conflicts += 1
                raise SequenceConflict("other bytes under this number")
            return self.receipts[name]
        self.bodies[name] = arrival.body
        self.receipts[name] = receipt.issue(
            self.signing_key,
            Receipt(
                *name,
                arrival.digest,
                self.clock.now_us(),
                keys.gateway_key_id(keys.public_bytes(self.signing_key)),
            ),
        )
        if self.lost_answers:
            self.lost_answers -= 1
            raise LandingFull("landed, but the answer is lost", retry_after_seconds=1)
        return self.receipts[name]

    async def find_trouble(self) -> None:
        return None

    async def identify(self, sensor: int, key_no: int) -> SensorIdentity | None:
        key = self.public_keys.get(sensor)
        return SensorIdentity(sensor, key_no, key, 1, "active") if key else None

    async def enrol(self, request: EnrolRequest, *, peer: str) -> EnrolAnswer:
        if request.token_id not in self.secrets:
            raise EnrolRefused("token_unknown", "this token is not known")
        sensor, secret = self.secrets[request.token_id]
        enrolment.verify_proof(request, secret)
        if self.public_keys.setdefault(sensor, request.public_key) != request.public_key:
            raise EnrolRefused("token_used", "used with another key", status=409)
        return EnrolAnswer(sensor, 1, 1, (), self.clock.now_us(), self.config)

    async def heartbeat(self, identity: SensorIdentity, beat: Heartbeat, *, peer: str) -> HeartbeatAnswer:
        beats = self.beats.setdefault(identity.sensor, [])
        assert not beats or beat.counter > beats[-1].counter
        beats.append(beat)
        waiting = len(self.deliveries.get(identity.sensor, ()))
        return HeartbeatAnswer(
            self.clock.now_us(), self.config, commands_pending=waiting, release=self.release
        )

    async def pending(self, identity: SensorIdentity) -> tuple[bytes, ...]:
        waiting = self.deliveries.get(identity.sensor, ())
        return tuple(commands.write_delivery(one) for one in waiting)[: commands.MAX_DELIVERIES]

    async def take_result(
        self, identity: SensorIdentity, command_id: str, body: bytes, signature: bytes
    ) -> bool:
        waiting = self.deliveries.get(identity.sensor, [])
        self.deliveries[identity.sensor] = [one for one in waiting if one.command_id != command_id]
        self.results.setdefault(command_id, []).append((body, signature))
        return len(self.results[command_id]) == 1

    def decode_all(self) -> dict[tuple[int, int, int], Batch]:
        return {name: batch.decode(body, DecodeLimits()) for name, body in list(self.bodies.items())}


def find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def open_gateway(
    folder: Path,
    clock: Clock | None = None,
    *,
    releases: Path | None = None,
    enter: Callable[[], None] = lambda: None,
) -> Iterator[SimpleNamespace]:
    """Run the gateway in a thread; give ``url``, ``pin``, ``authority`` and ``memory``.

    ``releases``: the update repository's public folder; ``enter``: called in the gateway's thread first.
    """
    memory = Memory(clock or SystemClock())
    port = find_port()
    config = GatewayConfig(port=port, metrics_port=find_port(), key_dir=folder, retry_seconds=1)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> Gateway:
        enter()
        doors = Doors(identify=memory, enrol=memory, heartbeat=memory, releases=releases, commands=memory)
        gateway = Gateway(
            config,
            doors=doors,
            landing=memory,  # type: ignore[arg-type]  # only what the endpoints call
            signing_key=memory.signing_key,
            key_dir=folder,
            clock=memory.clock,
        )
        await gateway.start()
        return gateway

    gateway = asyncio.run_coroutine_threadsafe(start(), loop).result(20)
    certificate, _ = gateway.certificate()
    try:
        yield SimpleNamespace(
            url=f"https://localhost:{port}",
            authority=f"localhost:{port}",
            pin=tls.pin_of(certificate),
            memory=memory,
        )
    finally:
        asyncio.run_coroutine_threadsafe(gateway.stop(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
