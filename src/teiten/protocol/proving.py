"""How a machine that has no known key yet proves that it was given a token, and that it holds the key it names.

Both proofs are over one transcript: a tag that says what for, and the request's own
fields. Enrolment and recovery differ in nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.protocol.errors import MessageError, SignatureError, TokenError
from teiten.protocol.json_fields import Fields
from teiten.protocol.keys import from_text, load_public

_TEXT = re.compile(r"[A-Za-z0-9_-]{1,90}")


def make_proofs(transcript: bytes, *, secret: bytes, key: Ed25519PrivateKey) -> tuple[bytes, bytes]:
    """Give the HMAC-SHA256 under the token's secret and the Ed25519 signature under the new key."""
    return hmac.digest(secret, transcript, hashlib.sha256), key.sign(transcript)


def check_secret(proof: bytes, transcript: bytes, secret: bytes) -> None:
    """Check that the sender was given the token.

    Raises:
        TokenError: when the proof is not of this secret.
    """
    if not hmac.compare_digest(proof, hmac.digest(secret, transcript, hashlib.sha256)):
        raise TokenError("token.proof", "the proof is not of this token's secret")


def check_possession(signature: bytes, transcript: bytes, *, public_key: bytes, code: str) -> None:
    """Check that the sender holds the private half of the key it names.

    Raises:
        SignatureError: ``code``, when it does not.
    """
    try:
        load_public(public_key).verify(signature, transcript)
    except (InvalidSignature, MessageError) as error:
        raise SignatureError(code, "the signature is not of the named public key") from error


def take_bytes(fields: Fields, name: str, size_bytes: int) -> bytes:
    """Take bytes in base64url, in its one form."""
    try:
        return from_text(fields.take_text(name, _TEXT), size_bytes=size_bytes)
    except MessageError as error:
        raise fields.refuse(name, f"{name}: {error}") from error
