"""Structured logs: one JSON object a line, or plain text on a terminal.

Log with the standard library and pass facts as ``extra``; they become fields of
the line. Messages are English sentences without figures, so that they group.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from datetime import datetime, timezone
from typing import Any, TextIO

_OWN_FIELDS = frozenset(vars(logging.LogRecord("", 0, "", 0, "", None, None)).keys()) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}


def set_up(*, level: str = "INFO", as_json: bool | None = None, stream: TextIO | None = None) -> None:
    """Send all logs to ``stream`` (standard error); JSON unless it is a terminal."""
    out = sys.stderr if stream is None else stream
    chosen = not out.isatty() if as_json is None else as_json
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonFormatter() if chosen else PlainFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)


def facts_of(record: logging.LogRecord) -> dict[str, Any]:
    """Give what the caller passed as ``extra``."""
    return {key: value for key, value in vars(record).items() if key not in _OWN_FIELDS}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, room, message, then the facts."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _instant_of(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **facts_of(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class PlainFormatter(logging.Formatter):
    """The same for people at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        facts = " ".join(f"{key}={value}" for key, value in facts_of(record).items())
        text = f"{_instant_of(record)[11:19]} {record.levelname:7} {record.name}: {record.getMessage()}"
        if facts:
            text = f"{text}  {facts}"
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        return text


class OncePer:
    """Tell whether it is time to log again, so that a flood of one error is one line."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last: dict[str, float] = {}
        self._lock = threading.Lock()

    def is_due(self, what: str, monotonic: float) -> bool:
        """Give True for ``what`` at most once in the period."""
        with self._lock:
            last = self._last.get(what)
            if last is not None and monotonic - last < self._seconds:
                return False
            self._last[what] = monotonic
            return True


def _instant_of(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, tz=timezone.utc).isoformat(timespec="milliseconds")
