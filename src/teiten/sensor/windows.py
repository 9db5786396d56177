"""Windows: which stretch of time a batch speaks for, and what was watched in it.

A pure state machine: it is told the time, what is watched and which packets came,
and gives closed windows. Times are µs since 1970-01-01 UTC, ranges half-open.

When a window closes:

* at its boundary: every ``length`` seconds at the sensor's own phase;
* by rows: at ``early_rows`` once it is 1 s old, at ``max_rows`` at once;
* when what is watched or how much payload is kept changes, or when the wall clock steps by more than 1 s
  against the monotonic one (then ``clock_stepped`` is set).

The wall clock is fixed to the monotonic one when a window opens; that mapping says
later whether the wall clock stepped, and gives a stepped window its honest length.

Packets at the borders: a packet belongs to the window that is open when it is
drained from the ring, but one stamped at or after a boundary that has passed goes
to the next window. What then still lies outside ``[start, end)`` (another
interface drained later, a slewed clock) is moved to the nearest µs inside, and
counted in ``moved``. No packet is ever dropped here.

Two windows of one life overlap only where the wall clock was set back, and then
the earlier one is marked ``clock_stepped``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from teiten.protocol.header import Watched
from teiten.sensor.column_sets import WireColumns, count_rows, select_rows, slice_rows

_SECOND_US = 1_000_000
#: Age from which ``early_rows`` closes a window.
_EARLY_AGE_US = _SECOND_US
_STEP_US = _SECOND_US


class Instant(NamedTuple):
    """One look at both clocks."""

    wall_us: int
    #: Seconds.
    monotonic: float


@dataclass(frozen=True)
class WindowRules:
    """When windows close."""

    length_us: int = 300 * _SECOND_US
    #: Boundaries lie where ``(time - phase) mod length == 0``.
    phase_us: int = 0
    early_rows: int = 2_000
    max_rows: int = 65_536

    def next_boundary_us(self, at_us: int) -> int:
        """Give the first boundary after ``at_us``."""
        return at_us - (at_us - self.phase_us) % self.length_us + self.length_us


@dataclass
class Window:
    """One window, open or closed."""

    start_us: int
    #: Boundary while open; the true end once closed.
    end_us: int
    watched: tuple[Watched, ...]
    #: µs not watched between the window before and this one.
    gap_us: int = 0
    #: Packets in time order of draining, in pieces.
    chunks: list[WireColumns] = field(default_factory=list)
    rows: int = 0
    kernel_drops: int = 0
    excluded: int = 0
    #: Packets whose time was moved into the window.
    moved: int = 0
    clock_stepped: bool = False
    #: Payload bytes kept per packet.
    payload_bytes: int = 0

    @property
    def captured(self) -> int:
        """Packets taken from the ring, also those left out."""
        return self.rows + self.excluded


@dataclass
class Counts:
    """What was counted while no window was open."""

    kernel_drops: int = 0
    excluded: int = 0


class Windows:
    """At most one open window, and the way to the next.

    Args:
        rules: when windows close.
        previous_end_us: end of the last window sealed before this process; None: there was none.
        payload_bytes: kept per packet.
    """

    def __init__(
        self, rules: WindowRules, *, previous_end_us: int | None = None, payload_bytes: int = 0
    ) -> None:
        self._rules = rules
        self._payload_bytes = payload_bytes
        self._open: Window | None = None
        self._opened_at = Instant(0, 0.0)
        self._previous_end_us = previous_end_us
        self._blind_since: float | None = None
        self._uncounted = Counts()

    @property
    def payload_bytes(self) -> int:
        """Payload bytes that packets fed now may have."""
        return self._payload_bytes

    @property
    def current(self) -> Window | None:
        """The open window; None while nothing is watched."""
        return self._open

    def watch(self, watched: tuple[Watched, ...], now: Instant) -> list[Window]:
        """Say what is watched from ``now`` on; nothing means blind, and opens a gap."""
        window = self._open
        if window is None:
            if watched:
                self._open_first(watched, now)
            return []
        if watched == window.watched:
            return []
        closed = self.advance(now)
        closed.append(self._close(self._mapped_us(now), now))
        if watched:
            self._open_at(closed[-1].end_us, watched, now)
        return closed

    def count(self, *, kernel_drops: int = 0, excluded: int = 0) -> None:
        """Count what happened now; without an open window it goes to the next one."""
        self._uncounted.kernel_drops += kernel_drops
        self._uncounted.excluded += excluded
        self._settle_counts()

    def set_length(self, length_us: int, now: Instant) -> None:
        """Change the length of windows, also of the open one (live mode on and off)."""
        if length_us == self._rules.length_us:
            return
        self._rules = replace(self._rules, length_us=length_us)
        # A window whose boundary has passed is due as it is.
        if self._open is not None and now.wall_us < self._open.end_us:
            floor = max(self._open.start_us, now.wall_us)
            self._open.end_us = self._rules.next_boundary_us(floor)

    def set_payload(self, payload_bytes: int, now: Instant) -> list[Window]:
        """Keep another length of payload from ``now`` on; a window that has packets is closed for it."""
        closed = self.advance(now)
        self._payload_bytes = payload_bytes
        window = self._open
        if window is None:
            return closed
        if not window.rows:
            window.payload_bytes = payload_bytes
            return closed
        closed.append(self._close(self._mapped_us(now), now))
        self._open_at(closed[-1].end_us, window.watched, now)
        return closed

    def feed(self, columns: WireColumns, now: Instant) -> list[Window]:
        """Take packets that were drained at ``now``; give the windows that this closes."""
        rows = count_rows(columns)
        if not rows:
            return []
        if self._open is None:
            # They came while nothing was declared as watched: seen, but no observation.
            self.count(excluded=rows)
            return []
        closed = self._close_if_stepped(now)
        closed += self._roll_while_past(columns, now)
        closed += self._cut_by_rows(now)
        return closed

    def advance(self, now: Instant) -> list[Window]:
        """Close what is due at ``now``; to be called when the rings were empty at ``now``."""
        if self._open is None:
            return []
        closed = self._close_if_stepped(now)
        while now.wall_us >= self._open.end_us:
            closed.append(self._roll(self._open.end_us, now))
        return closed + self._cut_by_rows(now)

    def stop(self, now: Instant) -> list[Window]:
        """Close the open window at ``now``, whatever its age."""
        return self.watch((), now)

    def _open_first(self, watched: tuple[Watched, ...], now: Instant) -> None:
        """Open after a start or a blind time, with the gap this leaves."""
        gap_us, stepped_back, start_us = 0, False, now.wall_us
        if self._blind_since is not None:
            gap_us = round((now.monotonic - self._blind_since) * _SECOND_US)
            start_us = self._start_after_previous(now.wall_us)
        elif self._previous_end_us is not None:
            gap_us = max(0, now.wall_us - self._previous_end_us)
            stepped_back = now.wall_us < self._previous_end_us
        self._open_at(start_us, watched, now)
        assert self._open is not None  # noqa: S101  # _open_at has just set it; for the type checker
        self._open.gap_us = gap_us
        # The clock was set back while we were away: this window overlaps what was sealed before.
        self._open.clock_stepped = stepped_back

    def _start_after_previous(self, wall_us: int) -> int:
        """Give ``wall_us``, or the end of the window before where that is later by no more than a slew."""
        late_us = (self._previous_end_us or 0) - wall_us
        return wall_us + late_us if 0 < late_us <= _STEP_US else wall_us

    def _open_at(self, start_us: int, watched: tuple[Watched, ...], now: Instant) -> None:
        boundary_us = self._rules.next_boundary_us(start_us)
        self._open = Window(start_us, boundary_us, watched, payload_bytes=self._payload_bytes)
        self._settle_counts()
        # Mapping: this wall time is that monotonic time.
        self._opened_at = Instant(start_us, now.monotonic - (now.wall_us - start_us) / _SECOND_US)

    def _settle_counts(self) -> None:
        if self._open is not None:
            self._open.kernel_drops += self._uncounted.kernel_drops
            self._open.excluded += self._uncounted.excluded
            self._uncounted = Counts()

    def _mapped_us(self, now: Instant) -> int:
        """Give the wall time at ``now`` by the mapping of the open window."""
        elapsed_us = round((now.monotonic - self._opened_at.monotonic) * _SECOND_US)
        return self._opened_at.wall_us + elapsed_us

    def _close_if_stepped(self, now: Instant) -> list[Window]:
        if self._open is None or abs(now.wall_us - self._mapped_us(now)) <= _STEP_US:
            return []
        self._open.clock_stepped = True
        window = self._close(self._mapped_us(now), now)
        self._open_at(now.wall_us, window.watched, now)
        return [window]

    def _roll_while_past(self, columns: WireColumns, now: Instant) -> list[Window]:
        """Append ``columns``, rolling over each boundary that has passed and that packets lie beyond."""
        closed: list[Window] = []
        rest = columns
        while self._open is not None and count_rows(rest):
            times: NDArray[np.int64] = np.asarray(rest["observed_at"])
            boundary = self._open.end_us
            later = times >= boundary
            if now.wall_us < boundary or not later.any():
                self._append(rest)
                break
            self._append(select_rows(rest, ~later))
            rest = select_rows(rest, later)
            closed += self._cut_by_rows(now)
            # A cut at the very last microsecond has opened the next window already.
            if self._open.end_us == boundary:
                closed.append(self._roll(boundary, now))
        return closed

    def _append(self, columns: WireColumns) -> None:
        rows = count_rows(columns)
        if rows and self._open is not None:
            self._open.chunks.append(columns)
            self._open.rows += rows

    def _cut_by_rows(self, now: Instant) -> list[Window]:
        closed: list[Window] = []
        while self._open is not None and self._open.rows >= self._rules.max_rows:
            closed.append(self._cut_at(self._rules.max_rows, now))
        window = self._open
        if window is not None and window.rows >= self._rules.early_rows:
            old_enough = self._mapped_us(now) - window.start_us >= _EARLY_AGE_US
            if old_enough:
                closed.append(self._cut_at(window.rows, now))
        return closed

    def _cut_at(self, rows: int, now: Instant) -> Window:
        """Close the open window after its first ``rows`` rows; the rest opens the next one."""
        window = self._open
        assert window is not None  # noqa: S101  # callers hold an open window; for the type checker
        kept, rest = _split_chunks(window.chunks, rows)
        last_us = max(int(np.asarray(chunk["observed_at"]).max()) for chunk in kept)
        end_us = max(window.start_us, min(last_us, window.end_us - 1)) + 1
        window.chunks, window.rows = kept, rows
        closed = self._roll(end_us, now)
        for chunk in rest:
            self._append(chunk)
        return closed

    def _roll(self, end_us: int, now: Instant) -> Window:
        window = self._close(end_us, now)
        self._open_at(window.end_us, window.watched, now)
        return window

    def _close(self, end_us: int, now: Instant) -> Window:
        window = self._open
        assert window is not None  # noqa: S101  # callers hold an open window; for the type checker
        window.end_us = max(end_us, window.start_us + 1)
        window.moved = sum(_move_inside(chunk, window) for chunk in window.chunks)
        self._open = None
        self._blind_since = now.monotonic
        self._previous_end_us = window.end_us
        return window


def _split_chunks(chunks: list[WireColumns], rows: int) -> tuple[list[WireColumns], list[WireColumns]]:
    kept: list[WireColumns] = []
    for place, chunk in enumerate(chunks):
        size = count_rows(chunk)
        if rows >= size:
            kept.append(chunk)
            rows -= size
            continue
        rest = [slice_rows(chunk, rows, size), *chunks[place + 1 :]]
        if rows:
            kept.append(slice_rows(chunk, 0, rows))
        return kept, rest
    return kept, []


def _move_inside(chunk: WireColumns, window: Window) -> int:
    """Force the times of ``chunk`` into the window; give how many had to move."""
    times: NDArray[np.int64] = np.asarray(chunk["observed_at"])
    inside = np.clip(times, window.start_us, window.end_us - 1)
    moved = int(np.count_nonzero(inside != times))
    if moved:
        chunk["observed_at"] = inside
    return moved
