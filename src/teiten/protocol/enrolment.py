"""Enrolment: a single-use token binds a sensor's public key to its row, in one round trip.

The token ``tt1_<id>_<secret>`` is made with the sensor's row. The sensor sends
the id, its public key and facts about its machine with two proofs over the same
transcript: an HMAC under the secret (it was given the token; the secret itself
never travels) and a signature under the new key (it holds the private half).
Sending the same request again is harmless and gets the same answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.protocol import proving
from teiten.protocol.errors import MessageError, TokenError
from teiten.protocol.json_fields import Fields, Thing, read_object, write_object
from teiten.protocol.keys import PUBLIC_KEY_BYTES, from_text, public_bytes, to_text
from teiten.protocol.proving import take_bytes
from teiten.protocol.sensor_config import SensorConfig, fields_of_config, read_config
from teiten.protocol.standing import Standing, read_standing

SECRET_BYTES = 32
MAX_REQUEST_BYTES = 4096
MAX_ANSWER_BYTES = 8192
MAX_GATEWAY_KEYS = 8

#: First part of a token: what it is for.
ENROL_PREFIX, RECOVER_PREFIX = "tt1", "tr1"

_TAG = b"teiten-enrol1\n"
_TOKEN = re.compile(r"(tt1|tr1)_([0-9a-z]{1,26})_([A-Za-z0-9_-]{43})")
_TOKEN_ID = re.compile(r"[0-9a-z]{1,26}")
_NONCE = re.compile(r"[A-Za-z0-9_-]{22}")
_KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_U32 = (1 << 32) - 1
_MAX_TIME_S = 9_000_000_000
_REQUEST = Thing("enrol_request", MessageError)
_ANSWER = Thing("enrol_answer", MessageError)


@dataclass(frozen=True)
class Token:
    """An enrolment token, taken apart."""

    token_id: str
    secret: bytes
    #: ``tt1``: enrols a new sensor; ``tr1``: gives one that exists a new key (:mod:`teiten.protocol.recovery`).
    prefix: str = ENROL_PREFIX

    def __str__(self) -> str:
        return f"{self.prefix}_{self.token_id}_{to_text(self.secret)}"


@dataclass(frozen=True)
class Facts:
    """What a sensor says about its machine; for people, never for decisions."""

    #: For example ``debian 12``.
    os: str
    #: For example ``x86_64``.
    arch: str
    #: For example ``3.11.7``.
    python: str
    #: Version of the sensor program.
    software: str


@dataclass(frozen=True)
class EnrolRequest:
    """What a sensor sends to be enrolled."""

    token_id: str
    public_key: bytes
    created_s: int
    nonce: str
    facts: Facts
    #: HMAC-SHA256 of the transcript under the token's secret.
    proof: bytes = b""
    #: Ed25519 of the transcript under the new key.
    signature: bytes = b""

    def to_json(self) -> bytes:
        return write_object(
            {**_request_fields(self), "proof": to_text(self.proof), "signature": to_text(self.signature)}
        )


@dataclass(frozen=True)
class GatewayKey:
    """A key whose receipts and answers the sensor shall believe."""

    key_id: str
    public_key: bytes


@dataclass(frozen=True)
class EnrolAnswer:
    """What the sensor is from now on."""

    sensor: int
    key_no: int
    epoch: int
    gateway_keys: tuple[GatewayKey, ...]
    server_time_us: int
    config: SensorConfig
    #: What keeps the base from taking batches now; None: nothing does.
    standing: Standing | None = None

    def to_json(self) -> bytes:
        value: dict[str, Any] = {
            "sensor": self.sensor,
            "key_no": self.key_no,
            "epoch": self.epoch,
            "gateway_keys": [
                {"key_id": key.key_id, "public_key": to_text(key.public_key)} for key in self.gateway_keys
            ],
            "server_time_us": self.server_time_us,
            "config": fields_of_config(self.config),
        }
        if self.standing is not None:
            value["standing"] = self.standing
        return write_object(value)


def make_token(token_id: str, secret: bytes, *, prefix: str = ENROL_PREFIX) -> Token:
    """Make a token.

    Args:
        token_id: 1 to 26 lower-case letters or digits.
        secret: 32 random bytes.
        prefix: what it is for.

    Raises:
        TokenError: when id or secret has another form.
    """
    if _TOKEN_ID.fullmatch(token_id) is None or len(secret) != SECRET_BYTES:
        raise TokenError("token.form", "a token has an id of a-z0-9 and a secret of 32 bytes")
    return Token(token_id, secret, prefix)


def parse_token(text: str, *, prefix: str = ENROL_PREFIX) -> Token:
    """Read ``<prefix>_<id>_<secret>``.

    Raises:
        TokenError: when it is not of that form, or for something else.
    """
    match = _TOKEN.fullmatch(text.strip())
    if match is None:
        raise TokenError("token.form", f"a token has the form {prefix}_<id>_<secret>")
    if match[1] != prefix:
        raise TokenError("token.purpose", _OTHER_PURPOSE[prefix])
    try:
        return Token(match[2], from_text(match[3], size_bytes=SECRET_BYTES), prefix)
    except MessageError as error:
        raise TokenError("token.form", "the token is damaged; copy it again") from error


_OTHER_PURPOSE = {
    ENROL_PREFIX: "this is a recovery token (tr1_…); use it with `teiten-sensor recover`",
    RECOVER_PREFIX: "this is an enrolment token (tt1_…); use it with `teiten-sensor enrol`",
}


def make_request(
    token: Token, private_key: Ed25519PrivateKey, *, facts: Facts, created_s: int, nonce: str
) -> EnrolRequest:
    """Make a sensor's request; ``nonce`` is 22 characters of base64url."""
    bare = EnrolRequest(token.token_id, public_bytes(private_key), created_s, nonce, facts)
    proof, signature = proving.make_proofs(_transcript(bare), secret=token.secret, key=private_key)
    return replace(bare, proof=proof, signature=signature)


def read_request(text: bytes) -> EnrolRequest:
    """Read a request; its two proofs are not checked yet.

    Raises:
        MessageError: naming the field and its rule.
    """
    fields = read_object(_REQUEST, text, max_bytes=MAX_REQUEST_BYTES)
    request = EnrolRequest(
        token_id=fields.take_text("token_id", _TOKEN_ID),
        public_key=take_bytes(fields, "public_key", PUBLIC_KEY_BYTES),
        created_s=fields.take_int("created_s", 0, _MAX_TIME_S),
        nonce=fields.take_text("nonce", _NONCE),
        facts=fields.take_object("facts", _read_facts),
        proof=take_bytes(fields, "proof", 32),
        signature=take_bytes(fields, "signature", 64),
    )
    fields.finish()
    return request


def verify_proof(request: EnrolRequest, secret: bytes) -> None:
    """Check that the sender was given the token.

    Raises:
        TokenError: when the proof is not of this secret.
    """
    proving.check_secret(request.proof, _transcript(request), secret)


def verify_possession(request: EnrolRequest) -> None:
    """Check that the sender holds the private half of the key it names.

    Raises:
        SignatureError: when it does not.
    """
    proving.check_possession(
        request.signature, _transcript(request), public_key=request.public_key, code="enrol_request.signature"
    )


def read_answer(text: bytes) -> EnrolAnswer:
    """Read an answer whose response signature has been verified.

    Raises:
        MessageError: naming the field and its rule.
    """
    fields = read_object(_ANSWER, text, max_bytes=MAX_ANSWER_BYTES)
    answer = EnrolAnswer(
        sensor=fields.take_int("sensor", 1, _U32),
        key_no=fields.take_int("key_no", 1, _U32),
        epoch=fields.take_int("epoch", 1, _U32),
        gateway_keys=fields.take_list("gateway_keys", _read_gateway_key, max_items=MAX_GATEWAY_KEYS),
        server_time_us=fields.take_int("server_time_us", 0, _MAX_TIME_S * 1_000_000),
        config=fields.take_object("config", read_config),
        standing=read_standing(fields),
    )
    fields.finish()
    return answer


def _transcript(request: EnrolRequest) -> bytes:
    return _TAG + write_object(_request_fields(request))


def _request_fields(request: EnrolRequest) -> dict[str, Any]:
    return {
        "token_id": request.token_id,
        "public_key": to_text(request.public_key),
        "created_s": request.created_s,
        "nonce": request.nonce,
        "facts": {
            "os": request.facts.os,
            "arch": request.facts.arch,
            "python": request.facts.python,
            "software": request.facts.software,
        },
    }


def _read_facts(fields: Fields) -> Facts:
    return Facts(
        os=fields.take_line("os", 100),
        arch=fields.take_line("arch", 40),
        python=fields.take_line("python", 40),
        software=fields.take_line("software", 64),
    )


def _read_gateway_key(fields: Fields) -> GatewayKey:
    return GatewayKey(fields.take_text("key_id", _KEY_ID), take_bytes(fields, "public_key", PUBLIC_KEY_BYTES))
