"""The sensor's own log beside its state, bounded, for operators who ask for its last lines."""

from __future__ import annotations

import contextlib
import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

from teiten.foundation.logs import JsonFormatter

_MAX_BYTES = 262_144
_FOLDER = "log"


class _QuietHandler(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        """Say nothing: a full disk must not fill standard error with tracebacks of logging itself."""


def keep_log(state_dir: Path, process: str) -> None:
    """Write what this process logs to ``log/<process>.log`` too; without a place for it, go on without."""
    folder = state_dir / _FOLDER
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        handler = _QuietHandler(
            folder / f"{process}.log", maxBytes=_MAX_BYTES, backupCount=1, encoding="utf-8", delay=True
        )
        handler.setFormatter(JsonFormatter())
        logging.getLogger().addHandler(handler)


def read_tail(state_dir: Path, *, lines: int) -> str:
    """Give the last ``lines`` lines of all processes' logs, in the order of their times."""
    found: list[str] = []
    for path in sorted((state_dir / _FOLDER).glob("*.log*")):
        with contextlib.suppress(OSError):
            found += path.read_text(encoding="utf-8", errors="replace").splitlines()
    # Every line begins with its time, in a form that sorts.
    return "".join(f"{line}\n" for line in sorted(found)[-lines:])
