"""The desk that every endpoint works at: who is asking, is the body theirs, and is there room for it."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from teiten.foundation.clock import Clock
from teiten.gateway import requests
from teiten.gateway.answers import Signer
from teiten.gateway.bodies import Bodies, read_body
from teiten.gateway.config import GatewayConfig
from teiten.gateway.doors import Doors, SensorIdentity
from teiten.gateway.errors import Refusal
from teiten.gateway.knocking import Knocks
from teiten.gateway.pacing import Pace, Paces
from teiten.landing.log import LandingLog
from teiten.protocol import signature
from teiten.protocol.errors import ClockSkewError, SignatureError
from teiten.protocol.signature import RequestSignature


@dataclass(frozen=True)
class Authenticated:
    """A request whose sender is proven, before a byte of its body is read."""

    identity: SensorIdentity
    #: SHA-256 that the body must have.
    digest: bytes


class Desk:
    """What the endpoints share: settings, doors, landing log, signer, clock, and the checks before a body."""

    def __init__(
        self, config: GatewayConfig, *, doors: Doors, landing: LandingLog, signer: Signer, clock: Clock
    ) -> None:
        self.authority = config.authority or f"localhost:{config.port}"
        self.config = config
        self.doors = doors
        self.landing = landing
        self.signer = signer
        self.clock = clock
        self.knocks = Knocks(clock)
        self.paces = Paces(clock)
        self.bodies = Bodies(most=config.max_inflight_bytes, most_of_one=config.max_batch_bytes)

    async def authenticate(
        self, request: web.BaseRequest, *, pace: Pace, superseded: bool = False
    ) -> Authenticated:
        """Prove the sender before its body is read: whoever holds no key costs no memory.

        ``superseded`` lets a key in that the next one has replaced.

        Raises:
            Refusal: 401, with the rule that the signature breaks; 429 when the sensor asks too often.
            DoorClosed: when nobody can say whose key it is now.
        """
        fields = requests.signed_fields(request)
        try:
            asked = signature.read_request(fields)
        except SignatureError as error:
            raise Refusal(401, error.code, str(error)) from error
        # Before anybody is asked; what counts is counted only once the sender is proven.
        self.paces.check(pace, asked.key_id.sensor)
        identity = await self.doors.identify.identify(asked.key_id.sensor, asked.key_id.key_no)
        if identity is None:
            raise Refusal(401, "unknown_key", f"key {asked.key_id} is not known; enrol the sensor first")
        self._verify(request, asked, identity)
        if identity.is_superseded and not superseded:
            raise Refusal(
                401, "key_superseded", f"key {asked.key_id} has been replaced; use the one after it"
            )
        self.paces.spend(pace, identity.sensor)
        return Authenticated(identity, asked.digest)

    async def read(self, request: web.BaseRequest, length: int, sender: Authenticated) -> bytes:
        """Read the body that the sender signed.

        Raises:
            Refusal: when it does not come, or is another one.
        """
        body = await read_body(request, length, seconds=self.config.receive_seconds)
        try:
            signature.check_digest(sender.digest, body)
        except SignatureError as error:
            raise Refusal(401, error.code, str(error)) from error
        return body

    async def read_message(
        self, request: web.BaseRequest, *, pace: Pace, at_most: int | None = None, superseded: bool = False
    ) -> tuple[Authenticated, bytes]:
        """Authenticate a request of a sensor that is not revoked, and read its small body.

        Raises:
            Refusal: with the rule that it breaks.
            DoorClosed: when nobody can say whose key it is now.
        """
        length = requests.length_of(request, at_most=at_most or self.config.max_message_bytes)
        sender = await self.admit(request, pace=pace, superseded=superseded)
        return sender, await self.read(request, length, sender)

    async def admit(self, request: web.BaseRequest, *, pace: Pace, superseded: bool = False) -> Authenticated:
        """Authenticate a request of a sensor that is not revoked.

        Raises:
            Refusal: with the rule that it breaks.
            DoorClosed: when nobody can say whose key it is now.
        """
        sender = await self.authenticate(request, pace=pace, superseded=superseded)
        if sender.identity.state == "revoked":
            raise Refusal(403, "sensor_revoked", f"sensor {sender.identity.sensor} has been revoked")
        return sender

    def check_time(self, created_s: int) -> None:
        """Refuse what was made too far from now.

        Raises:
            Refusal: 401 ``clock_skew`` with the server's time.
        """
        now_us = self.clock.now_us()
        if abs(now_us - created_s * 1_000_000) > signature.MAX_SKEW_SECONDS * 1_000_000:
            raise Refusal(
                401,
                "clock_skew",
                f"the request was made more than {signature.MAX_SKEW_SECONDS} s from server time",
                facts={"server_time_us": now_us},
            )

    @staticmethod
    def peer_of(request: web.BaseRequest) -> str:
        """Give the sensor's address, also behind a trusted proxy."""
        return str(getattr(request.protocol, "peer", "")) or request.remote or ""

    def _verify(self, request: web.BaseRequest, asked: RequestSignature, identity: SensorIdentity) -> None:
        now_us = self.clock.now_us()
        target = requests.target_of(request, self.authority)
        try:
            signature.verify_fields(asked, target, public_key=identity.public_key, now_us=now_us)
        except ClockSkewError as error:
            raise Refusal(401, "clock_skew", str(error), facts={"server_time_us": now_us}) from error
        except SignatureError as error:
            raise Refusal(401, error.code, f"{error} (this gateway is {self.authority})") from error
