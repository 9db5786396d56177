"""Ed25519 keys: made, kept in files that only their owner can read, and named.

A private key file is PKCS#8 PEM without passphrase, mode 0600. On the wire a
public key is its 32 raw bytes, in text base64url without padding (RFC 4648 §5).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import stat
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from teiten.protocol.errors import KeyFileError, MessageError

PUBLIC_KEY_BYTES = 32
MAX_SENSOR = (1 << 32) - 1
#: The points of order 1, 2, 4 and 8 in every encoding, without the bit of the sign (RFC 8032, section 5.1; computed).
#: A signature under one says nothing: RFC 8032's check takes some for any message, so its owner could deny his own.
_SMALL_ORDER = frozenset(
    bytes.fromhex(text)
    for text in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
)
_KEY_ID = re.compile(r"([1-9][0-9]{0,9})\.([1-9][0-9]{0,8})")
_TEXT = re.compile(r"[A-Za-z0-9_-]*")


class KeyId(NamedTuple):
    """Which key of which sensor; as text ``<sensor>.<key_no>``."""

    sensor: int
    key_no: int

    def __str__(self) -> str:
        return f"{self.sensor}.{self.key_no}"


def parse_key_id(text: str) -> KeyId:
    """Read ``<sensor>.<key_no>``.

    Raises:
        MessageError: when it is not of that form.
    """
    match = _KEY_ID.fullmatch(text)
    if match is None or int(match[1]) > MAX_SENSOR:
        raise MessageError("keyid.form", f"keyid {text[:40]!r} must be <sensor>.<key_no>")
    return KeyId(int(match[1]), int(match[2]))


def gateway_key_id(public_key: bytes) -> str:
    """Name a gateway key after itself: ``gw.`` and 96 bits of its SHA-256."""
    return f"gw.{to_text(hashlib.sha256(public_key).digest()[:12])}"


def generate_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """Give the 32 raw bytes of the public half."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def load_public(raw: bytes) -> Ed25519PublicKey:
    """Turn 32 raw bytes into a key.

    Raises:
        MessageError: when it is no Ed25519 public key, or one under which anybody can sign.
    """
    if len(raw) == PUBLIC_KEY_BYTES and raw[:-1] + bytes([raw[-1] & 0x7F]) in _SMALL_ORDER:
        raise MessageError("public_key.weak", "anybody can sign under this public key; make a new one")
    try:
        return Ed25519PublicKey.from_public_bytes(raw)
    except ValueError as error:
        raise MessageError("public_key.form", "an Ed25519 public key is 32 bytes") from error


def to_text(raw: bytes) -> str:
    """Write bytes as base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def from_text(text: str, *, size_bytes: int) -> bytes:
    """Read base64url without padding, in its one form.

    Raises:
        MessageError: for another alphabet, form or size.
    """
    if _TEXT.fullmatch(text) is None:
        raise MessageError("base64url.form", "text must be base64url without padding")
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise MessageError("base64url.form", "text must be base64url without padding") from error
    if len(raw) != size_bytes or to_text(raw) != text:
        raise MessageError("base64url.size", f"text must hold exactly {size_bytes} bytes")
    return raw


def save_private(key: Ed25519PrivateKey, path: Path) -> None:
    """Write a new private key file, 0600, whole or not at all.

    Raises:
        KeyFileError: when the file exists or cannot be written.
    """
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    part = path.with_name(path.name + ".part")
    try:
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        # A hard link refuses to replace a key that is already there; rename would not.
        path.hardlink_to(part)
        part.unlink()
    except OSError as error:
        raise KeyFileError(
            "key_file.write", f"private key file {path} cannot be written: {error.strerror}"
        ) from error


def load_private(path: Path) -> Ed25519PrivateKey:
    """Read a private key file.

    Raises:
        KeyFileError: when it is unreadable, no Ed25519 key, or open to other users.
    """
    try:
        mode = path.stat().st_mode
        pem = path.read_bytes()
    except OSError as error:
        raise KeyFileError(
            "key_file.read", f"private key file {path} cannot be read: {error.strerror}"
        ) from error
    if stat.S_IMODE(mode) & 0o077:
        raise KeyFileError("key_file.mode", f"private key file {path} is open to others; run chmod 600 on it")
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError("key_file.form", f"{path} holds no private key in PEM") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError("key_file.form", f"the private key in {path} is not Ed25519")
    return key
