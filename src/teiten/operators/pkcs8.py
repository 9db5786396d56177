"""A private key under a passphrase: PKCS#8 (RFC 5958) with PBES2 (RFC 8018), as every program reads it.

Written here because ``cryptography`` leaves PBKDF2 at 2,048 rounds, which a stolen file
does not survive; the number of rounds stands in the file, so that it can be read
anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import textwrap

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

_SEQUENCE, _INTEGER, _OCTETS, _NULL, _OBJECT = 0x30, 0x02, 0x04, 0x05, 0x06
#: Object identifiers, encoded: 1.2.840.113549.1.5.13, .1.5.12, .2.9 and 2.16.840.1.101.3.4.1.42.
_PBES2 = bytes.fromhex("2a864886f70d01050d")
_PBKDF2 = bytes.fromhex("2a864886f70d01050c")
_HMAC_SHA256 = bytes.fromhex("2a864886f70d0209")
_AES_256_CBC = bytes.fromhex("60864801650304012a")
_KEY_BYTES, _SALT_BYTES, _BLOCK_BYTES = 32, 16, 16


def encrypt_pkcs8(plain: bytes, passphrase: bytes, *, iterations: int) -> bytes:
    """Give ``BEGIN ENCRYPTED PRIVATE KEY`` of a PKCS#8 private key in DER."""
    salt, vector = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_BLOCK_BYTES)
    key = hashlib.pbkdf2_hmac("sha256", passphrase, salt, iterations, _KEY_BYTES)
    padder = PKCS7(8 * _BLOCK_BYTES).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(vector)).encryptor()
    sealed = encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()
    derivation = _sequence(
        _der(_OCTETS, salt),
        _der(_INTEGER, _whole(iterations)),
        _sequence(_der(_OBJECT, _HMAC_SHA256), _der(_NULL, b"")),
    )
    scheme = _sequence(
        _sequence(_der(_OBJECT, _PBKDF2), derivation),
        _sequence(_der(_OBJECT, _AES_256_CBC), _der(_OCTETS, vector)),
    )
    whole = _sequence(_sequence(_der(_OBJECT, _PBES2), scheme), _der(_OCTETS, sealed))
    lines = textwrap.wrap(base64.b64encode(whole).decode(), 64)
    return "\n".join(
        ["-----BEGIN ENCRYPTED PRIVATE KEY-----", *lines, "-----END ENCRYPTED PRIVATE KEY-----", ""]
    ).encode()


def _sequence(*parts: bytes) -> bytes:
    return _der(_SEQUENCE, b"".join(parts))


def _der(tag: int, content: bytes) -> bytes:
    """Encode one value (X.690 §8.1.3: short length, or long in as few bytes as it takes)."""
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(size))) + size + content


def _whole(number: int) -> bytes:
    """Encode a positive integer; its first bit is a sign."""
    return number.to_bytes(number.bit_length() // 8 + 1, "big")
