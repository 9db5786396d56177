"""How full the capture rings were lately: what makes drops foreseeable."""

from __future__ import annotations

from collections.abc import Iterable

#: The fullest of the present and of the last period counts, so that no heartbeat of a minute misses a peak.
PERIOD_SECONDS = 60.0


class RingFill:
    """The fullest that any ring was in the last one to two periods."""

    def __init__(self) -> None:
        self._began_at: float | None = None
        self._present: int | None = None
        self._last: int | None = None

    def note(self, permilles: Iterable[int | None], *, now: float) -> None:
        """Take up what the rings say, one figure each; None stands for a ring that is not there.

        Args:
            permilles: fullest since the last note, in thousandths.
            now: monotonic seconds.
        """
        if self._began_at is None or now - self._began_at >= PERIOD_SECONDS:
            is_old = self._began_at is None or now - self._began_at >= 2 * PERIOD_SECONDS
            self._last = None if is_old else self._present
            self._began_at, self._present = now, None
        known = [one for one in (*permilles, self._present) if one is not None]
        self._present = max(known, default=None)

    @property
    def permille(self) -> int | None:
        """Give the fullest, in thousandths; None when nothing is recorded."""
        return max((one for one in (self._present, self._last) if one is not None), default=None)
