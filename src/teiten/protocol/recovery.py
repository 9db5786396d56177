"""Recovery: an administrator's token gives a sensor that exists a new key and a new epoch.

For a sensor whose key is lost, or known to somebody else. The request is that of
enrolment under another tag (a proof of one cannot be used for the other), and says
which sensor the machine believes to be, where it still knows, so that a token that
was carried to the wrong machine is refused. The answer is that of enrolment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.protocol import proving
from teiten.protocol.enrolment import Token
from teiten.protocol.errors import MessageError
from teiten.protocol.json_fields import Thing, read_object, write_object
from teiten.protocol.keys import PUBLIC_KEY_BYTES, public_bytes, to_text
from teiten.protocol.proving import take_bytes

MAX_REQUEST_BYTES = 2048

_TAG = b"teiten-recover1\n"
_TOKEN_ID = re.compile(r"[0-9a-z]{1,26}")
_NONCE = re.compile(r"[A-Za-z0-9_-]{22}")
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
    proof, signature = proving.make_proofs(_transcript(bare), secret=token.secret, key=new_key)
    return replace(bare, proof=proof, signature=signature)


def read_request(text: bytes) -> RecoverRequest:
    """Read a request; its two proofs are not checked yet.

    Raises:
        MessageError: naming the field and its rule.
    """
    fields = read_object(_REQUEST, text, max_bytes=MAX_REQUEST_BYTES)
    request = RecoverRequest(
        token_id=fields.take_text("token_id", _TOKEN_ID),
        sensor=fields.take_int_or_none("sensor", 1, _U32),
        public_key=take_bytes(fields, "public_key", PUBLIC_KEY_BYTES),
        created_s=fields.take_int("created_s", 0, _MAX_TIME_S),
        nonce=fields.take_text("nonce", _NONCE),
        proof=take_bytes(fields, "proof", 32),
        signature=take_bytes(fields, "signature", 64),
    )
    fields.finish()
    return request


def verify_proof(request: RecoverRequest, secret: bytes) -> None:
    """Check that the sender was given the token.

    Raises:
        TokenError: when the proof is not of this secret.
    """
    proving.check_secret(request.proof, _transcript(request), secret)


def verify_possession(request: RecoverRequest) -> None:
    """Check that the sender holds the private half of the key it names.

    Raises:
        SignatureError: when it does not.
    """
    proving.check_possession(
        request.signature,
        _transcript(request),
        public_key=request.public_key,
        code="recover_request.signature",
    )


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
