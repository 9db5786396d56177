"""Settings of landing: section ``[landing]``, or ``TEITEN_LANDING_…``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class LandingConfig:
    """Where batches land, and when to say "later"."""

    #: Folder of the segments, on a durable local volume; empty: ``landing`` in the data folder.
    folder: Path | None = None
    #: A segment is closed at this size, bytes.
    segment_bytes: int = 64 * 1024 * 1024
    #: A segment is closed at this age, seconds.
    segment_seconds: float = 600.0
    #: Batches written and committed together at most.
    group_batches: int = 512
    #: Bytes written and committed together at most.
    group_bytes: int = 32 * 1024 * 1024
    #: Below this much free disk, bytes, nothing lands.
    min_free_bytes: int = 1024 * 1024 * 1024
    #: With more batches than this waiting for the loader, nothing lands.
    max_backlog_batches: int = 5_000_000
    #: With more bytes than this waiting for the loader, nothing lands.
    max_backlog_bytes: int = 64 * 1024 * 1024 * 1024
    #: How often free disk and backlog are looked at, seconds.
    watch_seconds: float = 5.0
    #: What a sender is told to wait when nothing lands, seconds.
    retry_seconds: int = 30
    #: How long the ledger's database may take to accept a connection, seconds.
    connect_seconds: int = 3
    #: How long a loader may work on a block without a sign of life, seconds.
    lease_seconds: float = 120.0
    #: Days that ledger rows, receipts and segments are kept; sequence numbers are kept for ever.
    keep_days: int = 90
