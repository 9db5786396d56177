"""Key rotation: a sensor's old key brings in the next one.

The request is signed by the old key like any other, and carries a proof by the
new key, so that nobody brings in a key that he does not hold. Sending the same
request again, or one for the same new key, gets the same answer: the sensor
writes the new key to its disk first and asks until it hears.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.protocol.errors import MessageError, SignatureError
from teiten.protocol.json_fields import Thing, read_object, write_object
from teiten.protocol.keys import PUBLIC_KEY_BYTES, load_public, public_bytes, to_text
from teiten.protocol.proving import take_bytes

MAX_REQUEST_BYTES = 1024
MAX_ANSWER_BYTES = 1024
#: Highest number that a key may have.
MAX_KEY_NO = 999_999_999

_TAG = b"teiten-rotate1\n"
_U32 = (1 << 32) - 1
#: Far below the end of the numbers, so that a range after it still has room.
_MAX_SEALED_TO = 1 << 62
_REQUEST = Thing("rotate_request", MessageError)
_ANSWER = Thing("rotate_answer", MessageError)


@dataclass(frozen=True)
class RotateRequest:
    """A sensor's wish to sign with another key from now on."""

    sensor: int
    #: Number of the new key: the old one's plus 1.
    key_no: int
    public_key: bytes
    #: Highest sequence number of the present epoch that the old key may have sealed; 0: none.
    sealed_to: int
    #: Ed25519 by the new key over the fields above.
    proof: bytes

    def to_json(self) -> bytes:
        return write_object({**_request_fields(self), "proof": to_text(self.proof)})


@dataclass(frozen=True)
class RotateAnswer:
    """The key that the base knows the sensor by now."""

    sensor: int
    key_no: int
    epoch: int

    def to_json(self) -> bytes:
        return write_object({"sensor": self.sensor, "key_no": self.key_no, "epoch": self.epoch})


def make_request(new_key: Ed25519PrivateKey, *, sensor: int, key_no: int, sealed_to: int) -> RotateRequest:
    """Make a request to bring in ``new_key`` under the number ``key_no``."""
    bare = RotateRequest(sensor, key_no, public_bytes(new_key), sealed_to, b"")
    return RotateRequest(sensor, key_no, bare.public_key, sealed_to, new_key.sign(_transcript(bare)))


def read_request(text: bytes) -> RotateRequest:
    """Read a request; its proof is not checked yet.

    Raises:
        MessageError: naming the field and its rule.
    """
    fields = read_object(_REQUEST, text, max_bytes=MAX_REQUEST_BYTES)
    request = RotateRequest(
        sensor=fields.take_int("sensor", 1, _U32),
        key_no=fields.take_int("key_no", 2, MAX_KEY_NO),
        public_key=take_bytes(fields, "public_key", PUBLIC_KEY_BYTES),
        sealed_to=fields.take_int("sealed_to", 0, _MAX_SEALED_TO),
        proof=take_bytes(fields, "proof", 64),
    )
    fields.finish()
    return request


def verify_proof(request: RotateRequest) -> None:
    """Check that whoever asks holds the private half of the new key.

    Raises:
        SignatureError: when the proof is not of the new key.
    """
    try:
        load_public(request.public_key).verify(request.proof, _transcript(request))
    except (InvalidSignature, MessageError) as error:
        raise SignatureError("rotate_request.proof", "the proof is not of the new public key") from error


def read_answer(text: bytes) -> RotateAnswer:
    """Read an answer whose response signature has been verified.

    Raises:
        MessageError: naming the field and its rule.
    """
    fields = read_object(_ANSWER, text, max_bytes=MAX_ANSWER_BYTES)
    answer = RotateAnswer(
        sensor=fields.take_int("sensor", 1, _U32),
        key_no=fields.take_int("key_no", 1, MAX_KEY_NO),
        epoch=fields.take_int("epoch", 1, _U32),
    )
    fields.finish()
    return answer


def _transcript(request: RotateRequest) -> bytes:
    return _TAG + write_object(_request_fields(request))


def _request_fields(request: RotateRequest) -> dict[str, Any]:
    return {
        "sensor": request.sensor,
        "key_no": request.key_no,
        "public_key": to_text(request.public_key),
        "sealed_to": request.sealed_to,
    }
