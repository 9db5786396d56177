"""The gateway for tests: doors over a dictionary, a gateway in a thread, a raw client."""

from __future__ import annotations

import asyncio
import json
import selectors
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.foundation.clock import Clock
from teiten.gateway.config import GatewayConfig
from teiten.gateway.doors import DoorClosed, Doors, SensorIdentity
from teiten.gateway.errors import EnrolRefused, Refusal
from teiten.gateway.service import Gateway
from teiten.landing.log import LandingLog
from teiten.protocol import enrolment, keys, seal, signature
from teiten.protocol.enrolment import EnrolAnswer, EnrolRequest
from teiten.protocol.errors import TokenError
from teiten.protocol.heartbeat import Heartbeat, HeartbeatAnswer
from teiten.protocol.sensor_config import SensorConfig
from teiten.protocol.signature import RequestTarget, SignedFields

AUTHORITY = "gateway.example:8443"

_PATIENCE = 500


class DictionaryDoors:
    """All three doors over dictionaries, with the rules of the real ones."""

    def __init__(self) -> None:
        self.identities: dict[tuple[int, int], SensorIdentity] = {}
        self.tokens: dict[str, bytes] = {}
        self.beats: dict[int, Heartbeat] = {}
        self.bound: dict[str, bytes] = {}
        self.is_closed = False

    def as_doors(self) -> Doors:
        return Doors(identify=self, enrol=self, heartbeat=self)

    def add(self, sensor: int, public_key: bytes) -> None:
        self.identities[sensor, 1] = SensorIdentity(sensor, 1, public_key=public_key, epoch=1, state="active")

    def change(self, sensor: int, **values: Any) -> None:
        self.identities[sensor, 1] = replace(self.identities[sensor, 1], **values)

    async def identify(self, sensor: int, key_no: int) -> SensorIdentity | None:
        if self.is_closed:
            raise DoorClosed("the control database does not answer")
        return self.identities.get((sensor, key_no))

    async def enrol(self, request: EnrolRequest, *, peer: str) -> EnrolAnswer:
        secret = self.tokens.get(request.token_id)
        if secret is None:
            raise EnrolRefused("token_unknown", f"token {request.token_id} is not known to {peer}")
        try:
            enrolment.verify_proof(request, secret)
        except TokenError as error:
            raise EnrolRefused("token_proof", str(error)) from error
        if self.bound.setdefault(request.token_id, request.public_key) != request.public_key:
            raise EnrolRefused("token_used", "the token is bound to another key", status=409)
        self.add(99, request.public_key)
        return EnrolAnswer(99, 1, 1, (), 0, SensorConfig())

    async def heartbeat(self, identity: SensorIdentity, beat: Heartbeat, *, peer: str) -> HeartbeatAnswer:
        last = self.beats.get(identity.sensor)
        if last is not None and last.counter >= beat.counter:
            raise Refusal(409, "heartbeat_stale", f"counter {beat.counter} came before, from {peer}")
        self.beats[identity.sensor] = beat
        return HeartbeatAnswer(0, SensorConfig())


@dataclass
class RunningGateway:
    """A gateway that runs in a thread of its own."""

    gateway: Gateway
    loop: asyncio.AbstractEventLoop
    doors: DictionaryDoors

    @property
    def port(self) -> int:
        return self.gateway.port


@contextmanager
def run_gateway(
    landing: LandingLog,
    *,
    config: GatewayConfig,
    signing_key: Ed25519PrivateKey,
    key_dir: Path,
    clock: Clock,
    doors: DictionaryDoors | None = None,
) -> Iterator[RunningGateway]:
    """Run landing and gateway until the end of the block."""
    own_doors = doors or DictionaryDoors()
    gateway = Gateway(
        config,
        doors=own_doors.as_doors(),
        landing=landing,
        signing_key=signing_key,
        key_dir=key_dir,
        clock=clock,
    )
    selector = selectors.DefaultSelector()
    loop = asyncio.SelectorEventLoop(selector)
    thread = threading.Thread(target=loop.run_forever, name="gateway", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(_start(landing, gateway), loop).result(30)
        yield RunningGateway(gateway, loop, own_doors)
    finally:
        asyncio.run_coroutine_threadsafe(_stop(landing, gateway, selector), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _start(landing: LandingLog, gateway: Gateway) -> None:
    await landing.start()
    await gateway.start()


async def _stop(landing: LandingLog, gateway: Gateway, selector: selectors.BaseSelector) -> None:
    await gateway.stop()
    await landing.stop()
    # Connections that were aborted or still shake hands must end before their loop does; the
    # loop's own pipe to itself stays.
    for _ in range(_PATIENCE):
        if len(selector.get_map()) <= 1:
            break
        await asyncio.sleep(0.01)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


@dataclass
class Answer:
    """What came back, with field names in lower case."""

    status: int
    fields: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        value = json.loads(self.body)
        return value if isinstance(value, dict) else {}

    @property
    def signed(self) -> SignedFields:
        return SignedFields(
            self.fields.get("content-digest", ""),
            self.fields.get("signature-input", ""),
            self.fields.get("signature", ""),
        )


@dataclass
class RawClient:
    """A client that sends exactly what it is told, right or wrong."""

    port: int
    host: str = "127.0.0.1"
    _socket: ssl.SSLSocket | None = field(default=None, init=False)

    def send(self, method: str, target: str, fields: list[tuple[str, str]], body: bytes = b"") -> Answer:
        """Send one request over the open connection, or a new one, and read the answer."""
        head = "".join(f"{name}: {value}\r\n" for name, value in fields)
        self.connect().sendall(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body)
        return self.read()

    def connect(self) -> ssl.SSLSocket:
        if self._socket is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            plain = socket.create_connection((self.host, self.port), timeout=20)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wire = context.wrap_socket(plain, do_handshake_on_connect=False)
            try:
                wire.do_handshake()
            except BaseException:
                wire.close()
                raise
            self._socket = wire
        return self._socket

    def read(self) -> Answer:
        connection = self.connect()
        received = b""
        while b"\r\n\r\n" not in received:
            received += _receive(connection)
        head, _, body = received.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        fields = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        while len(body) < int(fields.get("content-length", "0")):
            body += _receive(connection)
        if fields.get("connection") == "close":
            self.close()
        return Answer(int(lines[0].split()[1]), fields, body)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _receive(connection: ssl.SSLSocket) -> bytes:
    part = connection.recv(65_536)
    if not part:
        raise ConnectionError("the gateway closed the connection")
    return part


@dataclass(frozen=True)
class MadeRequest:
    """A request that an honest sensor would send, to be sent or spoilt."""

    method: str
    target: str
    fields: dict[str, str]
    body: bytes

    @property
    def signed(self) -> SignedFields:
        return SignedFields(
            self.fields["Content-Digest"], self.fields["Signature-Input"], self.fields["Signature"]
        )

    def as_list(self) -> list[tuple[str, str]]:
        return list(self.fields.items())


@dataclass(frozen=True)
class HonestSensor:
    """A sensor that does everything right."""

    key: Ed25519PrivateKey
    sensor: int = 7
    key_no: int = 1
    authority: str = AUTHORITY

    @property
    def public_key(self) -> bytes:
        return keys.public_bytes(self.key)

    def put(self, seq: int, body: bytes, *, created_s: int, epoch: int = 1) -> MadeRequest:
        """Make a sealed and signed batch request."""
        digest = seal.digest_of(body)
        sealed = seal.seal(
            self.key, sensor=self.sensor, key_no=self.key_no, epoch=epoch, seq=seq, digest=digest
        )
        made = self.sign("PUT", f"/v1/batches/{epoch}/{seq}", body, created_s=created_s)
        return replace(made, fields={**made.fields, seal.SEAL_FIELD: seal.format_seal(sealed)})

    def sign(self, method: str, path: str, body: bytes, *, created_s: int) -> MadeRequest:
        """Make a signed request."""
        signed = signature.sign_request(
            self.key,
            RequestTarget(method, self.authority, path),
            key_id=keys.KeyId(self.sensor, self.key_no),
            digest=seal.digest_of(body),
            created_s=created_s,
            nonce="A" * 22,
        )
        fields = {"Host": self.authority, "Content-Length": str(len(body)), **signed.as_headers()}
        return MadeRequest(method, path, fields, body)
