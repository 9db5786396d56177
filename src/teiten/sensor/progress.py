"""Progress of long work on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
from typing import TextIO

from teiten.foundation.clock import Clock

_BAR_CELLS = 30
_REDRAW_SECONDS, _LINE_SECONDS = 0.1, 5.0


class ProgressLine:
    """One line that grows; :meth:`end` leaves it standing."""

    def __init__(self, clock: Clock, out: TextIO | None = None) -> None:
        self._clock = clock
        self._out = sys.stderr if out is None else out
        self._is_terminal = self._out.isatty()
        self._drawn_at: float | None = None
        self._text = ""

    def show(self, share: float, text: str, *, at_once: bool = False) -> None:
        """Show how far it is, ``share`` from 0 to 1."""
        now = self._clock.monotonic()
        period = _REDRAW_SECONDS if self._is_terminal else _LINE_SECONDS
        if not at_once and self._drawn_at is not None and now - self._drawn_at < period:
            return
        self._drawn_at = now
        share = min(1.0, max(0.0, share))
        if self._is_terminal:
            filled = round(share * _BAR_CELLS)
            line = f"[{'#' * filled}{'.' * (_BAR_CELLS - filled)}] {share:4.0%} {text}"
            self._out.write(f"\r{line.ljust(len(self._text))}")
            self._text = line
        else:
            self._out.write(f"{share:4.0%} {text}\n")
        self._out.flush()

    def end(self) -> None:
        if self._is_terminal and self._text:
            self._out.write("\n")
            self._text = ""
