"""Settings of the loader: section ``[loader]``, or ``TEITEN_LOADER_…``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LoaderConfig:
    """How landed batches become rows."""

    #: Batches in one block at most.
    max_batches: int = 4_000
    #: Bytes of batches in one block at most.
    max_bytes: int = 8 * 1024 * 1024
    #: Seconds between two blocks while little arrives, so that blocks are not tiny; bounds freshness.
    pace_seconds: float = 0.5
    #: Longest such pause, seconds, when inserts are slow.
    longest_pace_seconds: float = 1.5
    #: Loaders in one process; all but the first work only while more than a block waits.
    parallel: int = 2
    #: Threads of a loader that verify and unpack batches.
    threads: int = 2
    #: Seconds that a window may end after its batch landed (the sensor's clock is ahead).
    future_seconds: int = 300
    #: Days that a live or simulated window may be older than its landing; imports have no such limit.
    max_age_days: int = 400
    #: Unpacked bytes of a block that are in memory at a time; more goes into the store in parts.
    part_bytes: int = 96 * 1024 * 1024
    #: Unpacked bytes of one batch at most.
    batch_bytes: int = 32 * 1024 * 1024
    #: Rows of one batch at most.
    batch_rows: int = 65_536
    #: Longest pause after a failure, seconds.
    backoff_seconds: float = 30.0
