"""Back-pressure: say "later" before the disk is full or the loader hopelessly behind."""

from __future__ import annotations

import asyncio
import logging
import os

from teiten.foundation.clock import Clock
from teiten.foundation.logs import OncePer
from teiten.landing import metrics
from teiten.landing.commit import Ledger
from teiten.landing.config import LandingConfig
from teiten.landing.database import AsyncDatabase
from teiten.landing.errors import LandingFull, LandingUnavailable
from teiten.landing.segments import folder_of

_log = logging.getLogger(__name__)


class Pressure:
    """Looks at disk and backlog now and then, so that a request costs nothing."""

    def __init__(self, config: LandingConfig, dsn: str, clock: Clock) -> None:
        self._config = config
        # A connection of its own: counting must not hold up commits.
        self._database = AsyncDatabase(dsn, connect_seconds=config.connect_seconds)
        self._ledger = Ledger(self._database, clock)
        self._clock = clock
        self._once = OncePer(60.0)
        self._disk_trouble: str | None = None
        self._backlog_trouble: str | None = None

    def check(self) -> None:
        """Refuse when there is no room.

        Raises:
            LandingFull: naming the limit.
        """
        trouble = self._disk_trouble or self._backlog_trouble
        if trouble is not None:
            metrics.BATCHES.labels("full").inc()
            raise LandingFull(trouble, retry_after_seconds=self._config.retry_seconds)

    def note_disk_error(self, error: OSError) -> None:
        """Refuse from now on, until the next look at the disk."""
        self._disk_trouble = f"the disk under landing.folder refuses to write: {error.strerror}"

    async def watch(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(self._config.watch_seconds)
            await self.look()

    async def look(self) -> None:
        """Look at disk and backlog once."""
        self._disk_trouble = await asyncio.to_thread(self._find_disk_trouble)
        try:
            batches, size_bytes = await self._ledger.measure_backlog()
        except LandingUnavailable:
            # The commits find out by themselves; the last known backlog stands.
            return
        metrics.BACKLOG_BATCHES.set(batches)
        metrics.BACKLOG_BYTES.set(size_bytes)
        self._backlog_trouble = self._find_backlog_trouble(batches, size_bytes)
        trouble = self._disk_trouble or self._backlog_trouble
        if trouble is not None and self._once.is_due(trouble[:20], self._clock.monotonic()):
            _log.warning("nothing lands", extra={"reason": trouble})

    async def close(self) -> None:
        await self._database.close()

    def _find_disk_trouble(self) -> str | None:
        try:
            status = os.statvfs(folder_of(self._config))
        except OSError as error:
            return f"landing.folder cannot be looked at: {error.strerror}"
        free_bytes = status.f_bavail * status.f_frsize
        metrics.FREE_BYTES.set(free_bytes)
        if free_bytes < self._config.min_free_bytes:
            return (
                f"{free_bytes} bytes are free under landing.folder, less than landing.min_free_bytes "
                f"{self._config.min_free_bytes}"
            )
        return None

    def _find_backlog_trouble(self, batches: int, size_bytes: int) -> str | None:
        config = self._config
        if batches > config.max_backlog_batches:
            return f"{batches} batches wait for the loader, more than landing.max_backlog_batches {config.max_backlog_batches}"
        if size_bytes > config.max_backlog_bytes:
            return f"{size_bytes} bytes wait for the loader, more than landing.max_backlog_bytes {config.max_backlog_bytes}"
        return None
