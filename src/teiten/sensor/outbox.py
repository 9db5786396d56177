"""The sending side of the spool: what waits, and where it goes afterwards."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from teiten.sensor.sealed import SealedBatch
from teiten.sensor.spool_files import (
    CONFLICT,
    CORRUPT,
    DONE,
    FAILED,
    READY,
    REFUSED,
    list_names,
    make_folders,
    read_sealed,
)


class Outbox:
    """Batches that wait in the spool's ``ready``; names are file names there."""

    def __init__(self, spool: Path) -> None:
        make_folders(spool)
        self._spool = spool

    def list_waiting(self) -> list[str]:
        """Give the names of all waiting batches, oldest first."""
        return list_names(self._spool / READY)

    def count_bytes(self) -> int:
        """Give the size of all that waits."""
        total = 0
        for name in self.list_waiting():
            with contextlib.suppress(FileNotFoundError):
                total += (self._spool / READY / name).stat().st_size
        return total

    def load(self, name: str) -> SealedBatch:
        """Read a batch to be sent.

        Raises:
            SpoolFileError: when it is corrupt.
            FileNotFoundError: when the bound of the spool has taken it meanwhile.
        """
        return read_sealed(self._spool / READY / name)

    def mark_done(self, name: str) -> None:
        """Note that the gateway's receipt for this batch has been verified."""
        try:
            (self._spool / READY / name).rename(self._spool / DONE / name)
        except FileNotFoundError:
            # Dropped for space while it was on its way: say that it did arrive.
            descriptor = os.open(self._spool / DONE / name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.close(descriptor)

    def mark_corrupt(self, name: str) -> None:
        self._move_to_failed(name, CORRUPT)

    def mark_refused(self, name: str) -> None:
        """Note that the gateway will never take this batch."""
        self._move_to_failed(name, REFUSED)

    def mark_conflict(self, name: str) -> None:
        """Note that the gateway holds other bytes under this number."""
        self._move_to_failed(name, CONFLICT)

    def _move_to_failed(self, name: str, suffix: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self._spool / READY / name).rename(self._spool / FAILED / f"{name}{suffix}")
