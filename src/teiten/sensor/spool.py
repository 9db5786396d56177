"""The recording side of the spool: numbers, bound, tombstones.

Invariants, also across ``kill -9`` at any instruction:

* a sequence number is given to at most one batch that was ever written, and numbers
  leave no gap: a number without a batch has a tombstone. The next number follows
  the highest of state file, spool files and tombstones; the state file is brought
  up to date before the file that held the highest number leaves the spool;
* a batch leaves ``ready`` only receipted, refused for ever, corrupt, or dropped by
  the bound; all but the first leave a tombstone (a conflict does not: the gateway
  holds that number);
* a full disk costs whole windows, never half a file.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from teiten.protocol.header import LostBatch
from teiten.sensor.errors import SpoolFullError, StateError
from teiten.sensor.sealed import SealedBatch
from teiten.sensor.slots import SlotFile
from teiten.sensor.spool_files import (
    ASIDE,
    CONFLICT,
    CORRUPT,
    DONE,
    FAILED,
    FAILURES,
    READY,
    REFUSED,
    SpoolName,
    list_names,
    make_folders,
    name_of,
    parse_name,
    write_sealed,
)
from teiten.sensor.tombstones import Tombstones

_log = logging.getLogger(__name__)

#: What even a nearly full disk does not make the spool drop.
KEPT_BYTES = 16 * 1024 * 1024
#: Files kept aside for a person to look at.
_MAX_ASIDE = 64
#: Drops since the start at which the log says so: a flood of them is few lines.
_TOLD_AT = frozenset(10**power for power in range(12))
_FULL = (errno.ENOSPC, errno.EDQUOT)

#: Seals under the number and with the tombstones it is given.
Sealer: TypeAlias = Callable[[int, tuple[LostBatch, ...]], SealedBatch]


@dataclass(frozen=True)
class SpoolLimits:
    """How much disk the spool may take."""

    max_bytes: int
    #: Left free for others, as long as the spool holds more than ``KEPT_BYTES``.
    min_free_bytes: int = 0


@dataclass
class SpoolCounts:
    """What happened to batches since the process started."""

    sealed: int = 0
    receipted: int = 0
    dropped: int = 0
    corrupt: int = 0
    refused: int = 0
    conflicts: int = 0
    #: Windows that a full disk took before they were sealed.
    unsaved: int = 0


class Spool:
    """The spool of one sensor; one process at a time may hold it.

    Raises:
        StateError: when folder or state file cannot be used.
    """

    def __init__(self, state_dir: Path, *, epoch: int, limits: SpoolLimits) -> None:
        self._folder = state_dir / "spool"
        self._epoch = epoch
        self._limits = limits
        self.counts = SpoolCounts()
        self._sizes: dict[SpoolName, int] = {}
        self._bytes = 0
        self._last_seq = 0
        self._last_window_end_us: int | None = None
        self._tombstones = Tombstones()
        try:
            make_folders(self._folder)
            self._remove_parts()
            self._slots = SlotFile(state_dir / "spool-state.bin")
            self._load()
        except OSError as error:
            raise StateError(f"spool {self._folder} cannot be used: {error.strerror}") from error
        self.sweep()

    @property
    def next_seq(self) -> int:
        return self._last_seq + 1

    @property
    def last_window_end_us(self) -> int | None:
        """End of the last live window that was sealed or given up; None: there was none."""
        return self._last_window_end_us

    @property
    def waiting(self) -> int:
        """Batches in ``ready``, as far as this side knows."""
        return len(self._sizes)

    @property
    def waiting_bytes(self) -> int:
        return self._bytes

    @property
    def oldest_window_us(self) -> int | None:
        return next(iter(self._sizes)).window_start_us if self._sizes else None

    @property
    def lost_batches(self) -> int:
        """Batches in tombstones that the gateway has not receipted."""
        return self._tombstones.batches

    def add(self, seal: Sealer) -> SealedBatch:
        """Seal under the next number and keep the batch.

        Args:
            seal: called with the number and the tombstones to carry.

        Raises:
            SpoolFullError: when the disk takes nothing; no number is used up.
        """
        sealed = seal(self.next_seq, self._tombstones.list_carried())
        size = len(sealed.body)
        self._make_room(size)
        while True:
            try:
                written = write_sealed(self._folder, sealed)
                break
            except OSError as error:
                if error.errno in _FULL and self._drop_oldest("the disk is full"):
                    continue
                raise SpoolFullError(
                    f"spool {self._folder} cannot be written: {error.strerror}; free disk space there"
                ) from error
        self._note(name_of(sealed), written)
        self._tombstones.carry(sealed.seq)
        self.counts.sealed += 1
        return sealed

    def give_up(self, window_start_us: int, window_end_us: int) -> None:
        """Use up a number for a window that could not be kept: a tombstone stands for it."""
        self._last_seq += 1
        self._last_window_end_us = window_end_us
        self._tombstones.add(LostBatch(self._last_seq, self._last_seq, window_start_us, window_end_us))
        self.counts.unsaved += 1
        self.save()

    def begin_epoch(self, epoch: int) -> None:
        """Number from 1 in a new epoch; what waits keeps its numbers in the old one."""
        self.sweep()
        self._epoch, self._last_seq = epoch, 0
        self._tombstones = Tombstones()
        self.save()

    def sweep(self) -> None:
        """Take note of what the sending side did, and of the bound."""
        self._sweep_done()
        self._sweep_failed()
        self._make_room(0)

    def save(self) -> bool:
        """Write the state file; when that fails, say so and leave the files that still tell."""
        record = {
            "epoch": self._epoch,
            "last_seq": self._last_seq,
            "last_window_end_us": self._last_window_end_us,
            "tombstones": self._tombstones.as_rows(),
        }
        try:
            self._slots.write(record)
        except StateError as error:
            _log.error("The spool's state cannot be saved", extra={"error": str(error)})
            return False
        return True

    def close(self) -> None:
        self.save()
        self._slots.close()

    def _load(self) -> None:
        record = self._slots.record or {}
        same_epoch = record.get("epoch") == self._epoch
        self._last_window_end_us = record.get("last_window_end_us")
        self._last_seq = int(record["last_seq"]) if same_epoch else 0
        self._tombstones = Tombstones(record["tombstones"] if same_epoch else None)
        for folder in (READY, DONE, FAILED):
            for text in list_names(self._folder / folder):
                self._recall(folder, text)
        self._bytes = sum(self._sizes.values())

    def _recall(self, folder: str, text: str) -> None:
        name = parse_name(text)
        if name is None:
            return
        if folder == READY:
            self._sizes[name] = (self._folder / READY / text).stat().st_size
        self._note_number(name)

    def _note(self, name: SpoolName, size_bytes: int) -> None:
        self._sizes[name] = size_bytes
        self._bytes += size_bytes
        self._note_number(name)

    def _note_number(self, name: SpoolName) -> None:
        if name.epoch == self._epoch and name.seq > self._last_seq:
            self._last_seq = name.seq
            if name.is_live:
                self._last_window_end_us = name.window_end_us

    def _remove_parts(self) -> None:
        for part in self._folder.glob("*.part"):
            part.unlink()

    def _sweep_done(self) -> None:
        done = self._list(DONE)
        if not done:
            return
        for _text, name in done:
            if name.epoch == self._epoch:
                self._tombstones.receipt(name.seq)
            self._forget(name)
            self.counts.receipted += 1
        if not self.save():
            return
        for text, _name in done:
            (self._folder / DONE / text).unlink(missing_ok=True)

    def _sweep_failed(self) -> None:
        failed = self._list(FAILED)
        if not failed:
            return
        for text, name in failed:
            self._forget(name)
            self._count_failed(text)
            if name.epoch == self._epoch and not text.endswith(CONFLICT):
                self._tombstones.add(name.as_lost())
        if not self.save():
            return
        for text, _name in failed:
            self._put_aside(text)
        for text in list_names(self._folder / ASIDE)[:-_MAX_ASIDE]:
            (self._folder / ASIDE / text).unlink(missing_ok=True)

    def _put_aside(self, text: str) -> None:
        if text.endswith(FAILURES):
            (self._folder / FAILED / text).replace(self._folder / ASIDE / text)
        else:
            # Dropped for space: the claim of a drop that a crash or a refused save interrupted.
            (self._folder / FAILED / text).unlink(missing_ok=True)

    def _count_failed(self, text: str) -> None:
        if text.endswith(CONFLICT):
            self.counts.conflicts += 1
        elif text.endswith(REFUSED):
            self.counts.refused += 1
        elif text.endswith(CORRUPT):
            self.counts.corrupt += 1
        else:
            self.counts.dropped += 1
            return
        _log.error("A spooled batch was set aside", extra={"file": text, "folder": str(self._folder / ASIDE)})

    def _list(self, folder: str) -> list[tuple[str, SpoolName]]:
        named = ((text, parse_name(text)) for text in list_names(self._folder / folder))
        return [(text, name) for text, name in named if name is not None]

    def _forget(self, name: SpoolName) -> None:
        self._bytes -= self._sizes.pop(name, 0)

    def _make_room(self, size_bytes: int) -> None:
        while self._sizes and self._bytes + size_bytes > self._limits.max_bytes:
            if not self._drop_oldest("sensor.spool_bytes is reached"):
                return
        while self._bytes > KEPT_BYTES and self._free_bytes() < self._limits.min_free_bytes:
            if not self._drop_oldest("the disk has less than sensor.min_free_bytes left"):
                return

    def _free_bytes(self) -> int:
        disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize

    def _drop_oldest(self, reason: str) -> bool:
        """Drop the oldest waiting batch, leaving a tombstone; give False when none waits.

        The file is claimed by a rename into ``failed``: after a crash in between, the next
        start finds it there and sets the tombstone.
        """
        if not self._sizes:
            return False
        name = next(iter(self._sizes))
        self._forget(name)
        claimed = self._folder / FAILED / name.text
        try:
            (self._folder / READY / name.text).rename(claimed)
        except FileNotFoundError:
            # The sending side was faster; the next sweep sees what became of it.
            return True
        if name.epoch == self._epoch:
            self._tombstones.add(name.as_lost())
        self.counts.dropped += 1
        if self.counts.dropped in _TOLD_AT:
            extra = {"reason": reason, "dropped": self.counts.dropped, "folder": str(self._folder)}
            _log.error("The spool drops its oldest batches", extra=extra)
        if self.save():
            claimed.unlink(missing_ok=True)
        return True
