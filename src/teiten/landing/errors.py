"""Errors of landing.

LandingError
├── SequenceConflict     the number was received with other content: a clone, or a lying sensor
├── ReceiptExpired       received, but so long ago that the receipt is no longer kept
├── LandingFull          no room, or the loader is far behind: come back later
├── LandingUnavailable   the ledger's database does not answer: come back later
├── LandingClosed        landing is stopping: come back later
├── SegmentDamaged       a receipted batch cannot be read back as it was written
├── LeaseLost            another loader has the block now; stop work on it
└── MigrationError       the ledger's schema cannot be brought up to date
"""

from __future__ import annotations

from teiten.foundation.errors import TeitenError


class LandingError(TeitenError):
    """Landing cannot do what was asked."""


class SequenceConflict(LandingError):
    """The same sensor, epoch and sequence was received with another digest."""


class ReceiptExpired(LandingError):
    """The batch was received long ago; the sensor may forget it."""


class LandingFull(LandingError):
    """Nothing was stored; the sender should come back."""

    def __init__(self, message: str, *, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class LandingUnavailable(LandingError):
    """The ledger's database does not answer; whether the batch landed shows at the next try."""


class LandingClosed(LandingError):
    """Landing is not started, or is stopping."""


class SegmentDamaged(LandingError):
    """A segment does not hold what the ledger says."""


class LeaseLost(LandingError):
    """The block belongs to another loader, or is finished."""


class MigrationError(LandingError):
    """A migration failed; the message names it."""
