"""What a sensor answers to a command: signed with its own key, kept by the base with that signature.

The base cannot forge one: it holds no sensor's private key. The signature is
detached, over a tag and the exact bytes of the body.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.protocol.commands import COMMAND_ID
from teiten.protocol.errors import MessageError, ResultError
from teiten.protocol.json_fields import Thing, read_object, write_object
from teiten.protocol.keys import MAX_SENSOR, load_public

State: TypeAlias = Literal["done", "failed", "refused"]

#: Name of the HTTP field that carries the signature beside the body.
SIGNATURE_FIELD = "Result-Signature"
MAX_OUTPUT_BYTES = 262_144
#: Twelve bytes of JSON for four of UTF-8 at worst, and the rest.
MAX_RESULT_BYTES = 3 * MAX_OUTPUT_BYTES + 4096
MAX_KEY_NO = 999_999_999

#: Reason code → what it means, beside those of :mod:`teiten.protocol.judging`.
REASONS: dict[str, str] = {
    "interrupted": "the sensor's program ended while it obeyed; whether it took effect is not known",
    "timeout": "it took too long and was ended",
    "exit_status": "the program that was run reported a failure",
    "tool_missing": "the sensor has no program for this",
    "needs_service": "this needs the service installation with its root helper",
    "no_helper": "the root helper did not answer in time",
    "failed": "the sensor could not do it",
}

_TAG = b"teiten-result1\n"
_STATE = re.compile(r"done|failed|refused")
_REASON = re.compile(r"[a-z_]{0,40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ANYTHING = re.compile(r".*", re.DOTALL)
_MAX_TIME_US = 9_000_000_000_000_000
_SIGNATURE_BYTES = 64
_THING = Thing("result", ResultError)


@dataclass(frozen=True)
class Result:
    """What became of one command on one sensor."""

    command_id: str
    sensor: int
    #: Number of the sensor's key that signs.
    key_no: int
    #: SHA-256 of the payload that was obeyed or refused: an answer to other bytes under the same id is none.
    payload_sha256: bytes
    state: State
    #: Code of why it was refused or failed; empty when done.
    reason: str
    #: Text; lines end in line feeds, other control characters are replaced.
    output: str
    started_us: int
    ended_us: int
    #: Whether there was more output than is carried.
    truncated: bool = False

    @property
    def output_sha256(self) -> bytes:
        return hashlib.sha256(self.output.encode()).digest()


def clean_output(raw: bytes) -> tuple[str, bool]:
    """Turn what a program wrote into text that a result can carry; give it and whether it was cut."""
    text = raw.decode(errors="replace").replace("\r\n", "\n")
    text = "".join(letter if _is_plain(letter) else "\ufffd" for letter in text)
    encoded = text.encode()
    if len(encoded) <= MAX_OUTPUT_BYTES:
        return text, False
    return encoded[:MAX_OUTPUT_BYTES].decode(errors="ignore"), True


def write_result(result: Result) -> bytes:
    """Write the body that is signed and sent."""
    return write_object(
        {
            "v": 1,
            "command_id": result.command_id,
            "sensor": result.sensor,
            "key_no": result.key_no,
            "payload_sha256": result.payload_sha256.hex(),
            "state": result.state,
            "reason": result.reason,
            "output": result.output,
            "output_sha256": result.output_sha256.hex(),
            "truncated": result.truncated,
            "started_us": result.started_us,
            "ended_us": result.ended_us,
        }
    )


def read_result(body: bytes) -> Result:
    """Read a body; whose it is must be checked with :func:`verify_result`.

    Raises:
        ResultError: naming the field and its rule.
    """
    fields = read_object(_THING, body, max_bytes=MAX_RESULT_BYTES)
    fields.take_int("v", 1, 1)
    digest = fields.take_text("output_sha256", _SHA256)
    output = fields.take_text("output", _ANYTHING)
    _check_output(output, digest)
    result = Result(
        command_id=fields.take_text("command_id", COMMAND_ID),
        sensor=fields.take_int("sensor", 1, MAX_SENSOR),
        key_no=fields.take_int("key_no", 1, MAX_KEY_NO),
        payload_sha256=bytes.fromhex(fields.take_text("payload_sha256", _SHA256)),
        state=cast("State", fields.take_text("state", _STATE)),
        reason=fields.take_text("reason", _REASON),
        output=output,
        started_us=fields.take_int("started_us", 0, _MAX_TIME_US),
        ended_us=fields.take_int("ended_us", 0, _MAX_TIME_US),
        truncated=fields.take_bool("truncated"),
    )
    fields.finish()
    if (result.state == "done") != (result.reason == ""):
        raise _THING.refuse("reason", "reason must be empty when done, and only then")
    return result


def sign_result(private_key: Ed25519PrivateKey, body: bytes) -> bytes:
    """Sign a body with the sensor's key; give 64 bytes."""
    return private_key.sign(_TAG + body)


def verify_result(public_key: bytes, body: bytes, signature: bytes) -> None:
    """Check that this key's sensor said this.

    Raises:
        ResultError: when it did not.
    """
    try:
        load_public(public_key).verify(signature, _TAG + body)
    except (InvalidSignature, MessageError) as error:
        raise _THING.refuse(
            "signature", "the signature is not of this sensor's key over this result"
        ) from error


def format_signature(signature: bytes) -> str:
    """Write a signature as the text of its field: an RFC 9651 byte sequence."""
    return f":{base64.b64encode(signature).decode()}:"


def parse_signature(text: str) -> bytes:
    """Read the text of the field.

    Raises:
        ResultError: when it is not ``:`` 88 characters of base64 ``:``.
    """
    try:
        signature = base64.b64decode(text[1:-1], validate=True)
    except (binascii.Error, ValueError) as error:
        raise _THING.refuse("form", f"{SIGNATURE_FIELD} must be :base64: of 64 bytes") from error
    if len(signature) != _SIGNATURE_BYTES or format_signature(signature) != text:
        raise _THING.refuse("form", f"{SIGNATURE_FIELD} must be :base64: of 64 bytes")
    return signature


def _check_output(output: str, digest: str) -> None:
    try:
        encoded = output.encode()
    except UnicodeEncodeError as error:
        raise _THING.refuse("output", "output must be text") from error
    if len(encoded) > MAX_OUTPUT_BYTES or not all(map(_is_plain, output)):
        raise _THING.refuse(
            "output", f"output must be text of at most {MAX_OUTPUT_BYTES} bytes without control characters"
        )
    if hashlib.sha256(encoded).hexdigest() != digest:
        raise _THING.refuse("output_sha256", "output_sha256 must be of output")


def _is_plain(letter: str) -> bool:
    return letter in "\n\t" or (letter >= " " and not "\x7f" <= letter <= "\x9f")
