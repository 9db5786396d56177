"""An operator's key: Ed25519 in a file that its passphrase protects (PKCS#8, RFC 8018 PBES2).

The public half lies beside it in ``FILE.pub``, so that drafts can be written without
the passphrase. A passphrase is typed, or read from a private file; it never stands in
the arguments of a process, where every user of the machine can read it.
"""

from __future__ import annotations

import getpass
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from teiten.operators.errors import KeyUseError
from teiten.operators.files import read_file, write_new
from teiten.operators.pkcs8 import encrypt_pkcs8
from teiten.protocol.errors import MessageError
from teiten.protocol.keys import PUBLIC_KEY_BYTES, from_text, generate_key, public_bytes, to_text
from teiten.protocol.operator_list import operator_key_id

MIN_PASSPHRASE_CHARACTERS = 12
#: PBKDF2 rounds: 0.2 s for who knows the passphrase, and for every guess.
ITERATIONS = 600_000
_MAX_BYTES = 16_384


@dataclass(frozen=True)
class PublicHalf:
    """What of a key may be shown."""

    key_id: str
    public_key: bytes


def read_passphrase(path: Path | None, *, is_new: bool = False) -> str:
    """Get the passphrase from a private file, or ask for it; twice for a new key.

    Raises:
        KeyUseError: when the file is open to others, or a new passphrase is short or mistyped.
    """
    if path is not None:
        return _check_new(_read_passphrase_file(path), is_new=is_new)
    try:
        typed = getpass.getpass("Passphrase: ")
        if is_new and typed != getpass.getpass("The same again: "):
            raise KeyUseError("the two passphrases differ; nothing was made")
    except EOFError as error:
        raise KeyUseError("no passphrase was given; use --passphrase-file where nobody can type") from error
    return _check_new(typed, is_new=is_new)


def create_key(path: Path, passphrase: str) -> PublicHalf:
    """Make a key and write both halves.

    Raises:
        OperatorError: when a file is there already or cannot be written.
    """
    if public_path(path).exists():
        raise KeyUseError(f"{public_path(path)} is there already; move it away, or choose another name")
    key = generate_key()
    plain = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    pem = encrypt_pkcs8(plain, passphrase.encode(), iterations=ITERATIONS)
    write_new(path, pem, mode=0o600)
    write_new(public_path(path), f"{to_text(public_bytes(key))}\n".encode())
    return _name(public_bytes(key))


def load_key(path: Path, passphrase: str) -> Ed25519PrivateKey:
    """Open a key.

    Raises:
        KeyUseError: for a wrong passphrase, no such key, or a file open to others.
    """
    _check_private(path, "key file")
    pem = read_file(path, "key file", max_bytes=_MAX_BYTES)
    try:
        key = load_pem_private_key(pem, password=passphrase.encode())
    except TypeError as error:
        raise KeyUseError(f"key file {path} has no passphrase; an operator's key needs one") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyUseError(f"key file {path} cannot be opened: wrong passphrase, or no key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUseError(f"the key in {path} is not Ed25519")
    return key


def load_public_half(path: Path) -> PublicHalf:
    """Read the public half that lies beside a key.

    Raises:
        OperatorError: when it is not there or damaged.
    """
    text = read_file(public_path(path), "public half", max_bytes=_MAX_BYTES)
    try:
        return _name(from_text(text.decode("ascii").strip(), size_bytes=PUBLIC_KEY_BYTES))
    except (MessageError, UnicodeDecodeError) as error:
        raise KeyUseError(f"{public_path(path)} holds no public key: {error}") from error


def public_path(path: Path) -> Path:
    return path.with_name(path.name + ".pub")


def _name(public_key: bytes) -> PublicHalf:
    return PublicHalf(operator_key_id(public_key), public_key)


def _read_passphrase_file(path: Path) -> str:
    _check_private(path, "passphrase file")
    text = read_file(path, "passphrase file", max_bytes=_MAX_BYTES)
    try:
        return text.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise KeyUseError(f"passphrase file {path} holds no text") from error


def _check_private(path: Path, what: str) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise KeyUseError(f"{what} {path} cannot be read: {error.strerror}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise KeyUseError(f"{what} {path} is open to others; run chmod 600 on it")


def _check_new(passphrase: str, *, is_new: bool) -> str:
    if is_new and len(passphrase) < MIN_PASSPHRASE_CHARACTERS:
        raise KeyUseError(f"a passphrase has at least {MIN_PASSPHRASE_CHARACTERS} characters")
    if not passphrase:
        raise KeyUseError("the passphrase is empty")
    return passphrase
