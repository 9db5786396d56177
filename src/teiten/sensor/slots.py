"""A small record that survives a crash and a full disk: two slots, written in turn.

Both slots are given their disk blocks when the file is made, and are then only
overwritten, so that no later write needs space. A slot that was torn fails its
checksum, and the other one, one generation older, stands.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

from teiten.sensor.errors import StateError

_SLOT_BYTES = 65_536
#: Magic, generation, length of the JSON, CRC-32 of generation and JSON.
_HEAD = struct.Struct(">8sQII")
_MAGIC = b"TTSLOT01"
#: Largest record that fits.
MAX_RECORD_BYTES = _SLOT_BYTES - _HEAD.size


class SlotFile:
    """One JSON object on disk, replaced as a whole.

    Raises:
        StateError: when the file cannot be made or read, or neither slot of it is whole.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._generation = 0
        self.record: dict[str, Any] | None = None
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if os.fstat(self._file).st_size < 2 * _SLOT_BYTES:
                self._reserve()
            self._read()
        except OSError as error:
            raise StateError(f"state file {path} cannot be used: {error.strerror}") from error

    def write(self, record: dict[str, Any]) -> None:
        """Replace the record, durably.

        Raises:
            StateError: when it is too long or the disk refuses.
        """
        text = json.dumps(record, separators=(",", ":")).encode()
        if len(text) > MAX_RECORD_BYTES:
            raise StateError(f"record of {len(text)} bytes does not fit a slot of {self._path}")
        generation = self._generation + 1
        slot = _HEAD.pack(_MAGIC, generation, len(text), _checksum(generation, text)) + text
        try:
            os.pwrite(self._file, slot, (generation % 2) * _SLOT_BYTES)
            os.fdatasync(self._file)
        except OSError as error:
            raise StateError(f"state file {self._path} cannot be written: {error.strerror}") from error
        self._generation, self.record = generation, record

    def close(self) -> None:
        os.close(self._file)

    def _reserve(self) -> None:
        """Take the disk blocks now; zeros are written because a hole would need space later."""
        os.pwrite(self._file, bytes(2 * _SLOT_BYTES), 0)
        os.fsync(self._file)

    def _read(self) -> None:
        slots = [os.pread(self._file, _SLOT_BYTES, place * _SLOT_BYTES) for place in (0, 1)]
        for slot in slots:
            generation, text = _parse(slot)
            if text is not None and generation > self._generation:
                self._generation, self.record = generation, json.loads(text)
        if self.record is None and any(any(slot) for slot in slots):
            raise StateError(
                f"state file {self._path} is damaged in both slots; move it away to start from the spool alone"
            )


def _parse(slot: bytes) -> tuple[int, bytes | None]:
    magic, generation, length, checksum = _HEAD.unpack_from(slot)
    text = slot[_HEAD.size : _HEAD.size + length]
    if magic != _MAGIC or len(text) != length or checksum != _checksum(generation, text):
        return 0, None
    return generation, text


def _checksum(generation: int, text: bytes) -> int:
    return zlib.crc32(text, generation & 0xFFFFFFFF)
