r"""Segments: files that only grow, where the bytes of batches lie.

A record is a head that says what follows, then the batch as it came:

    "TTSEG1\0\0" | sensor u32 | key_no u32 | epoch u32 | size u32 | seq u64 | digest 32 | seal 64 | body

(little-endian), so that a segment can be read without the ledger. But the ledger,
not a scan, names what was received: whatever lies in a segment without a ledger
row means nothing, and a tail may be torn. So a file is never opened for writing
again once its writer is gone, and no name is used twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from teiten.foundation.clock import Clock
from teiten.landing.config import LandingConfig
from teiten.landing.errors import LandingError, SegmentDamaged

SUFFIX = ".seg"
_HEAD = struct.Struct("<8sIIIIQ32s64s")
_MAGIC = b"TTSEG1\0\0"
_OPEN_READERS = 32


@dataclass(frozen=True)
class Arrival:
    """A batch at the door, verified as far as a door can: key, seal, digest."""

    sensor: int
    key_no: int
    epoch: int
    seq: int
    #: SHA-256 of the body.
    digest: bytes
    seal: bytes
    body: bytes
    #: Keep it from the loader: its sensor is under suspicion of being cloned.
    held: bool = False

    @property
    def name(self) -> tuple[int, int, int]:
        return self.sensor, self.epoch, self.seq


@dataclass(frozen=True)
class Written:
    """Where a group of bodies lies, safe on disk."""

    segment: str
    #: Start of each body.
    offsets: list[int]
    #: End of the segment as far as it is known to be good.
    size_bytes: int


def folder_of(config: LandingConfig) -> Path:
    """Give the configured folder.

    Raises:
        LandingError: when none is set.
    """
    if config.folder is None:
        raise LandingError("landing.folder is not set; name a folder on a durable local volume")
    return config.folder


class SegmentWriter:
    """Writes segments; used by one thread at a time."""

    def __init__(self, config: LandingConfig, clock: Clock, at: Callable[[str], None]) -> None:
        self._config = config
        self._folder = folder_of(config)
        self._clock = clock
        self._at = at
        self._file: int | None = None
        self._name = ""
        self._size_bytes = 0
        self._opened_at = 0.0
        #: Segments that were closed and not yet noted in the ledger.
        self.closed: list[str] = []

    def write(self, arrivals: Sequence[Arrival]) -> Written:
        """Append a group and make it durable.

        Raises:
            OSError: when the disk refuses; nothing of the group counts, and a new segment is
                begun with the next one.
        """
        self._rotate()
        try:
            file = self._open()
            offsets, chunks, end = self._frame(arrivals)
            _write_all(file, b"".join(chunks))
            self._at("written")
            os.fdatasync(file)
            self._at("synced")
        except OSError:
            self._abandon()
            raise
        self._size_bytes = end
        return Written(self._name, offsets, end)

    def close(self) -> None:
        """Close the open segment for ever."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
            self.closed.append(self._name)

    def _frame(self, arrivals: Sequence[Arrival]) -> tuple[list[int], list[bytes], int]:
        offsets: list[int] = []
        chunks: list[bytes] = []
        end = self._size_bytes
        for one in arrivals:
            head = _HEAD.pack(
                _MAGIC, one.sensor, one.key_no, one.epoch, len(one.body), one.seq, one.digest, one.seal
            )
            chunks += [head, one.body]
            offsets.append(end + len(head))
            end += len(head) + len(one.body)
        return offsets, chunks, end

    def _rotate(self) -> None:
        is_old = self._clock.monotonic() - self._opened_at >= self._config.segment_seconds
        if self._file is not None and (is_old or self._size_bytes >= self._config.segment_bytes):
            self.close()

    def _open(self) -> int:
        if self._file is None:
            name = f"{self._clock.now():%Y%m%dT%H%M%S}-{secrets.token_hex(6)}{SUFFIX}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(self._folder / name, flags, 0o600)
            self._name, self._size_bytes, self._opened_at = name, 0, self._clock.monotonic()
            # A file whose name is lost with a power cut is lost too.
            _sync_folder(self._folder)
        return self._file

    def _abandon(self) -> None:
        """Give up a segment whose tail is unknown; give its unused bytes back if the disk allows."""
        if self._file is None:
            return
        with contextlib.suppress(OSError):
            # If this fails too, the torn tail stays; no ledger row points at it.
            os.ftruncate(self._file, self._size_bytes)
        self.close()


class SegmentReader:
    """Reads bodies back, checked; keeps a few files open."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: OrderedDict[str, int] = OrderedDict()
        # Another thread must not close a file between our finding and reading it.
        self._lock = threading.Lock()

    def read(self, segment: str, offset: int, *, size_bytes: int, digest: bytes) -> bytes:
        """Read one body.

        Raises:
            SegmentDamaged: when the file is gone, too short, or holds something else.
        """
        try:
            with self._lock:
                body = os.pread(self._file(segment), size_bytes, offset)
        except OSError as error:
            raise SegmentDamaged(f"segment {segment} cannot be read: {error.strerror}") from error
        if hashlib.sha256(body).digest() != digest:
            raise SegmentDamaged(f"segment {segment} does not hold the receipted bytes at {offset}")
        return body

    def close(self) -> None:
        while self._files:
            os.close(self._files.popitem()[1])

    def _file(self, segment: str) -> int:
        if segment in self._files:
            self._files.move_to_end(segment)
            return self._files[segment]
        file = os.open(self._folder / segment, os.O_RDONLY | os.O_CLOEXEC)
        self._files[segment] = file
        if len(self._files) > _OPEN_READERS:
            os.close(self._files.popitem(last=False)[1])
        return file


def prepare_folder(folder: Path) -> None:
    """Make the folder, for its owner only.

    Raises:
        LandingError: when it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise LandingError(f"landing.folder {folder} cannot be made: {error.strerror}") from error


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
