"""The one place where Teiten asks what time it is.

Components take a :class:`Clock` as an argument, so that tests own time. Wall
time is UTC; intervals are measured on the monotonic clock, which no NTP step
and no operator can turn back.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Protocol


class Clock(Protocol):
    """What a component may ask about time."""

    def now(self) -> datetime:
        """Give the wall time, aware and in UTC."""

    def now_us(self) -> int:
        """Give the wall time in microseconds since 1970-01-01 UTC."""

    def monotonic(self) -> float:
        """Give seconds on a clock that never goes back."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(tz=timezone.utc)

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()


class FixedClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: datetime) -> None:
        self._now_us = to_us(now)
        self._monotonic = 0.0

    def now(self) -> datetime:
        return from_us(self._now_us)

    def now_us(self) -> int:
        return self._now_us

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let both clocks run on by ``seconds``."""
        self._now_us += round(seconds * 1_000_000)
        self._monotonic += seconds

    def step(self, seconds: float) -> None:
        """Set the wall clock ahead or back; the monotonic one does not notice."""
        self._now_us += round(seconds * 1_000_000)


def to_us(instant: datetime) -> int:
    """Turn an aware instant into microseconds since 1970-01-01 UTC, exactly."""
    if instant.tzinfo is None:
        raise ValueError(f"instant {instant!r} has no time zone")
    delta = instant - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def from_us(microseconds: int) -> datetime:
    """Turn microseconds since 1970-01-01 UTC into an aware instant."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return datetime.fromtimestamp(seconds, tz=timezone.utc).replace(microsecond=rest)
