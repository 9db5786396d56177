"""A small gateway on loopback, for tests: real TLS, real signatures, memory for storage.

It keeps every rule of the sensor's side of the protocol and can be told to
misbehave: :attr:`FakeGateway.plan` holds answers to be given instead, in order.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import ssl
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from teiten.foundation.clock import Clock
from teiten.protocol import enrolment, heartbeat, keys, receipt, seal, signature
from teiten.protocol.errors import ProtocolError
from teiten.protocol.receipt import Receipt
from teiten.protocol.sensor_config import SensorConfig
from teiten.protocol.signature import Echo, RequestTarget, SignedFields
from teiten.sensor.connection import GatewayAddress, parse_address, spki_digest

KEY_ID = "gw-test"
SENSOR = 7


class FakeGateway:
    """Starts with :meth:`start`; everything it was told is in its attributes."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.clock = clock
        self.signing_key = keys.generate_key()
        self.token = enrolment.make_token("abc", b"s" * 32)
        #: Raw public key of the enrolled sensor.
        self.sensor_key: bytes | None = None
        #: (epoch, seq) → (digest, body, receipt).
        self.batches: dict[tuple[int, int], tuple[bytes, bytes, bytes]] = {}
        #: Sequence numbers in the order of arrival, repeats included.
        self.arrivals: list[int] = []
        self.beats: list[heartbeat.Heartbeat] = []
        self.config = SensorConfig()
        #: (status, code, headers) given instead of the next answers; a status of 0 breaks the connection
        #: after the request was carried out.
        self.plan: deque[tuple[int, str, dict[str, str]]] = deque()
        #: Refuses these batches for ever.
        self.refused: set[int] = set()
        self.skew_seconds = 0
        self._server = _make_server(folder, self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def gateway_keys(self) -> dict[str, bytes]:
        return {KEY_ID: keys.public_bytes(self.signing_key)}

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._server.server_address[1]}"

    @property
    def pin(self) -> str:
        return self._server.pin.hex()

    @property
    def address(self) -> GatewayAddress:
        return parse_address(self.url, pins=(self.pin,), timeout_seconds=5.0)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def now_us(self) -> int:
        return self.clock.now_us() + self.skew_seconds * 1_000_000


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    gateway: FakeGateway
    pin: bytes

    def handle_error(self, *_: Any) -> None:
        """A client that goes away is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: Any) -> None:
        """Tests read attributes, not logs."""

    def do_PUT(self) -> None:
        self._serve(self._take_batch)

    def do_POST(self) -> None:
        self._serve(self._take_enrolment if self.path == "/v1/enrol" else self._take_beat)

    def _serve(self, take: Any) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        gateway = self.server.gateway
        planned = gateway.plan.popleft() if gateway.plan else None
        if planned is not None and planned[0]:
            self._refuse(*planned)
            return
        try:
            status, answer, echo = take(body)
        except ProtocolError as error:
            self._refuse(401, error.code, {})
            return
        if planned is not None:
            self.close_connection = True
            return
        self._answer(status, answer, fields={}, echo=echo)

    def _fields(self) -> SignedFields:
        return SignedFields(
            self.headers.get("Content-Digest", ""),
            self.headers.get("Signature-Input", ""),
            self.headers.get("Signature", ""),
        )

    def _verify(self, body: bytes) -> Echo:
        gateway = self.server.gateway
        target = RequestTarget(self.command, f"127.0.0.1:{self.server.server_address[1]}", self.path)
        request = signature.read_request(self._fields())
        signature.verify_request(
            request, target, public_key=gateway.sensor_key or b"", body=body, now_us=gateway.now_us()
        )
        return signature.echo_signature(self._fields())

    def _take_batch(self, body: bytes) -> tuple[int, bytes, Echo]:
        gateway = self.server.gateway
        echo = self._verify(body)
        epoch, seq = (int(part) for part in self.path.split("/")[3:])
        digest = seal.digest_of(body)
        sealed = seal.parse_field(self.headers[seal.SEAL_FIELD]).seal
        seal.verify(
            gateway.sensor_key or b"", sealed, sensor=SENSOR, key_no=1, epoch=epoch, seq=seq, digest=digest
        )
        if seq in gateway.refused:
            return 413, b'{"error":"too_large","message":"refused by the test"}', echo
        gateway.arrivals.append(seq)
        known = gateway.batches.get((epoch, seq))
        if known is not None:
            same = known[0] == digest
            return (
                (200, known[2], echo)
                if same
                else (409, b'{"error":"conflict","message":"other digest"}', echo)
            )
        issued = receipt.issue(
            gateway.signing_key, Receipt(SENSOR, epoch, seq, digest, gateway.now_us(), KEY_ID)
        )
        gateway.batches[epoch, seq] = (digest, body, issued)
        return 201, issued, echo

    def _take_beat(self, body: bytes) -> tuple[int, bytes, Echo]:
        gateway = self.server.gateway
        echo = self._verify(body)
        gateway.beats.append(heartbeat.read_heartbeat(body))
        return 200, heartbeat.HeartbeatAnswer(gateway.now_us(), gateway.config).to_json(), echo

    def _take_enrolment(self, body: bytes) -> tuple[int, bytes, Echo]:
        gateway = self.server.gateway
        request = enrolment.read_request(body)
        enrolment.verify_proof(request, gateway.token.secret)
        enrolment.verify_possession(request)
        echo = signature.echo_digest(self.headers["Content-Digest"])
        if gateway.sensor_key not in (None, request.public_key):
            return 409, b'{"error":"token_used","message":"the token was used with another key"}', echo
        gateway.sensor_key = request.public_key
        told = tuple(enrolment.GatewayKey(name, key) for name, key in gateway.gateway_keys.items())
        answer = enrolment.EnrolAnswer(SENSOR, 1, 1, told, gateway.now_us(), gateway.config)
        return 201, answer.to_json(), echo

    def _refuse(self, status: int, code: str, fields: dict[str, str]) -> None:
        code = "clock_skew" if code == "signature.clock_skew" else code
        told = {"error": code, "message": "as planned", "server_time_us": self.server.gateway.now_us()}
        self._answer(status, json.dumps(told).encode(), fields=fields, echo=self._find_echo())

    def _find_echo(self) -> Echo:
        fields = self._fields()
        return (
            signature.echo_signature(fields)
            if fields.signature
            else signature.echo_digest(fields.content_digest)
        )

    def _answer(self, status: int, body: bytes, *, fields: dict[str, str], echo: Echo) -> None:
        gateway = self.server.gateway
        signed = signature.sign_response(
            gateway.signing_key,
            key_id=KEY_ID,
            status=status,
            body=body,
            echo=echo,
            created_s=gateway.now_us() // 1_000_000,
        ).as_headers()
        self.send_response(status)
        for name, value in {**signed, **fields, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _make_server(folder: Path, gateway: FakeGateway) -> _Server:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.gateway = gateway
    certificate = make_certificate(folder, gateway.clock.now())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(folder / "gateway.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.pin = spki_digest(certificate)
    return server


def make_certificate(folder: Path, now: dt.datetime) -> bytes:
    """Write a self-signed certificate for 127.0.0.1 with its key to ``gateway.pem``; give its DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gateway.test")])
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=3650))
        .not_valid_after(now + dt.timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName([loopback]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "gateway.pem").write_bytes(pem + certificate.public_bytes(Encoding.PEM))
    return certificate.public_bytes(Encoding.DER)
