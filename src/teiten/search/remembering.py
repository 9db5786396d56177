"""Answers that several panels of one screen share, remembered for a few seconds."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Answer = TypeVar("Answer")
_MOST_ANSWERS = 256


class Memory:
    """A small, bounded, thread-safe memory by key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()

    def recall(self, key: Hashable, *, now: float, keep_seconds: float, make: Callable[[], Answer]) -> Answer:
        """Give the answer under ``key``, making it anew when it is older than ``keep_seconds``."""
        with self._lock:
            known = self._answers.get(key)
            if known is not None and now - known[0] <= keep_seconds:
                return known[1]  # type: ignore[no-any-return]  # what `make` gave before
        answer = make()
        with self._lock:
            self._answers[key] = (now, answer)
            self._answers.move_to_end(key)
            while len(self._answers) > _MOST_ANSWERS:
                self._answers.popitem(last=False)
        return answer
