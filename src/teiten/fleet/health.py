"""What state a sensor is in, from facts alone.

"Zero seen" and "not watching" must never look the same: the worst thing that is
true of a sensor is its state, and everything that is true is listed beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from itertools import compress
from typing import Protocol

from teiten.fleet.config import FleetConfig


class Condition(str, Enum):
    """What is the matter with a sensor, worst first; the order decides which one is shown."""

    REVOKED = "revoked"
    #: Revoked by the organisation that housed it.
    WITHDRAWN = "withdrawn"
    SUSPENDED = "suspended"
    #: Suspended by the organisation that houses it.
    PAUSED = "paused"
    QUARANTINED = "quarantined"
    #: Made, not enrolled yet.
    WAITING = "waiting"
    #: Enrolled, and waits for an operator.
    PENDING_APPROVAL = "pending_approval"
    SILENT = "silent"
    #: Silent as planned.
    MAINTENANCE = "maintenance"
    GAPPED = "gapped"
    DROPPING = "dropping"
    SKEWED = "skewed"
    RING_FULL = "ring_full"
    DISK_LOW = "disk_low"
    #: The last update was rolled back, or cannot be taken.
    UPDATE_FAILED = "update_failed"
    WATCHING = "watching"


class Judged(Protocol):
    """What a judgement reads of a sensor; :class:`Facts` says what each is."""

    @property
    def standing(self) -> str: ...
    @property
    def enrolled_at(self) -> datetime | None: ...
    @property
    def heartbeat_at(self) -> datetime | None: ...
    @property
    def recent_captured(self) -> float: ...
    @property
    def recent_drops(self) -> float: ...
    @property
    def clock_offset_us(self) -> int | None: ...
    @property
    def missing_batches(self) -> int: ...
    @property
    def is_planned(self) -> bool: ...
    @property
    def by_host(self) -> bool: ...
    @property
    def disk_free_bytes(self) -> int | None: ...
    @property
    def ring_fill_permille(self) -> int | None: ...
    @property
    def update_state(self) -> str: ...


@dataclass(frozen=True)
class Facts:
    """What is known about one sensor."""

    #: The state of its row: created, token_issued, pending_approval, active, suspended, revoked, quarantined.
    standing: str
    enrolled_at: datetime | None
    heartbeat_at: datetime | None
    #: Packets over the last quarter of an hour, older ones counting less.
    recent_captured: float
    recent_drops: float
    #: Server minus sensor; None when the sensor does not know.
    clock_offset_us: int | None
    #: Missing sequence numbers below the highest landed one, tombstones not counted.
    missing_batches: int
    #: Maintenance is planned for now.
    is_planned: bool = False
    #: Its own organisation suspended or revoked it.
    by_host: bool = False
    disk_free_bytes: int | None = None
    #: Fullest that a capture ring was lately, in thousandths.
    ring_fill_permille: int | None = None
    #: What its launcher says: steady, trying, rolled_back, blocked; empty without one.
    update_state: str = ""


_STANDINGS = {
    "revoked": Condition.REVOKED,
    "suspended": Condition.SUSPENDED,
    "quarantined": Condition.QUARANTINED,
    "created": Condition.WAITING,
    "token_issued": Condition.WAITING,
    "pending_approval": Condition.PENDING_APPROVAL,
}
_BY_HOST = {Condition.REVOKED: Condition.WITHDRAWN, Condition.SUSPENDED: Condition.PAUSED}
FAILED_UPDATES = frozenset({"rolled_back", "blocked"})


#: What an enrolled sensor may suffer from, in the order in which :meth:`Judge.__call__` asks.
_TROUBLES = (
    Condition.QUARANTINED,
    Condition.SILENT,
    Condition.MAINTENANCE,
    Condition.GAPPED,
    Condition.DROPPING,
    Condition.SKEWED,
    Condition.RING_FULL,
    Condition.DISK_LOW,
    Condition.UPDATE_FAILED,
)
_WATCHING = (Condition.WATCHING,)


class Judge:
    """Says what is true of sensors at one instant; made once for as many as there are."""

    def __init__(self, *, now: datetime, config: FleetConfig) -> None:
        self._heard_since = now - silence_allowed(config)
        self._dropping_share = config.dropping_share
        self._skewed_us = config.skewed_seconds * 1_000_000
        self._ring_full_permille = config.ring_full_permille
        self._disk_low_bytes = config.disk_low_bytes

    def __call__(self, facts: Judged) -> tuple[Condition, ...]:
        """Give everything that is true of a sensor, worst first; never empty.

        A sensor that nobody lets in (revoked, suspended, not yet enrolled) has no
        other condition: whether it is silent says nothing.
        """
        standing = _STANDINGS.get(facts.standing)
        if standing is not None and standing is not Condition.QUARANTINED:
            return (_BY_HOST.get(standing, standing) if facts.by_host else standing,)
        silent = self.is_silent(facts)
        free_bytes = facts.disk_free_bytes
        checks = (
            standing is Condition.QUARANTINED,
            silent and not facts.is_planned,
            silent and facts.is_planned,
            facts.missing_batches > 0,
            drop_share(facts) > self._dropping_share,
            abs(facts.clock_offset_us or 0) > self._skewed_us,
            (facts.ring_fill_permille or 0) >= self._ring_full_permille,
            free_bytes is not None and free_bytes < self._disk_low_bytes,
            facts.update_state in FAILED_UPDATES,
        )
        return tuple(compress(_TROUBLES, checks)) or _WATCHING

    def is_silent(self, facts: Judged) -> bool:
        """Tell whether more heartbeats are missing than may be; one that never spoke counts from enrolment."""
        heard_at = facts.heartbeat_at or facts.enrolled_at
        return heard_at is None or heard_at < self._heard_since


def judge(facts: Judged, *, now: datetime, config: FleetConfig) -> tuple[Condition, ...]:
    """Give everything that is true of one sensor, worst first; see :class:`Judge`."""
    return Judge(now=now, config=config)(facts)


def silence_allowed(config: FleetConfig) -> timedelta:
    """Give how long a sensor may be quiet: the missing heartbeats, and half a one for the way."""
    return timedelta(seconds=config.heartbeat_seconds * (config.silent_after_heartbeats + 0.5))


def drop_share(facts: Judged) -> float:
    """Give the share of recent packets that the kernel dropped; ``captured`` does not include them."""
    total = facts.recent_captured + facts.recent_drops
    return facts.recent_drops / total if total > 0 else 0.0
