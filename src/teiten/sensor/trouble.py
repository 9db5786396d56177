"""Tells the log what does not work: at once, then each hour, and when it works again.

A line that comes and goes is told every ten minutes; an outage of a week is some hundred lines.
"""

from __future__ import annotations

import logging
import math

from teiten.foundation.clock import Clock

_log = logging.getLogger(__name__)
#: Between two lines about the same kind of failure: in one outage, and in outages that follow each other.
_LASTING_SECONDS, _FLAPPING_SECONDS = 3_600.0, 600.0


class Trouble:
    """One thing that should work.

    Args:
        what: what is sent, in a word.
        clock: for intervals.
    """

    def __init__(self, what: str, clock: Clock) -> None:
        self._what = what
        self._clock = clock
        self._since: float | None = None
        self._failures = 0
        #: Kinds that the log has heard of in this outage, and when it heard of each last.
        self._told: set[str] = set()
        self._told_at: dict[str, float] = {}

    def tell(self, error: Exception) -> None:
        """Take note of a failure; the log hears of it unless it has just done."""
        now, kind = self._clock.monotonic(), type(error).__name__
        self._since = now if self._since is None else self._since
        self._failures += 1
        quiet = _LASTING_SECONDS if kind in self._told else _FLAPPING_SECONDS
        if now - self._told_at.get(kind, -math.inf) >= quiet:
            self._told.add(kind)
            self._told_at[kind] = now
            _log.error(
                "Sending failed; it is tried again",
                extra={"what": self._what, "error": str(error), "failures": self._failures},
            )

    def end(self) -> None:
        """Take note that it works."""
        if self._since is None:
            return
        if self._told:
            lasted = round(self._clock.monotonic() - self._since)
            extra = {"what": self._what, "failures": self._failures, "seconds": lasted}
            _log.info("Sending works again", extra=extra)
        self._since, self._failures = None, 0
        self._told.clear()
