"""What an operator's key has done: its counter, the commands it wrote, the ones it signed.

The file lies beside the key. A counter is on the disk before the command that carries
it, and a signature is noted before it is written: whatever happens, no counter is used
twice, and no id is signed with two contents.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from teiten.operators.errors import OperatorError, SigningError
from teiten.operators.files import read_file, replace_file

_MAX_BYTES = 16_777_216
_KEPT = 10_000


class SigningRecord:
    """The record of one key, held by one process at a time: ``with SigningRecord(key) as record``.

    Raises:
        OperatorError: when it cannot be used, or another process holds it.
    """

    def __init__(self, key_path: Path) -> None:
        self._path = key_path.with_name(key_path.name + ".record.json")
        self._lock_path = key_path.with_name(key_path.name + ".lock")
        self._lock = -1
        self._told: dict[str, Any] = {}

    def __enter__(self) -> SigningRecord:  # noqa: PYI034  # typing.Self needs Python 3.11
        try:
            self._lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._close()
            raise OperatorError(f"another teiten-operator uses this key, or {error.strerror}") from error
        try:
            self._told = self._read()
        except OperatorError:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def next_counter(self, command_id: str, now_s: int) -> int:
        """Give a counter above every one given before; it is on the disk when this returns.

        It is never below the seconds since 1970, so that a record that was lost or
        restored from a backup does not repeat what sensors have seen.
        """
        counter = max(int(self._told.get("counter", 0)) + 1, now_s)
        self._keep("drafted", command_id, counter)
        self._told["counter"] = counter
        self._write()
        return counter

    def find_counter(self, command_id: str) -> int | None:
        """Give the counter that was given to a command; None when this key did not write it."""
        found = self._told.get("drafted", {}).get(command_id)
        return found if isinstance(found, int) else None

    def note_signature(self, command_id: str, payload_sha256: bytes) -> None:
        """Note that a command is about to be signed; it is on the disk when this returns.

        Raises:
            SigningError: when another content was signed under this id.
        """
        known = self._told.get("signed", {}).get(command_id)
        if known not in (None, payload_sha256.hex()):
            raise SigningError(
                f"this key has signed command {command_id} with another content; somebody has changed it"
            )
        self._keep("signed", command_id, payload_sha256.hex())
        self._write()

    def _keep(self, table: str, name: str, value: int | str) -> None:
        kept = {**self._told.get(table, {}), name: value}
        self._told[table] = dict(list(kept.items())[-_KEPT:])

    def _read(self) -> dict[str, Any]:
        if not self._path.exists():
            return {}
        text = read_file(self._path, "record", max_bytes=_MAX_BYTES)
        try:
            told = json.loads(text)
        except ValueError as error:
            raise OperatorError(
                f"record {self._path} is damaged ({error}); restore it from a backup, or move it away"
            ) from error
        if not isinstance(told, dict):
            raise OperatorError(f"record {self._path} is no record; move it away")
        return told

    def _write(self) -> None:
        replace_file(self._path, json.dumps(self._told).encode(), mode=0o600)

    def _close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
