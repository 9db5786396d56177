"""Recovery: an administrator's token gives a sensor that exists a new key and a new epoch.

For a sensor whose key is lost, or known to somebody else. The request is that of
enrolment under another tag (a proof of one cannot be used for the other), and says
which sensor the machine believes to be, where it still knows, so that a token that
was carried to the wrong machine is refused. The answer is that of enrolment.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, replace
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.protocol.enrolment import Token
from teiten.protocol.errors import MessageError, SignatureError, TokenError
from teiten.protocol.json_fields import Fields, Thing, read_object, write_object
from teiten.protocol.keys import PUBLIC_KEY_BYTES, from_text, load_public, public_bytes, to_text

MAX_REQUEST_BYTES = 2048

_TAG = b"teiten-recover1\n"
_TOKEN_ID = re.compile(r"[0-9a-z]{1,26}")
_NONCE = re.compile(r"[A-Za-z0-9_-]{22}")
_TEXT = re.compile(r"[A-Za-z0-9_-]{1,90}")
_U32 = (1 << 32) - 1
_MAX_TIME_S = 9_000_000_000
_REQUEST = Thing("recover_request", MessageError)


@dataclass(frozen=True)
class RecoverRequest:
    """What a sensor sends to be known by a new key."""

    token_id: str
    #: Which sensor this machine was before; None when it does not know.
    sensor: int | None
    public_key: bytes
    created_s: int
    nonce: str
    #: HMAC-SHA256 of the transcript under the token's secret.
    proof: bytes = b""
    #: Ed25519 of the transcript under the new key.
    signature: bytes = b""

    def to_json(self) -> bytes:
        return write_object(
            {**_request_fields(self), "proof": to_text(self.proof), "signature": to_text(self.signature)}
        )


def make_request(
    token: Token, new_key: Ed25519PrivateKey, *, sensor: int | None, created_s: int, nonce: str
) -> RecoverRequest:
    """Make a sensor's request; ``nonce`` is 22 characters of base64url."""
    bare = RecoverRequest(token.token_id, sensor, public_bytes(new_key), created_s, nonce)
    transcript = _transcript(bare)
    return replace(
        bare,
        proof=hmac.digest(token.secret, transcript, hashlib.sha256),
        signature=new_key.sign(transcript),
    )


def read_request(text: bytes) -> RecoverRequest:
    """Read a request; its two proofs are not checked yet.

    Raises:
        MessageError: naming the field and its rule.
    """
    fields = read_object(_REQUEST, text, max_bytes=MAX_REQUEST_BYTES)
    request = RecoverRequest(
        token_id=fields.take_text("token_id", _TOKEN_ID),
        sensor=fields.take_int_or_none("sensor", 1, _U32),
        public_key=_take_bytes(fields, "public_key", PUBLIC_KEY_BYTES),
        created_s=fields.take_int("created_s", 0, _MAX_TIME_S),
        nonce=fields.take_text("nonce", _NONCE),
        proof=_take_bytes(fields, "proof", 32),
        signature=_take_bytes(fields, "signature", 64),
    )
    fields.finish()
    return request


def verify_proof(request: RecoverRequest, secret: bytes) -> None:
    """Check that the sender was given the token.

    Raises:
        TokenError: when the proof is not of this secret.
    """
    if not hmac.compare_digest(request.proof, hmac.digest(secret, _transcript(request), hashlib.sha256)):
        raise TokenError("token.proof", "the proof is not of this token's secret")


def verify_possession(request: RecoverRequest) -> None:
    """Check that the sender holds the private half of the key it names.

    Raises:
        SignatureError: when it does not.
    """
    try:
        load_public(request.public_key).verify(request.signature, _transcript(request))
    except (InvalidSignature, MessageError) as error:
        raise SignatureError(
            "recover_request.signature", "the signature is not of the named public key"
        ) from error


def _transcript(request: RecoverRequest) -> bytes:
    return _TAG + write_object(_request_fields(request))


def _request_fields(request: RecoverRequest) -> dict[str, Any]:
    return {
        "token_id": request.token_id,
        "sensor": request.sensor,
        "public_key": to_text(request.public_key),
        "created_s": request.created_s,
        "nonce": request.nonce,
    }


def _take_bytes(fields: Fields, name: str, size_bytes: int) -> bytes:
    try:
        return from_text(fields.take_text(name, _TEXT), size_bytes=size_bytes)
    except MessageError as error:
        raise fields.refuse(name, f"{name}: {error}") from error
