"""Requests that nobody has signed yet: few at once, and few refusals for an address.

Enrolment and recovery cost a database transaction each, and anybody may ask. Who was
refused often is told to wait before his next request is read; who was accepted counts for
nothing, so that many sensors behind one address may enrol at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from teiten.foundation.clock import Clock
from teiten.gateway import metrics
from teiten.gateway.errors import Refusal
from teiten.gateway.peers import find_site

#: Decided at once, of all addresses.
MOST_AT_ONCE = 32
#: Refusals of one address in a period.
MOST_REFUSALS = 30
PERIOD_SECONDS = 60.0
#: Refusals that say nothing against an address.
_BLAMELESS = frozenset({"clock_skew", "too_many_requests"})
#: Addresses that are remembered; beyond it all begin anew.
_MOST_ADDRESSES = 10_000


class Knocks:
    """Counts who asks without a key."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open = 0
        #: Address → end of its period (monotonic seconds) and refusals in it.
        self._refused: dict[str, tuple[float, int]] = {}

    @contextmanager
    def one_of(self, peer: str) -> Iterator[None]:
        """Let one request be handled; a refusal of it is counted.

        Raises:
            Refusal: 429 for an address that was refused too often.
        """
        site = find_site(peer)
        self._check(site)
        try:
            yield
        except Refusal as error:
            if error.status < 500 and error.code not in _BLAMELESS:
                self._note(site)
            raise

    @contextmanager
    def deciding(self) -> Iterator[None]:
        """Let one whole request be decided; whoever only begins to send one takes nobody's place.

        Raises:
            Refusal: 503 when too many are.
        """
        if self._open >= MOST_AT_ONCE:
            raise Refusal(503, "gateway_busy", "too many sensors enrol at once; come back later")
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    def _check(self, site: str | None) -> None:
        end, refusals = self._refused.get(site or "", (0.0, 0))
        left = end - self._clock.monotonic()
        if refusals >= MOST_REFUSALS and left > 0:
            metrics.KNOCKS_REFUSED.inc()
            raise Refusal(
                429,
                "too_many_refusals",
                f"{refusals} requests from this address were refused lately; come back later",
                retry_after_seconds=int(left) + 1,
            )

    def _note(self, site: str | None) -> None:
        if site is None:
            return
        now = self._clock.monotonic()
        end, refusals = self._refused.get(site, (0.0, 0))
        if end <= now:
            end, refusals = now + PERIOD_SECONDS, 0
        if len(self._refused) >= _MOST_ADDRESSES and site not in self._refused:
            self._refused.clear()
        self._refused[site] = (end, refusals + 1)
