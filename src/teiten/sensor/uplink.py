"""Talk to the gateway: send batches, beat, enrol. One caller at a time.

Also the surface for simulators: an :class:`Uplink` with an identity does what a
real sensor does, over the very same connection code.
"""

from __future__ import annotations

import json
import secrets
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from teiten.foundation.clock import Clock
from teiten.protocol import commands, enrolment, heartbeat, receipt, results, rotation, seal, signature
from teiten.protocol.commands import Delivery
from teiten.protocol.enrolment import EnrolAnswer, EnrolRequest
from teiten.protocol.errors import ProtocolError
from teiten.protocol.heartbeat import Heartbeat, HeartbeatAnswer
from teiten.protocol.keys import KeyId
from teiten.protocol.receipt import Receipt
from teiten.protocol.recovery import RecoverRequest
from teiten.protocol.results import Result
from teiten.protocol.rotation import RotateAnswer, RotateRequest
from teiten.protocol.signature import Echo, RequestTarget, SignedFields
from teiten.sensor.connection import Answer, Connection, GatewayAddress, write_line
from teiten.sensor.errors import (
    BusyError,
    ClockSkewError,
    ConflictError,
    NotEnrolledError,
    RefusedError,
    StandingError,
    UntrustedError,
    UplinkError,
)
from teiten.sensor.names import resolve_name
from teiten.sensor.sealed import SealedBatch, SealingIdentity

_SECOND_US = 1_000_000
#: The year 2255: no gateway's clock is later.
_MAX_TIME_S = 9_000_000_000
_DEFAULT_WAIT_SECONDS = 30.0
_MAX_WAIT_SECONDS = 3_600.0
#: The same on the word of somebody who cannot prove to be the gateway: a proxy, a captive portal.
_MAX_UNPROVEN_WAIT_SECONDS = 300.0


class Answered(Protocol):
    """What became of a command, before the key that signs it is chosen."""

    def to_result(self, *, sensor: int, key_no: int) -> Result: ...


class Uplink:
    """One sensor's way to its gateway.

    Args:
        address: where the gateway is and what proves it.
        clock: this machine's.
        identity: who speaks; None before enrolment.
        gateway_keys: id → raw public key of the gateway's signing keys.
        clock_offset_us: server minus sensor, when known.
        renew: asked before each signed request; gives the identity when it has changed.
        context: TLS that many uplinks of one process share; None: an own one.
        find_addresses: gives the addresses of the gateway's name.
    """

    def __init__(
        self,
        address: GatewayAddress,
        clock: Clock,
        *,
        identity: SealingIdentity | None = None,
        gateway_keys: Mapping[str, bytes] | None = None,
        clock_offset_us: int | None = None,
        renew: Callable[[], SealingIdentity | None] = lambda: None,
        context: ssl.SSLContext | None = None,
        find_addresses: Callable[[str], Sequence[str]] = resolve_name,
    ) -> None:
        self._renew = renew
        self._address = address
        self._clock = clock
        self._identity = identity
        self._gateway_keys = dict(gateway_keys or {})
        self._connection = Connection(address, clock, context=context, find_addresses=find_addresses)
        #: Server minus sensor, µs, from the last signed answer that told it.
        self.clock_offset_us = clock_offset_us

    @property
    def moved_at(self) -> float:
        """When bytes were last seen to move, monotonic seconds; before the first time long ago."""
        return self._connection.moved_at

    def __enter__(self) -> Uplink:  # noqa: PYI034  # typing.Self needs Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, sealed: SealedBatch) -> Receipt:
        """Send one batch and verify the receipt.

        Raises:
            UplinkError: see ``errors`` for what each class asks of the caller.
        """
        path = f"/v1/batches/{sealed.epoch}/{sealed.seq}"
        extra = {
            "Content-Type": "application/octet-stream",
            seal.SEAL_FIELD: seal.format_seal(sealed.seal, sealed.key_no),
        }
        answer, _echo = self._send_signed("PUT", path, body=sealed.body, extra=extra)
        try:
            return receipt.verify(
                self._gateway_keys,
                answer.body,
                sensor=sealed.sensor,
                epoch=sealed.epoch,
                seq=sealed.seq,
                digest=sealed.digest,
            )
        except ProtocolError as error:
            raise UntrustedError(f"batch {sealed.epoch}/{sealed.seq}: no valid receipt: {error}") from error

    def heartbeat(self, beat: Heartbeat) -> HeartbeatAnswer:
        """Tell the gateway how we are, and hear what it wants; sets ``clock_offset_us``.

        Raises:
            UplinkError: see ``errors``.
        """
        sent_at = self._clock.monotonic()
        answer, echo = self._send_signed("POST", "/v1/heartbeat", body=beat.to_json(), extra=_JSON)
        # The wall clock may be set while the request flies; the offset is to the clock as it is afterwards.
        middle_us = self._clock.now_us() - round((self._clock.monotonic() - sent_at) * _SECOND_US / 2)
        self._verify(answer, echo)
        try:
            told = heartbeat.read_answer(answer.body)
        except ProtocolError as error:
            raise UplinkError(f"the gateway's heartbeat answer is not understood: {error}") from error
        self.clock_offset_us = told.server_time_us - middle_us
        return told

    def fetch_commands(self) -> tuple[Delivery, ...]:
        """Ask for the commands that wait for this sensor; what operators signed is judged elsewhere.

        Raises:
            UplinkError: see ``errors``.
        """
        answer, echo = self._send_signed("GET", "/v1/commands", body=b"", extra={})
        self._verify(answer, echo)
        try:
            return commands.read_deliveries(answer.body)
        except ProtocolError as error:
            raise UplinkError(f"the gateway's commands are not understood: {error}") from error

    def send_result(self, answered: Answered) -> None:
        """Sign what became of a command with the sensor's present key, and send it.

        Raises:
            RefusedError: when the base will never take it.
            UplinkError: see ``errors``.
        """
        self._identity = identity = self._renew() or self._identity
        if identity is None:
            raise NotEnrolledError("this sensor has no identity; run `teiten-sensor enrol` first")
        result = answered.to_result(sensor=identity.sensor, key_no=identity.key_no)
        body = results.write_result(result)
        signed = results.sign_result(identity.private_key, body)
        extra = {**_JSON, results.SIGNATURE_FIELD: results.format_signature(signed)}
        answer, echo = self._send_signed(
            "POST",
            f"/v1/commands/{result.command_id}/result",
            body=body,
            extra=extra,
            is_final=_is_final_for_result,
        )
        self._verify(answer, echo)

    def enrol(self, request: EnrolRequest) -> EnrolAnswer:
        """Bind a key to the sensor that the token was made for; repeating it is safe.

        Without gateway keys known beforehand, those in the answer are believed as far
        as TLS has proven the server.

        Raises:
            RefusedError: with the gateway's code and reason.
            UplinkError: see ``errors``.
        """
        return self._ask_unsigned("/v1/enrol", request.to_json())

    def recover(self, request: RecoverRequest) -> EnrolAnswer:
        """Give the sensor of a recovery token a new key; repeating it is safe.

        Raises:
            RefusedError: with the gateway's code and reason.
            UplinkError: see ``errors``.
        """
        return self._ask_unsigned("/v1/recover", request.to_json())

    def rotate(self, request: RotateRequest) -> RotateAnswer:
        """Replace the key that this uplink signs with; repeating it is safe.

        Raises:
            RefusedError: with the gateway's code and reason.
            UplinkError: see ``errors``.
        """
        answer, echo = self._send_signed(
            "POST",
            "/v1/keys/rotate",
            body=request.to_json(),
            extra=_JSON,
            is_final=_is_final_for_enrolment,
        )
        self._verify(answer, echo)
        try:
            return rotation.read_answer(answer.body)
        except ProtocolError as error:
            raise UplinkError(f"the gateway's rotation answer is not understood: {error}") from error

    def _ask_unsigned(self, path: str, body: bytes) -> EnrolAnswer:
        digest = signature.format_digest(seal.digest_of(body))
        fields = {**_JSON, signature.DIGEST_FIELD: digest}
        answer = self._connection.exchange("POST", path, fields=fields, body=body)
        echo = signature.echo_digest(digest)
        self._check_status(answer, echo, is_final=_is_final_for_enrolment)
        try:
            told = enrolment.read_answer(answer.body)
        except ProtocolError as error:
            raise UplinkError(f"the gateway's answer to {path} is not understood: {error}") from error
        if not self._gateway_keys:
            self._gateway_keys = {key.key_id: key.public_key for key in told.gateway_keys}
        self._verify(answer, echo)
        return told

    def close(self) -> None:
        self._connection.close()

    def _send_signed(
        self,
        method: str,
        path: str,
        *,
        body: bytes,
        extra: Mapping[str, str],
        is_final: Callable[[int, str], bool] | None = None,
    ) -> tuple[Answer, Echo]:
        self._identity = identity = self._renew() or self._identity
        if identity is None:
            raise NotEnrolledError("this sensor has no identity; run `teiten-sensor enrol` first")
        signed = signature.sign_request(
            identity.private_key,
            RequestTarget(method, self._address.authority, path),
            key_id=KeyId(identity.sensor, identity.key_no),
            digest=seal.digest_of(body),
            created_s=self._find_created_s(),
            nonce=secrets.token_urlsafe(16),
        )
        answer = self._connection.exchange(method, path, fields={**extra, **signed.as_headers()}, body=body)
        echo = signature.echo_signature(signed)
        self._check_status(answer, echo, is_final=is_final)
        return answer, echo

    def _find_created_s(self) -> int:
        """Give the gateway's time; a clock that was set since the offset was told may lead out of all time."""
        own_s = self._clock.now_us() // _SECOND_US
        told_s = own_s + (self.clock_offset_us or 0) // _SECOND_US
        return told_s if 0 <= told_s <= _MAX_TIME_S else own_s

    def _verify(self, answer: Answer, echo: Echo) -> None:
        fields = SignedFields(
            answer.fields.get(signature.DIGEST_FIELD.lower(), ""),
            answer.fields.get(signature.INPUT_FIELD.lower(), ""),
            answer.fields.get(signature.SIGNATURE_FIELD.lower(), ""),
        )
        try:
            signature.verify_response(
                self._gateway_keys, fields, status=answer.status, body=answer.body, echo=echo
            )
        except ProtocolError as error:
            raise UntrustedError(f"the gateway's answer ({answer.status}) is not proven: {error}") from error

    def _check_status(
        self, answer: Answer, echo: Echo, *, is_final: Callable[[int, str], bool] | None = None
    ) -> None:
        """Turn anything but success into the error that says what to do."""
        if answer.status in (200, 201):
            return
        told = _read_error(answer.body)
        code, message = str(told.get("error", answer.status)), str(told.get("message", "no reason given"))
        text = f"gateway answered {answer.status} {write_line(code)}: {write_line(message)}"
        if answer.status == 401 and code == "clock_skew":
            raise self._skewed(answer, echo, told, text)
        if answer.status in (429, 503):
            raise BusyError(text, retry_after_seconds=self._find_wait(answer, echo))
        if answer.status == 403:
            raise StandingError(text, code=code)
        if not (is_final or _is_final_for_batch)(answer.status, code):
            raise UplinkError(text)
        if self._gateway_keys:
            # A batch is given up only on the gateway's own word: a proxy in between may say 413 too.
            self._verify(answer, echo)
        if answer.status == 409:
            raise ConflictError(text)
        raise RefusedError(text, code=code, status=answer.status)

    def _find_wait(self, answer: Answer, echo: Echo) -> float:
        wait = _read_wait(answer.fields.get("retry-after", ""))
        try:
            self._verify(answer, echo)
        except UntrustedError:
            return min(wait, _MAX_UNPROVEN_WAIT_SECONDS)
        return wait

    def _skewed(self, answer: Answer, echo: Echo, told: dict[str, Any], text: str) -> UplinkError:
        """Believe the server's time only in an answer that is signed and covers this very request."""
        if self._gateway_keys:
            # Before the first enrolment there is none; then TLS has proven the server.
            self._verify(answer, echo)
        server_us = told.get("server_time_us")
        if type(server_us) is not int:
            return UplinkError(f"{text} (without server_time_us)")
        return ClockSkewError(text, offset_us=server_us - self._clock.now_us())


_JSON = {"Content-Type": "application/json"}
#: Statuses that no retry of the same bytes can change: the number is taken, or receipted and
#: long forgotten, or the batch is too large.
_FINAL = frozenset({409, 410, 413})


def _is_final_for_batch(status: int, code: str) -> bool:
    """Tell whether the refusal is about the batch itself; anything else may mend."""
    return status in _FINAL or (status == 400 and code.startswith("seal."))


def _is_final_for_result(status: int, code: str) -> bool:
    """Tell whether the base will never take this result: it knows no such command, or has another answer."""
    return status in _FINAL or code == "command_unknown" or (status == 400 and code.startswith("result."))


def _is_final_for_enrolment(status: int, code: str) -> bool:
    """Tell whether the same request will be refused again; too slow a body would not."""
    return 400 <= status < 500 and code not in ("body_truncated", "body_slow")


def _read_error(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _read_wait(text: str) -> float:
    """Read ``Retry-After`` in seconds; a date or nonsense means the default."""
    if not text.strip().isdecimal():
        return _DEFAULT_WAIT_SECONDS
    return min(float(text), _MAX_WAIT_SECONDS)
