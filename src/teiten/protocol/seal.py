"""The seal: the sensor's signature on a batch, made once and kept for ever.

It is a detached Ed25519 signature (RFC 8032) over 64 bytes: a domain tag, then
sensor, key number, epoch, sequence and the SHA-256 of the batch. It says which
sensor's key sealed these bytes under this number, and nothing about transport.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from teiten.protocol.errors import MessageError, SealError
from teiten.protocol.keys import load_public

#: Name of the HTTP field that carries a seal beside its batch.
SEAL_FIELD = "Batch-Seal"
SEAL_BYTES = 64
DIGEST_BYTES = 32

_TAG = b"teiten-seal1"
_FORM = struct.Struct(">12sIIIQ32s")
_FIELD = re.compile(r"(:[A-Za-z0-9+/]{86}==:)(?:;key_no=([1-9][0-9]{0,8}))?")


class SealField(NamedTuple):
    """What the ``Batch-Seal`` field says."""

    seal: bytes
    #: Key that sealed; None: the one that signed the request (sensors of before key rotation).
    key_no: int | None


def digest_of(body: bytes) -> bytes:
    """Give the SHA-256 that the seal, the URL's batch and the receipt speak of."""
    return hashlib.sha256(body).digest()


def seal(
    private_key: Ed25519PrivateKey, *, sensor: int, key_no: int, epoch: int, seq: int, digest: bytes
) -> bytes:
    """Seal a batch.

    Raises:
        SealError: when a number or the digest is out of its range.
    """
    return private_key.sign(_statement(sensor, key_no, epoch=epoch, seq=seq, digest=digest))


def verify(
    public_key: bytes | Ed25519PublicKey,
    sealed: bytes,
    *,
    sensor: int,
    key_no: int,
    epoch: int,
    seq: int,
    digest: bytes,
) -> None:
    """Check a seal.

    Raises:
        SealError: when this key did not seal exactly this.
    """
    try:
        key = load_public(public_key) if isinstance(public_key, bytes) else public_key
        key.verify(sealed, _statement(sensor, key_no, epoch=epoch, seq=seq, digest=digest))
    except (InvalidSignature, MessageError) as error:
        raise SealError(
            "seal.invalid",
            f"the seal is not of key {sensor}.{key_no} over epoch {epoch}, sequence {seq} and this content",
        ) from error


def format_seal(sealed: bytes, key_no: int | None = None) -> str:
    """Write the text of the ``Batch-Seal`` field: an RFC 9651 byte sequence, with the number of its key."""
    text = f":{base64.b64encode(sealed).decode()}:"
    return text if key_no is None else f"{text};key_no={key_no}"


def parse_field(text: str) -> SealField:
    """Read the text of a ``Batch-Seal`` field, with or without the number of its key.

    Raises:
        SealError: when it is of neither form.
    """
    match = _FIELD.fullmatch(text)
    if match is None:
        raise SealError("seal.form", f"{SEAL_FIELD} must be :base64:;key_no=N, of 64 bytes")
    return SealField(parse_seal(match[1]), None if match[2] is None else int(match[2]))


def parse_seal(text: str) -> bytes:
    """Read a seal alone.

    Raises:
        SealError: when it is not ``:`` 88 characters of base64 ``:``.
    """
    inner = text[1:-1]
    try:
        sealed = base64.b64decode(inner, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SealError("seal.form", f"{SEAL_FIELD} must be :base64: of 64 bytes") from error
    if len(sealed) != SEAL_BYTES or format_seal(sealed) != text:
        raise SealError("seal.form", f"{SEAL_FIELD} must be :base64: of 64 bytes")
    return sealed


def _statement(sensor: int, key_no: int, *, epoch: int, seq: int, digest: bytes) -> bytes:
    if len(digest) != DIGEST_BYTES:
        raise SealError("seal.digest", f"a digest is {DIGEST_BYTES} bytes")
    try:
        return _FORM.pack(_TAG, sensor, key_no, epoch, seq, digest)
    except struct.error as error:
        raise SealError("seal.range", "sensor, key number, epoch or sequence is out of range") from error
