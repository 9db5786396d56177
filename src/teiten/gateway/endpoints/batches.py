"""What each endpoint does, between a strictly read request and a signed answer."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from aiohttp import web

from teiten.foundation.clock import Clock
from teiten.gateway import metrics, requests
from teiten.gateway.answers import Signer
from teiten.gateway.config import GatewayConfig
from teiten.gateway.doors import Doors, SensorIdentity
from teiten.gateway.errors import Refusal
from teiten.landing.errors import LandingError, LandingFull, ReceiptExpired, SequenceConflict
from teiten.landing.groups import Landed
from teiten.landing.log import LandingLog
from teiten.landing.segments import Arrival
from teiten.protocol import enrolment, heartbeat, seal, signature
from teiten.protocol.enrolment import GatewayKey
from teiten.protocol.errors import ClockSkewError, MessageError, SealError, SignatureError
from teiten.protocol.signature import RequestSignature


@dataclass(frozen=True)
class Authenticated:
    """A request whose sender is proven, before a byte of its body is read."""

    identity: SensorIdentity
    #: SHA-256 that the body must have.
    digest: bytes


class Endpoints:
    """The endpoints of the sensor listener; each gives status and body, or raises a refusal."""

    def __init__(
        self, config: GatewayConfig, *, doors: Doors, landing: LandingLog, signer: Signer, clock: Clock
    ) -> None:
        self.authority = config.authority or f"localhost:{config.port}"
        self._config = config
        self._doors = doors
        self._landing = landing
        self._signer = signer
        self._clock = clock
        self._inflight_bytes = 0

    async def batch(self, request: web.BaseRequest) -> tuple[int, bytes]:
        """Land a batch and give its receipt."""
        name = requests.batch_name(request.raw_path)
        sealed = _read_seal(request)
        length = requests.length_of(request, at_most=self._config.max_batch_bytes)
        sender = await self._authenticate(request)
        _check_may_send(sender.identity, name.epoch)
        _check_seal(sender, name, sealed)
        with _Inflight(self, length):
            body = await self._read(request, length, sender)
            landed = await self._land(sender, name, sealed=sealed, body=body)
        if not landed.is_new:
            return 200, landed.receipt
        metrics.BATCH_BYTES.inc(length)
        return 201, landed.receipt

    async def heartbeat(self, request: web.BaseRequest) -> tuple[int, bytes]:
        """Record how a sensor is, and tell it what it should know."""
        length = requests.length_of(request, at_most=self._config.max_message_bytes)
        sender = await self._authenticate(request)
        if sender.identity.state == "revoked":
            raise Refusal(403, "sensor_revoked", f"sensor {sender.identity.sensor} has been revoked")
        body = await self._read(request, length, sender)
        try:
            beat = heartbeat.read_heartbeat(body)
        except MessageError as error:
            raise Refusal(400, error.code, str(error)) from error
        answer = await self._doors.heartbeat.heartbeat(sender.identity, beat, peer=request.remote or "")
        return 200, dataclasses.replace(answer, server_time_us=self._clock.now_us()).to_json()

    async def enrol(self, request: web.BaseRequest) -> tuple[int, bytes]:
        """Bind a public key to a sensor, once."""
        length = requests.length_of(request, at_most=enrolment.MAX_REQUEST_BYTES)
        body = await requests.read_body(request, length, seconds=self._config.receive_seconds)
        try:
            signature.check_digest(
                signature.parse_digest(requests.signed_fields(request).content_digest), body
            )
            asked = enrolment.read_request(body)
            enrolment.verify_possession(asked)
        except (MessageError, SignatureError) as error:
            raise Refusal(400, error.code, str(error)) from error
        self._check_time(asked.created_s)
        answer = await self._doors.enrol.enrol(asked, peer=request.remote or "")
        known = GatewayKey(self._signer.key_id, self._signer.public_key)
        return 201, dataclasses.replace(
            answer, gateway_keys=(known,), server_time_us=self._clock.now_us()
        ).to_json()

    async def refuse_path(self, _request: web.BaseRequest) -> tuple[int, bytes]:
        """Refuse what is no endpoint."""
        raise Refusal(
            404,
            "unknown_path",
            "the path must be PUT /v1/batches/{epoch}/{seq}, POST /v1/enrol or POST /v1/heartbeat",
        )

    async def find_trouble(self) -> str | None:
        """Say what keeps the gateway from working, or None."""
        return await self._landing.find_trouble()

    async def _authenticate(self, request: web.BaseRequest) -> Authenticated:
        """Prove the sender before its body is read: whoever holds no key costs no memory."""
        fields = requests.signed_fields(request)
        try:
            asked = signature.read_request(fields)
        except SignatureError as error:
            raise Refusal(401, error.code, str(error)) from error
        identity = await self._doors.identify.identify(asked.key_id.sensor, asked.key_id.key_no)
        if identity is None:
            raise Refusal(401, "unknown_key", f"key {asked.key_id} is not known; enrol the sensor first")
        self._verify(request, asked, identity)
        return Authenticated(identity, asked.digest)

    def _verify(self, request: web.BaseRequest, asked: RequestSignature, identity: SensorIdentity) -> None:
        now_us = self._clock.now_us()
        target = requests.target_of(request, self.authority)
        try:
            signature.verify_fields(asked, target, public_key=identity.public_key, now_us=now_us)
        except ClockSkewError as error:
            raise Refusal(401, "clock_skew", str(error), facts={"server_time_us": now_us}) from error
        except SignatureError as error:
            raise Refusal(401, error.code, f"{error} (this gateway is {self.authority})") from error

    async def _read(self, request: web.BaseRequest, length: int, sender: Authenticated) -> bytes:
        body = await requests.read_body(request, length, seconds=self._config.receive_seconds)
        try:
            signature.check_digest(sender.digest, body)
        except SignatureError as error:
            raise Refusal(401, error.code, str(error)) from error
        return body

    def _check_time(self, created_s: int) -> None:
        now_us = self._clock.now_us()
        if abs(now_us - created_s * 1_000_000) > signature.MAX_SKEW_SECONDS * 1_000_000:
            raise Refusal(
                401,
                "clock_skew",
                f"the request was made more than {signature.MAX_SKEW_SECONDS} s from server time",
                facts={"server_time_us": now_us},
            )

    async def _land(
        self, sender: Authenticated, name: requests.BatchName, *, sealed: bytes, body: bytes
    ) -> Landed:
        arrival = Arrival(
            sensor=sender.identity.sensor,
            key_no=sender.identity.key_no,
            epoch=name.epoch,
            seq=name.seq,
            digest=sender.digest,
            seal=sealed,
            body=body,
            held=sender.identity.state == "quarantined",
        )
        try:
            return await self._landing.land(arrival)
        except SequenceConflict as error:
            raise Refusal(409, "sequence_conflict", str(error)) from error
        except ReceiptExpired as error:
            raise Refusal(410, "receipt_expired", str(error)) from error
        except LandingFull as error:
            raise Refusal(
                503, "landing_full", str(error), retry_after_seconds=error.retry_after_seconds
            ) from error
        except LandingError as error:
            raise Refusal(503, "landing_unavailable", str(error)) from error

    def take_bytes(self, length: int) -> None:
        """Count a body that is about to be read.

        Raises:
            Refusal: 503 when too much is in memory already.
        """
        if self._inflight_bytes + length > self._config.max_inflight_bytes:
            raise Refusal(503, "gateway_busy", "too many bodies are being received at once; come back later")
        self._inflight_bytes += length
        metrics.INFLIGHT_BYTES.set(self._inflight_bytes)

    def give_bytes(self, length: int) -> None:
        self._inflight_bytes -= length
        metrics.INFLIGHT_BYTES.set(self._inflight_bytes)


class _Inflight:
    """Holds a body's bytes against the limit while it is being handled."""

    def __init__(self, endpoints: Endpoints, length: int) -> None:
        self._endpoints = endpoints
        self._length = length

    def __enter__(self) -> None:
        self._endpoints.take_bytes(self._length)

    def __exit__(self, *_: object) -> None:
        self._endpoints.give_bytes(self._length)


def _read_seal(request: web.BaseRequest) -> bytes:
    try:
        return seal.parse_seal(request.headers.get(seal.SEAL_FIELD, ""))
    except SealError as error:
        raise Refusal(400, error.code, str(error)) from error


def _check_may_send(identity: SensorIdentity, epoch: int) -> None:
    if identity.state in ("suspended", "revoked"):
        raise Refusal(
            403, f"sensor_{identity.state}", f"sensor {identity.sensor} is {identity.state}; ask its operator"
        )
    if epoch > identity.epoch:
        raise Refusal(
            403, "epoch_unknown", f"sensor {identity.sensor} is in epoch {identity.epoch}, not {epoch}"
        )


def _check_seal(sender: Authenticated, name: requests.BatchName, sealed: bytes) -> None:
    identity = sender.identity
    try:
        seal.verify(
            identity.public_key,
            sealed,
            sensor=identity.sensor,
            key_no=identity.key_no,
            epoch=name.epoch,
            seq=name.seq,
            digest=sender.digest,
        )
    except SealError as error:
        raise Refusal(400, error.code, str(error)) from error
