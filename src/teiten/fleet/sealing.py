"""Keep a secret in the database that only this installation's application key opens.

AES-256-GCM (NIST SP 800-38D) under a key derived by HKDF (RFC 5869) from the
portal's secret key; the name of the row is bound to it, so that sealed secrets
cannot be swapped between rows.
"""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from teiten.fleet.errors import FleetError

_NONCE_BYTES = 12
_INFO = b"teiten fleet enrolment secret v1"


def seal(secret: bytes, *, name: str) -> bytes:
    """Encrypt ``secret`` for the row ``name``."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(_key()).encrypt(nonce, secret, name.encode())


def unseal(sealed: bytes, *, name: str) -> bytes:
    """Decrypt what :func:`seal` made.

    Raises:
        FleetError: when the key of the installation has changed since.
    """
    nonce, text = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    try:
        return AESGCM(_key()).decrypt(nonce, text, name.encode())
    except InvalidTag as error:
        raise FleetError(
            f"the secret of {name} was sealed under another application key (portal-secret.key); issue a new token"
        ) from error


def _key() -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=_INFO).derive(settings.SECRET_KEY.encode())
