"""Signed heads of the audit chain: how far it went at an instant, to be kept where the base cannot reach.

A chain whose end was cut off, or that was written anew from some record on, agrees
with itself; it does not agree with a head that was taken before. One head is one
line of JSON, so that a log, a mail or a sheet of paper can carry it.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.accounts.errors import AuditHeadError
from teiten.protocol import keys
from teiten.protocol.errors import ProtocolError
from teiten.protocol.json_fields import Thing, read_object, write_object

#: What a signature of a head begins with, so that it is good for nothing else.
TAG = b"teiten-audit-head1\n"
MAX_HEAD_BYTES = 1000
_MOST = (1 << 63) - 1
_HEX_32 = re.compile(r"[0-9a-f]{64}")
_HEX_64 = re.compile(r"[0-9a-f]{128}")


@dataclass(frozen=True)
class Head:
    """How far the chain went."""

    #: Number of the last record; 0 before the first.
    number: int
    #: Its digest.
    digest: bytes
    #: When it was looked at, µs since 1970.
    at_us: int


@dataclass(frozen=True)
class SignedHead:
    """A head with who says so."""

    head: Head
    public_key: bytes
    signature: bytes

    def to_line(self) -> str:
        """Write it as one line without its end."""
        value = {
            **_plain(self.head),
            "public_key": self.public_key.hex(),
            "signature": self.signature.hex(),
        }
        return write_object(value).decode()


def sign_head(head: Head, key: Ed25519PrivateKey) -> SignedHead:
    """Sign a head with the base's audit key."""
    return SignedHead(head, public_key=keys.public_bytes(key), signature=key.sign(_signed_bytes(head)))


def read_head(line: str, *, public_key: bytes | None = None) -> Head:
    """Read a line and check its signature, by ``public_key`` where one is given.

    Raises:
        AuditHeadError: when it is no head, or not signed by that key.
    """
    try:
        fields = read_object(Thing("audit_head", ProtocolError), line.encode(), max_bytes=MAX_HEAD_BYTES)
        head = Head(
            number=fields.take_int("number", 0, _MOST),
            digest=bytes.fromhex(fields.take_text("digest", _HEX_32)),
            at_us=fields.take_int("at_us", 0, _MOST),
        )
        said_key = bytes.fromhex(fields.take_text("public_key", _HEX_32))
        signature = bytes.fromhex(fields.take_text("signature", _HEX_64))
        fields.finish()
        if public_key is not None and said_key != public_key:
            raise AuditHeadError(f"the head is signed by key {said_key.hex()[:16]}…, not by the expected one")
        keys.load_public(said_key).verify(signature, _signed_bytes(head))
    except ProtocolError as error:
        raise AuditHeadError(f"no signed head of an audit chain: {error}") from error
    except InvalidSignature as error:
        raise AuditHeadError("the signature of the head is not right") from error
    return head


def name_key(public_key: bytes) -> str:
    """Give a short name of an audit key."""
    return f"au.{keys.to_text(hashlib.sha256(public_key).digest()[:12])}"


def _signed_bytes(head: Head) -> bytes:
    return TAG + json.dumps(_plain(head), separators=(",", ":")).encode()


def _plain(head: Head) -> dict[str, int | str]:
    return {"number": head.number, "digest": head.digest.hex(), "at_us": head.at_us}
