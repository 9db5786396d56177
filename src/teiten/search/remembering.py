"""Answers that several panels of one screen share, remembered for a few seconds."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Answer = TypeVar("Answer")
_MOST_ANSWERS = 256


class Memory:
    """A small, bounded, thread-safe memory by key.

    Whoever asks for a key that is being made waits for it, so that the panels of a
    screen, which come at the same moment, cost one reading and not one each.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()
        self._making: dict[Hashable, threading.Lock] = {}

    def recall(self, key: Hashable, *, now: float, keep_seconds: float, make: Callable[[], Answer]) -> Answer:
        """Give the answer under ``key``, making it anew when it is older than ``keep_seconds``."""
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                known = self._answers.get(key)
            if known is not None and now - known[0] <= keep_seconds:
                return known[1]  # type: ignore[no-any-return]  # what `make` gave before
            answer = make()
            self._keep(key, (now, answer))
            return answer

    def forget(self) -> None:
        """Drop every answer."""
        with self._lock:
            self._answers.clear()

    def _keep(self, key: Hashable, entry: tuple[float, Any]) -> None:
        with self._lock:
            self._answers[key] = entry
            self._answers.move_to_end(key)
            while len(self._answers) > _MOST_ANSWERS:
                oldest, _ = self._answers.popitem(last=False)
                self._making.pop(oldest, None)
