"""How many refusals an hour leave a record: whoever holds the base must not fill a sensor's disk."""

from __future__ import annotations

REFUSALS_AN_HOUR = 60
_HOUR_SECONDS = 3600.0


class RefusalBudget:
    """Counts refusals by the monotonic clock."""

    def __init__(self, allowed: int = REFUSALS_AN_HOUR) -> None:
        self._allowed = allowed
        self._began: float | None = None
        self._used = 0
        #: Refusals that left no record, since :meth:`take_unrecorded`.
        self._unrecorded = 0

    def may_record(self, now: float) -> bool:
        """Use one up; False when this hour's are gone."""
        if self._began is None or now - self._began >= _HOUR_SECONDS:
            self._began, self._used = now, 0
        self._used += 1
        if self._used <= self._allowed:
            return True
        self._unrecorded += 1
        return False

    def take_unrecorded(self, now: float) -> int:
        """Give how many left no record in the hour that is over, once; 0 while it goes on."""
        if self._began is None or now - self._began < _HOUR_SECONDS:
            return 0
        count, self._unrecorded = self._unrecorded, 0
        return count
