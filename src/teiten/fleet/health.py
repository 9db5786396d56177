"""What state a sensor is in, from facts alone.

"Zero seen" and "not watching" must never look the same: the worst thing that is
true of a sensor is its state, and everything that is true is listed beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

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


def judge(facts: Facts, *, now: datetime, config: FleetConfig) -> tuple[Condition, ...]:
    """Give everything that is true of a sensor, worst first; never empty.

    A sensor that nobody lets in (revoked, suspended, not yet enrolled) has no
    other condition: whether it is silent says nothing.
    """
    standing = _STANDINGS.get(facts.standing)
    if standing is not None and standing is not Condition.QUARANTINED:
        return (_BY_HOST.get(standing, standing) if facts.by_host else standing,)
    silent = is_silent(facts, now=now, config=config)
    checks = (
        (Condition.QUARANTINED, standing is Condition.QUARANTINED),
        (Condition.SILENT, silent and not facts.is_planned),
        (Condition.MAINTENANCE, silent and facts.is_planned),
        (Condition.GAPPED, facts.missing_batches > 0),
        (Condition.DROPPING, drop_share(facts) > config.dropping_share),
        (Condition.SKEWED, abs(facts.clock_offset_us or 0) > config.skewed_seconds * 1_000_000),
        (Condition.RING_FULL, (facts.ring_fill_permille or 0) >= config.ring_full_permille),
        (Condition.DISK_LOW, is_disk_low(facts, config=config)),
        (Condition.UPDATE_FAILED, facts.update_state in FAILED_UPDATES),
    )
    found = tuple(condition for condition, is_true in checks if is_true)
    return found or (Condition.WATCHING,)


def is_disk_low(facts: Facts, *, config: FleetConfig) -> bool:
    """Tell whether a sensor's disk will be full soon; one that does not say is believed to be fine."""
    return facts.disk_free_bytes is not None and facts.disk_free_bytes < config.disk_low_bytes


def is_silent(facts: Facts, *, now: datetime, config: FleetConfig) -> bool:
    """Tell whether more heartbeats are missing than may be; one that never spoke counts from enrolment."""
    heard_at = facts.heartbeat_at or facts.enrolled_at
    if heard_at is None:
        return True
    return now - heard_at > silence_allowed(config)


def silence_allowed(config: FleetConfig) -> timedelta:
    """Give how long a sensor may be quiet: the missing heartbeats, and half a one for the way."""
    return timedelta(seconds=config.heartbeat_seconds * (config.silent_after_heartbeats + 0.5))


def drop_share(facts: Facts) -> float:
    """Give the share of recent packets that the kernel dropped; ``captured`` does not include them."""
    total = facts.recent_captured + facts.recent_drops
    return facts.recent_drops / total if total > 0 else 0.0
