"""Answers that several panels of one screen share, remembered for a while."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

Answer = TypeVar("Answer")
_MOST_ANSWERS = 256


@dataclass(frozen=True)
class _Kept:
    """An answer, and since when (monotonic seconds) and for how long it is good."""

    answer: Any
    made_at: float
    keep_seconds: float


@dataclass
class _Making:
    """An answer that somebody is making; whoever asks meanwhile waits for ``is_over``."""

    is_over: threading.Event = field(default_factory=threading.Event)
    #: None until it is made, and when making it failed.
    made: _Kept | None = None


class Memory:
    """A small, bounded, thread-safe memory by key.

    Whoever asks for a key that is being made gets that answer, so that the panels of a
    screen, which come at the same moment, cost one reading and not one each. Failures
    are nobody else's: who waited for one asks again. An answer's age counts from when it
    was asked for, since the store may have changed ever since.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._making: dict[Hashable, _Making] = {}

    def recall(self, key: Hashable, *, now: float, keep_seconds: float, make: Callable[[], Answer]) -> Answer:
        """Give the answer under ``key``, making it anew when it is older than ``keep_seconds``."""
        while True:
            mine = _Making()
            with self._lock:
                known = self._answers.get(key)
                if known is not None and now - known.made_at <= keep_seconds:
                    break
                making = self._making.setdefault(key, mine)
            if making is mine:
                known = self._make(key, mine, now=now, keep_seconds=keep_seconds, make=make)
                break
            making.is_over.wait()
            if (known := making.made) is not None:
                break
        answer: Answer = known.answer
        return answer

    def _make(
        self,
        key: Hashable,
        mine: _Making,
        *,
        now: float,
        keep_seconds: float,
        make: Callable[[], Answer],
    ) -> _Kept:
        try:
            made = _Kept(make(), now, keep_seconds)
            with self._lock:
                mine.made = made
                self._keep(key, made)
            return made
        finally:
            with self._lock:
                del self._making[key]
            mine.is_over.set()

    def _keep(self, key: Hashable, entry: _Kept) -> None:
        """Keep an answer, and let go of those that are too old, then of the oldest."""
        old = [
            each for each, kept in self._answers.items() if entry.made_at - kept.made_at > kept.keep_seconds
        ]
        for each in old:
            del self._answers[each]
        self._answers[key] = entry
        self._answers.move_to_end(key)
        while len(self._answers) > _MOST_ANSWERS:
            self._answers.popitem(last=False)

    def forget(self) -> None:
        """Drop every answer."""
        with self._lock:
            self._answers.clear()
