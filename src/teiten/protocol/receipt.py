"""The receipt: the gateway's signed word that a batch is on durable storage.

Only a receipt lets a sensor delete a batch from its spool. It is issued once,
kept in the ledger, and returned byte for byte on every repeat.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.protocol.errors import MessageError, ReceiptError
from teiten.protocol.json_fields import Fields, Thing, read_object, write_object
from teiten.protocol.keys import from_text, load_public, to_text
from teiten.protocol.seal import DIGEST_BYTES, SEAL_BYTES

MAX_RECEIPT_BYTES = 1024

_TAG = b"teiten-receipt1\n"
_KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_TEXT = re.compile(r"[A-Za-z0-9_-]{1,90}")
_THING = Thing("receipt", ReceiptError)
_U32 = (1 << 32) - 1
_I63 = (1 << 63) - 1


@dataclass(frozen=True)
class Receipt:
    """What was received, and when it was safe."""

    sensor: int
    epoch: int
    seq: int
    #: SHA-256 of the batch.
    digest: bytes
    landed_at_us: int
    #: Gateway key that signed.
    key_id: str


def issue(private_key: Ed25519PrivateKey, receipt: Receipt) -> bytes:
    """Sign a receipt and write it as the JSON that the sensor gets."""
    fields = _fields_of(receipt)
    signature = private_key.sign(_TAG + write_object(fields))
    return write_object({**fields, "signature": to_text(signature)})


def verify(
    gateway_keys: Mapping[str, bytes], text: bytes, *, sensor: int, epoch: int, seq: int, digest: bytes
) -> Receipt:
    """Check that a known gateway received exactly this batch.

    Raises:
        ReceiptError: when the receipt is malformed, of another batch, or not signed by a known key.
    """
    receipt, signature = _read(text)
    if (receipt.sensor, receipt.epoch, receipt.seq, receipt.digest) != (sensor, epoch, seq, digest):
        raise _THING.refuse(
            "other", f"it is not for sensor {sensor}, epoch {epoch}, sequence {seq} and this content"
        )
    public_key = gateway_keys.get(receipt.key_id)
    if public_key is None:
        raise _THING.refuse("key_id", f"gateway key {receipt.key_id} is not known")
    try:
        load_public(public_key).verify(signature, _TAG + write_object(_fields_of(receipt)))
    except (InvalidSignature, MessageError) as error:
        raise _THING.refuse("signature", "the signature does not hold") from error
    return receipt


def _fields_of(receipt: Receipt) -> dict[str, Any]:
    return {
        "sensor": receipt.sensor,
        "epoch": receipt.epoch,
        "seq": receipt.seq,
        "digest": to_text(receipt.digest),
        "landed_at_us": receipt.landed_at_us,
        "key_id": receipt.key_id,
    }


def _read(text: bytes) -> tuple[Receipt, bytes]:
    fields = read_object(_THING, text, max_bytes=MAX_RECEIPT_BYTES)
    receipt = Receipt(
        sensor=fields.take_int("sensor", 1, _U32),
        epoch=fields.take_int("epoch", 1, _U32),
        seq=fields.take_int("seq", 1, _I63),
        digest=_take_bytes(fields, "digest", DIGEST_BYTES),
        landed_at_us=fields.take_int("landed_at_us", 0, _I63),
        key_id=fields.take_text("key_id", _KEY_ID),
    )
    signature = _take_bytes(fields, "signature", SEAL_BYTES)
    fields.finish()
    return receipt, signature


def _take_bytes(fields: Fields, name: str, size_bytes: int) -> bytes:
    try:
        return from_text(fields.take_text(name, _TEXT), size_bytes=size_bytes)
    except MessageError as error:
        raise fields.refuse(name, f"{name}: {error}") from error
