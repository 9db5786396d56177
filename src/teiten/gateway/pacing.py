"""How often one sensor may ask: so much at once, then at a pace. Counted in memory, for each gateway of its own.

Whoever holds a sensor's key can ask without end, and everything that is asked costs the
database something and may leave a row. An honest sensor stays far below each pace, also on
its return from a long outage; beyond it the answer is 429 with ``Retry-After``, and costs
no question to the database.

The count is one number for each asker (the generic cell rate algorithm, as of ITU-T I.371,
annex A.2): the instant at which all that was asked would have come at an even pace.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from teiten.foundation.clock import Clock
from teiten.gateway import metrics
from teiten.gateway.errors import Refusal

#: Askers of one pace that are remembered; beyond it those are forgotten who are within it.
MOST_ASKERS = 20_000
_LONGEST_WAIT_SECONDS = 3_600


@dataclass(frozen=True)
class Pace:
    """How much may come at once, and how much in a second for ever."""

    #: Name in counters and refusals.
    name: str
    per_second: float
    #: What so many seconds allow may come at once.
    burst_seconds: float


HEARTBEATS = Pace("heartbeats", 2.0, 60)
COMMANDS = Pace("fetches of commands", 2.0, 120)
RESULTS = Pace("results", 1.0, 300)
ROTATIONS = Pace("rotations", 1 / 60, 1_200)
#: Of one token: an answer that was lost is asked for again.
ENROLMENTS = Pace("uses of one token", 1 / 60, 1_800)
#: Of batches and their bytes an hour's worth may come at once: the spool of an outage.
OUTAGE_SECONDS = 3_600.0


class Paces:
    """Counts who asks how often."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        #: Pace → asker → instant (monotonic seconds) up to which the asker has used what it may.
        self._used: dict[str, dict[Hashable, float]] = {}

    def check(self, pace: Pace, asker: Hashable) -> None:
        """Refuse an asker that is beyond its pace; counts nothing, so that a stranger may be named.

        Raises:
            Refusal: 429 with the seconds to wait.
        """
        used = self._used.get(pace.name, {}).get(asker)
        if used is not None:
            self._refuse_beyond(pace, used - self._clock.monotonic())

    def spend(self, pace: Pace, asker: Hashable, *, amount: float = 1.0) -> None:
        """Count what a proven asker asks for.

        Raises:
            Refusal: 429 when it is beyond its pace; then nothing is counted.
        """
        now = self._clock.monotonic()
        askers = self._used.setdefault(pace.name, {})
        used = max(askers.get(asker, now), now)
        self._refuse_beyond(pace, used - now)
        if len(askers) >= MOST_ASKERS and asker not in askers:
            self._used[pace.name] = askers = _forget(askers, now)
        askers[asker] = used + amount / pace.per_second

    def _refuse_beyond(self, pace: Pace, ahead_seconds: float) -> None:
        """Let one more in while there is room at all: what it asks for may be larger than the rest."""
        beyond = ahead_seconds - pace.burst_seconds
        if beyond < -1e-6:
            return
        metrics.PACED.labels(pace.name).inc()
        raise Refusal(
            429,
            "too_many_requests",
            f"too many {pace.name} of this sensor; come back later",
            retry_after_seconds=min(_LONGEST_WAIT_SECONDS, max(1, int(beyond + 1 / pace.per_second) + 1)),
        )


def _forget(askers: dict[Hashable, float], now: float) -> dict[Hashable, float]:
    """Forget who is within its pace; all, where that makes no room."""
    left = {asker: until for asker, until in askers.items() if until > now}
    return left if len(left) <= MOST_ASKERS // 2 else {}
