"""Keys of people who sign releases: Ed25519, in files that a passphrase closes, on their own machines.

The private half is sealed with AES-256-GCM under a key that scrypt (RFC 7914, N = 2^17,
r = 8, p = 1: 128 MiB and about half a second a guess) makes of the passphrase. Beside
``FILE`` lies ``FILE.pub``, which is all that the base ever gets.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from securesystemslib.signer import CryptoSigner, SSlibKey  # type: ignore[attr-defined]  # re-exported without __all__

from teiten.fleet.releases.errors import KeyFileError

ROLES = ("root", "targets")
#: Field of a key in root.json that says whose it is.
PERSON_FIELD = "x-teiten-person"
MIN_PASSPHRASE = 12
_KIND = "teiten release key 1"
_COST, _BLOCK, _LANES = 1 << 17, 8, 1
_MAX_PERSON = 80


@dataclass(frozen=True)
class PublicKeyFile:
    """What the base may know of a key."""

    role: str
    #: Whose it is; thresholds count people.
    person: str
    #: 32 raw bytes.
    public_key: bytes

    def as_key(self) -> SSlibKey:
        """Give the key as root.json holds it."""
        key = SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(self.public_key))
        key.unrecognized_fields[PERSON_FIELD] = self.person
        return key

    def to_json(self) -> bytes:
        record = {"role": self.role, "person": self.person, "public_key": _encode(self.public_key)}
        return json.dumps(record, ensure_ascii=False, indent=1).encode() + b"\n"


def create_key_file(path: Path, *, role: str, person: str, passphrase: str) -> PublicKeyFile:
    """Make a key and write ``path`` (0600) and ``path.pub``.

    Raises:
        KeyFileError: for an unknown role, a short passphrase, or a file that is there already.
    """
    _check(role, person)
    if len(passphrase) < MIN_PASSPHRASE:
        raise KeyFileError(f"the passphrase must have at least {MIN_PASSPHRASE} characters")
    private = Ed25519PrivateKey.generate()
    public = PublicKeyFile(role, person, private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
    salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
    raw = private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    sealed = AESGCM(_derive(passphrase, salt)).encrypt(nonce, raw, public.to_json())
    record = {
        "kind": _KIND,
        "public": json.loads(public.to_json()),
        "salt": _encode(salt),
        "nonce": _encode(nonce),
        "sealed": _encode(sealed),
    }
    beside = path.with_name(f"{path.name}.pub")
    if beside.exists():
        raise KeyFileError(
            f"key file {beside} cannot be written: File exists; move it away, or choose another name"
        )
    _write_new(path, json.dumps(record, ensure_ascii=False, indent=1).encode() + b"\n", mode=0o600)
    try:
        _write_new(beside, public.to_json(), mode=0o644)
    except BaseException:
        path.unlink()
        raise
    return public


def read_public(path: Path) -> PublicKeyFile:
    """Read ``FILE.pub``.

    Raises:
        KeyFileError: when it is none.
    """
    return _take_public(_read(path), path)


def read_public_of(path: Path) -> PublicKeyFile:
    """Read whose a private key file is, without opening it.

    Raises:
        KeyFileError: when it is none.
    """
    return _take_public(_read(path).get("public"), path)


def open_key_file(path: Path, passphrase: str) -> tuple[PublicKeyFile, CryptoSigner]:
    """Open a private key file.

    Raises:
        KeyFileError: when it is none, or the passphrase is another.
    """
    told = _read(path)
    if told.get("kind") != _KIND:
        raise KeyFileError(f"{path} is no release key; make one with `teiten release keys create`")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise KeyFileError(f"key file {path} is open to others; run chmod 600 {path}")
    public = _take_public(told.get("public"), path)
    try:
        salt, nonce, sealed = (_decode(told[name]) for name in ("salt", "nonce", "sealed"))
        raw = AESGCM(_derive(passphrase, salt)).decrypt(nonce, sealed, public.to_json())
    except InvalidTag as error:
        raise KeyFileError(
            f"{path} does not open: the passphrase is another, or the file is damaged"
        ) from error
    except (KeyError, ValueError, TypeError) as error:
        raise KeyFileError(f"{path} is damaged") from error
    return public, CryptoSigner(Ed25519PrivateKey.from_private_bytes(raw), public.as_key())


def _derive(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=_COST, r=_BLOCK, p=_LANES).derive(passphrase.encode())


def _check(role: str, person: str) -> None:
    if role not in ROLES:
        raise KeyFileError(f"role {role!r} must be one of {', '.join(ROLES)}")
    if not 0 < len(person) <= _MAX_PERSON or not person.isprintable():
        raise KeyFileError(f"person must be 1 to {_MAX_PERSON} printable characters")


def _take_public(told: Any, path: Path) -> PublicKeyFile:
    try:
        role, person, raw = str(told["role"]), str(told["person"]), _decode(told["public_key"])
        Ed25519PublicKey.from_public_bytes(raw)
    except (KeyError, ValueError, TypeError) as error:
        raise KeyFileError(f"{path} holds no release key{_tell_other_half(path)}") from error
    _check(role, person)
    return PublicKeyFile(role, person, raw)


def _tell_other_half(path: Path) -> str:
    """Say which half was probably meant."""
    if path.suffix == ".pub":
        return f" that could sign; that is {path.with_suffix('')}, with its owner"
    if path.with_name(f"{path.name}.pub").exists():
        return f" that could be given away; that is {path}.pub"
    return ""


def _read(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_bytes())
    except OSError as error:
        raise KeyFileError(f"key file {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise KeyFileError(f"{path} holds no release key") from error
    if not isinstance(told, dict):
        raise KeyFileError(f"{path} holds no release key")
    return told


def _write_new(path: Path, content: bytes, *, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            path.unlink()
            raise
    except OSError as error:
        raise KeyFileError(f"key file {path} cannot be written: {error.strerror}") from error


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
