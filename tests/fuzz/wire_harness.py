"""A gateway without sockets: bytes in, bytes out, and what must never come of them.

The gateway's own HTTP side runs over a transport in memory, so that a fuzzer can ask
thousands of times a second. Doors and landing are dictionaries with the rules of the real ones.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.foundation.clock import FixedClock, from_us
from teiten.gateway import listener
from teiten.gateway.config import GatewayConfig
from teiten.gateway.doors import Doors
from teiten.gateway.service import Gateway
from teiten.gateway.testing import AUTHORITY, DictionaryDoors, HonestSensor
from teiten.landing.errors import SequenceConflict
from teiten.landing.groups import Landed
from teiten.landing.segments import Arrival
from teiten.protocol import keys, seal
from teiten.protocol.heartbeat import Heartbeat
from teiten.protocol.rotation import RotateAnswer, RotateRequest

NOW_US = 1_795_230_000_000_000
NOW_S = NOW_US // 1_000_000
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
GATEWAY_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(3, 35)))
SENSOR = HonestSensor(KEY)
BODY = b"a batch, as far as a gateway knows"
BEAT = Heartbeat(1, "boot-aaaaaaaa", "0.1.0", 5, None, 0, 0, 0, 0, 0, 0, "", None, 1)
#: What a request may be answered with; 500 would be a bug, 503 a door that we did not close.
EXPECTED = frozenset({200, 201, 400, 401, 403, 404, 405, 408, 409, 411, 413, 429, 431})
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) ")
_ROUNDS = 40


class UnexpectedAnswerError(Exception):
    """The gateway did what it must never do."""


class MemoryLanding:
    """Lands into a dictionary."""

    def __init__(self) -> None:
        self.arrivals: dict[tuple[int, int, int], Arrival] = {}

    async def land(self, arrival: Arrival) -> Landed:
        known = self.arrivals.setdefault(arrival.name, arrival)
        if known.digest != arrival.digest:
            raise SequenceConflict("received with another digest")
        return Landed(b'{"receipt":1}', is_new=known is arrival)

    async def find_trouble(self) -> str | None:
        return None


class RotatingDoors(DictionaryDoors):
    """The dictionary doors, with rotation and recovery."""

    def as_doors(self) -> Doors:
        return Doors(identify=self, enrol=self, heartbeat=self, rotate=self, recover=self)  # type: ignore[arg-type]

    async def rotate(self, identity: Any, request: RotateRequest, *, peer: str) -> RotateAnswer:
        del peer
        return RotateAnswer(identity.sensor, request.key_no, 1)

    async def recover(self, request: Any, *, peer: str) -> Any:
        return await self.enrol(request, peer=peer)


class MemoryTransport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self, lose: Callable[[], None]) -> None:
        super().__init__()
        self.written = bytearray()
        self.is_closed = False
        self._lose = lose

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.77", 50_000) if name == "peername" else default

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self._lose()

    abort = close

    def pause_reading(self) -> None:
        """Have everything already."""

    def resume_reading(self) -> None:
        """Have everything already."""

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Keep everything."""


class WireHarness:
    """One gateway for many inputs."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.landing = MemoryLanding()
        self.doors = RotatingDoors()
        self.doors.add(SENSOR.sensor, SENSOR.public_key)
        self.doors.tokens["0abc"] = b"s" * 32
        self.clock = FixedClock(from_us(NOW_US))
        config = GatewayConfig(authority=AUTHORITY, max_batch_bytes=100_000, receive_seconds=5.0)
        gateway = Gateway(
            config,
            doors=self.doors.as_doors(),
            landing=self.landing,  # type: ignore[arg-type]  # only what the endpoints call
            signing_key=GATEWAY_KEY,
            key_dir=Path("unused"),
            clock=self.clock,
        )
        self._gateway = gateway
        self._runner = self.run(self._make_runner(config))

    async def _make_runner(self, config: GatewayConfig) -> Any:
        runner = listener.make_runner(config, self._gateway._serve, self.clock)
        await runner.setup()
        return runner

    def run(self, what: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(what)

    def close(self) -> None:
        self.run(self._runner.cleanup())
        self.loop.close()

    def answer(self, parts: Sequence[bytes]) -> bytes:
        """Give what the gateway answers to bytes that come in these parts, then end."""
        return bytes(self.run(self._answer(parts)))

    def check(self, parts: Sequence[bytes]) -> list[int]:
        """Ask, and give the statuses of the answers.

        Raises:
            UnexpectedAnswerError: for an answer that must not be, or a batch that nobody sealed.
        """
        heard = self.answer(parts)
        statuses = [int(text) for text in _STATUS.findall(heard)]
        if not set(statuses) <= EXPECTED:
            raise UnexpectedAnswerError(f"{statuses}: {heard[:400]!r}")
        for arrival in self.landing.arrivals.values():
            seal.verify(
                keys.public_bytes(KEY),
                arrival.seal,
                sensor=arrival.sensor,
                key_no=arrival.key_no,
                epoch=arrival.epoch,
                seq=arrival.seq,
                digest=seal.digest_of(arrival.body),
            )
        self.landing.arrivals.clear()
        self.doors.beats.clear()
        self.doors.bound.clear()
        self.doors.identities.clear()
        self.doors.add(SENSOR.sensor, SENSOR.public_key)
        return statuses

    async def _answer(self, parts: Sequence[bytes]) -> bytearray:
        server: Any = self._runner.server
        connection = server()
        transport = MemoryTransport(lambda: self.loop.call_soon(connection.connection_lost, None))
        connection.connection_made(transport)
        for part in parts:
            if not transport.is_closed:
                connection.data_received(part)
            await asyncio.sleep(0)
        for _ in range(_ROUNDS):
            await asyncio.sleep(0)
        transport.close()
        for _ in range(_ROUNDS):
            await asyncio.sleep(0)
            if connection not in server._connections:
                break
        return transport.written


def write_request(method: str, target: str, fields: dict[str, str], body: bytes) -> bytes:
    """Write a request as it goes onto the wire."""
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body


def signed(method: str, target: str, body: bytes) -> bytes:
    """Write a request that the honest sensor signed."""
    made = SENSOR.sign(method, target, body, created_s=NOW_S)
    return write_request(method, target, made.fields, body)


def unsigned(target: str, body: bytes) -> bytes:
    """Write a request under its digest alone."""
    from teiten.protocol import signature

    fields = {
        "Host": AUTHORITY,
        "Content-Length": str(len(body)),
        signature.DIGEST_FIELD: signature.format_digest(seal.digest_of(body)),
    }
    return write_request("POST", target, fields, body)


def honest_batch(seq: int = 1) -> bytes:
    made = SENSOR.put(seq, BODY, created_s=NOW_S)
    return write_request(made.method, made.target, made.fields, made.body)
