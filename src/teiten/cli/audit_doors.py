"""Signed heads of the audit chain, in a folder outside the database: a line each, appended and synced."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teiten.accounts import heads
from teiten.accounts.heads import Head, SignedHead
from teiten.cli.errors import CliError
from teiten.protocol import keys

_log = logging.getLogger(__name__)


class AuditHeads:
    """The folder, and the key that signs; both are made at the first use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def path(self) -> Path:
        """The file of the heads."""
        return self._folder / "heads.jsonl"

    def sign(self, head: Head) -> SignedHead:
        """Sign a head."""
        return heads.sign_head(head, self._key())

    def keep_head(self, head: Head) -> None:
        """Sign a head, keep it, and tell it to the log, from where it can be shipped."""
        line = self.sign(head).to_line()
        with self.path.open("ab+") as file:
            file.seek(max(0, file.tell() - 1))
            # What a crash cut off must not take this line with it.
            torn = file.read() not in (b"", b"\n")
            file.write(b"\n" * torn + line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        _log.info("the audit chain's head was signed", extra={"head": line})

    def read(self) -> list[Head]:
        """Give the heads that were kept here, their signatures checked.

        Raises:
            AuditHeadError: when a line is not what this base signed.
        """
        if not self.path.exists():
            return []
        return read_heads(self.path, public_key=self.public_key)

    @property
    def public_key(self) -> bytes:
        """32 raw bytes; keep them with the heads that you take elsewhere."""
        return keys.public_bytes(self._key())

    def _key(self) -> Ed25519PrivateKey:
        path = self._folder / "signing.pem"
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            keys.save_private(keys.generate_key(), path)
        return keys.load_private(path)


def read_heads(path: Path, *, public_key: bytes | None) -> list[Head]:
    """Read a file of heads.

    Raises:
        CliError: when it cannot be read.
        AuditHeadError: when a line is no head, or not signed by ``public_key``.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{path} cannot be read: {error}") from error
    # A crash can leave half a line at the end, which tells nothing.
    whole = [line for line in lines if line.strip().endswith("}")]
    return [heads.read_head(line, public_key=public_key) for line in whole]
