"""Commands and the envelopes that carry them: what operators sign, and what a sensor is given.

The envelope is DSSE (https://github.com/secure-systems-lab/dsse, protocol v1.0):
signatures are over the pre-authentication encoding of the *exact payload bytes*,
so that nobody has to write JSON the same way twice, and a payload that was read
and written again is another payload.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.protocol.errors import CommandError, MessageError
from teiten.protocol.json_fields import Fields, Thing, read_object, write_object
from teiten.protocol.keys import MAX_SENSOR, load_public
from teiten.protocol.operator_list import KEY_ID

PAYLOAD_TYPE = "application/vnd.teiten.command+json"
MAX_TARGETS = 10_000
MAX_SIGNATURES = 8
#: 10,000 sensors of ten digits each, and the rest.
MAX_PAYLOAD_BYTES = 131_072
MAX_ENVELOPE_BYTES = 196_608
#: Envelopes in one answer to ``GET /v1/commands``; more come with the next heartbeat.
MAX_DELIVERIES = 4
MAX_DELIVERIES_BYTES = 1_048_576
MAX_REASON_CHARACTERS = 200
MAX_COUNTER = (1 << 53) - 1

COMMAND_ID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CLASS = re.compile(r"[ABCD]")
_VERB = re.compile(r"[a-z][a-z_]{0,39}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_TYPE = re.compile(re.escape(PAYLOAD_TYPE))
_MAX_TIME_S = 9_000_000_000
_SIGNATURE_BYTES = 64
_ENVELOPE = Thing("envelope", CommandError)
_COMMAND = Thing("command", CommandError)
_DELIVERIES = Thing("deliveries", CommandError)


@dataclass(frozen=True)
class EnvelopeSignature:
    """One operator key's word on the payload."""

    key_id: str
    #: 64 bytes, Ed25519, over :func:`encode_for_signing`.
    signature: bytes


@dataclass(frozen=True)
class Envelope:
    """A payload as it was written, and who signed it."""

    payload: bytes
    signatures: tuple[EnvelopeSignature, ...] = ()


@dataclass(frozen=True)
class Targets:
    """Whom a command is for: sensors by number, or a selector and the list that it meant when it was signed."""

    #: Ascending, each once; empty with a selector.
    sensors: tuple[int, ...] = ()
    #: What the operator asked the base for; of no meaning to a sensor.
    selector: str = ""
    #: Most sensors that the list may hold.
    max_sensors: int = 0
    #: Of the list, see :func:`digest_of_sensors`: nobody can widen it without new signatures.
    resolved_sha256: bytes = b""

    @property
    def is_explicit(self) -> bool:
        return not self.selector


@dataclass(frozen=True)
class Command:
    """What operators ask of sensors."""

    command_id: str
    command_class: str
    verb: str
    #: As the verb's declaration asks; checked by :mod:`teiten.protocol.judging`, not when read.
    arguments: Mapping[str, Any]
    targets: Targets
    not_before_s: int
    #: The first second in which it is too late.
    expires_s: int
    #: Grows with every command that ``created_by`` makes.
    counter: int
    #: Why, in the operator's words; one line.
    reason: str
    #: Key of the operator who wrote it, who must be among those who sign it.
    created_by: str


@dataclass(frozen=True)
class Delivery:
    """One command on its way to one sensor."""

    #: Beside the envelope, so that a sensor can refuse what it cannot read.
    command_id: str
    envelope: Envelope
    #: The list of a selector; None for explicit targets.
    resolved: tuple[int, ...] | None = None


def make_command_id(now_us: int, entropy: bytes) -> str:
    """Make an id that sorts by time: 48 bits of milliseconds and 80 random bits (like a ULID).

    Args:
        now_us: present time.
        entropy: 10 random bytes.
    """
    number = ((now_us // 1000 & ((1 << 48) - 1)) << 80) | int.from_bytes(entropy[:10], "big")
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def digest_of_sensors(sensors: Sequence[int]) -> bytes:
    """Give the SHA-256 that stands for a list of sensors: ids ascending in decimal, a line feed after each."""
    return hashlib.sha256("".join(f"{sensor}\n" for sensor in sorted(sensors)).encode()).digest()


def write_command(command: Command) -> bytes:
    """Write a command as the payload that is then signed."""
    return write_object(
        {
            "v": 1,
            "command_id": command.command_id,
            "command_class": command.command_class,
            "verb": command.verb,
            "arguments": dict(command.arguments),
            "targets": _fields_of_targets(command.targets),
            "not_before_s": command.not_before_s,
            "expires_s": command.expires_s,
            "counter": command.counter,
            "reason": command.reason,
            "created_by": command.created_by,
        }
    )


def read_command(payload: bytes) -> Command:
    """Read a payload; its verb, arguments and signatures are not checked here.

    Raises:
        CommandError: naming the field and its rule.
    """
    fields = read_object(_COMMAND, payload, max_bytes=MAX_PAYLOAD_BYTES)
    fields.take_int("v", 1, 1)
    command = Command(
        command_id=fields.take_text("command_id", COMMAND_ID),
        command_class=fields.take_text("command_class", _CLASS),
        verb=fields.take_text("verb", _VERB),
        arguments=fields.take_object("arguments", Fields.take_rest),
        targets=fields.take_object("targets", _read_targets),
        not_before_s=fields.take_int("not_before_s", 0, _MAX_TIME_S),
        expires_s=fields.take_int("expires_s", 1, _MAX_TIME_S),
        counter=fields.take_int("counter", 1, MAX_COUNTER),
        reason=fields.take_line("reason", MAX_REASON_CHARACTERS),
        created_by=fields.take_text("created_by", KEY_ID),
    )
    fields.finish()
    if command.expires_s <= command.not_before_s:
        raise _COMMAND.refuse("expires_s", "expires_s must be after not_before_s")
    if not command.reason.strip():
        raise _COMMAND.refuse("reason", "reason must say why")
    return command


def encode_for_signing(payload: bytes) -> bytes:
    """Give the bytes that are signed: DSSE's pre-authentication encoding."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign_envelope(envelope: Envelope, key_id: str, private_key: Ed25519PrivateKey) -> Envelope:
    """Add a signature; signing again replaces one's own."""
    signature = EnvelopeSignature(key_id, private_key.sign(encode_for_signing(envelope.payload)))
    others = tuple(one for one in envelope.signatures if one.key_id != key_id)
    return Envelope(envelope.payload, (*others, signature))


def is_signed_by(envelope: Envelope, signature: EnvelopeSignature, public_key: bytes) -> bool:
    """Tell whether ``public_key`` made this signature over this payload."""
    try:
        load_public(public_key).verify(signature.signature, encode_for_signing(envelope.payload))
    except (InvalidSignature, MessageError):
        return False
    return True


def write_envelope(envelope: Envelope) -> bytes:
    return write_object(_fields_of_envelope(envelope))


def read_envelope(text: bytes) -> Envelope:
    """Read an envelope; nothing in it is believed yet.

    Raises:
        CommandError: naming the field and its rule.
    """
    fields = read_object(_ENVELOPE, text, max_bytes=MAX_ENVELOPE_BYTES)
    envelope = _read_envelope(fields)
    fields.finish()
    return envelope


def write_deliveries(deliveries: Sequence[Delivery]) -> bytes:
    """Write the answer to ``GET /v1/commands``."""
    return write_object({"commands": [_fields_of_delivery(delivery) for delivery in deliveries]})


def read_deliveries(text: bytes) -> tuple[Delivery, ...]:
    """Read the answer to ``GET /v1/commands``.

    Raises:
        CommandError: naming the field and its rule.
    """
    fields = read_object(_DELIVERIES, text, max_bytes=MAX_DELIVERIES_BYTES)
    found = fields.take_list("commands", _read_delivery, max_items=MAX_DELIVERIES)
    fields.finish()
    return found


def write_delivery(delivery: Delivery) -> bytes:
    """Write one delivery, as it is handed to the root helper."""
    return write_object(_fields_of_delivery(delivery))


def read_delivery(text: bytes) -> Delivery:
    """Read one delivery.

    Raises:
        CommandError: naming the field and its rule.
    """
    fields = read_object(_DELIVERIES, text, max_bytes=2 * MAX_ENVELOPE_BYTES)
    found = _read_delivery(fields)
    fields.finish()
    return found


def _fields_of_delivery(delivery: Delivery) -> dict[str, Any]:
    value: dict[str, Any] = {
        "command_id": delivery.command_id,
        "envelope": _fields_of_envelope(delivery.envelope),
    }
    if delivery.resolved is not None:
        value["resolved"] = list(delivery.resolved)
    return value


def _read_delivery(fields: Fields) -> Delivery:
    return Delivery(
        fields.take_text("command_id", COMMAND_ID),
        fields.take_object("envelope", _read_envelope),
        fields.take_ints("resolved", 1, MAX_SENSOR, max_items=MAX_TARGETS)
        if fields.has("resolved")
        else None,
    )


def _fields_of_envelope(envelope: Envelope) -> dict[str, Any]:
    return {
        "payload": base64.b64encode(envelope.payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [
            {"keyid": one.key_id, "sig": base64.b64encode(one.signature).decode()}
            for one in envelope.signatures
        ],
    }


def _read_envelope(fields: Fields) -> Envelope:
    payload = _take_base64(fields, "payload")
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise fields.refuse(
            "size", f"payload has {len(payload)} bytes; at most {MAX_PAYLOAD_BYTES} are allowed"
        )
    fields.take_text("payloadType", _TYPE)
    signatures = fields.take_list("signatures", _read_signature, max_items=MAX_SIGNATURES)
    if len({one.key_id for one in signatures}) != len(signatures):
        raise fields.refuse("signatures", "signatures must name each key once")
    return Envelope(payload, signatures)


def _read_signature(fields: Fields) -> EnvelopeSignature:
    key_id = fields.take_text("keyid", KEY_ID)
    signature = _take_base64(fields, "sig")
    if len(signature) != _SIGNATURE_BYTES:
        raise fields.refuse("sig", f"sig must hold {_SIGNATURE_BYTES} bytes")
    return EnvelopeSignature(key_id, signature)


def _take_base64(fields: Fields, name: str) -> bytes:
    text = fields.take_text(name, _BASE64)
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise fields.refuse(name, f"{name} must be base64") from error
    if base64.b64encode(raw).decode() != text:
        raise fields.refuse(name, f"{name} must be base64 in its one form")
    return raw


def _fields_of_targets(targets: Targets) -> dict[str, Any]:
    if targets.is_explicit:
        return {"sensors": list(targets.sensors)}
    return {
        "selector": targets.selector,
        "max_sensors": targets.max_sensors,
        "resolved_sha256": targets.resolved_sha256.hex(),
    }


def _read_targets(fields: Fields) -> Targets:
    if fields.has("sensors"):
        sensors = fields.take_ints("sensors", 1, MAX_SENSOR, max_items=MAX_TARGETS)
        if not sensors or list(sensors) != sorted(set(sensors)):
            raise fields.refuse("sensors", "sensors must be ascending, each once, at least one")
        return Targets(sensors)
    selector = fields.take_line("selector", 1000)
    if not selector.strip():
        raise fields.refuse("selector", "selector must say whom it means")
    return Targets(
        selector=selector,
        max_sensors=fields.take_int("max_sensors", 1, MAX_TARGETS),
        resolved_sha256=bytes.fromhex(fields.take_text("resolved_sha256", _SHA256)),
    )
