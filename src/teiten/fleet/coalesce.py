"""Answer many callers with one statement.

Callers that arrive while a statement is under way are answered together by the
next one. An idle door costs one statement a call, a busy one a fraction, and no
answer is older than its question: the statement that gives it starts after the
call. One statement is under way at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

from teiten.fleet import metrics

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Coalescer(Generic[Question, Answer]):
    """Collect questions and ask them in groups."""

    def __init__(
        self,
        ask: Callable[[Sequence[Question]], Awaitable[Sequence[Answer]]],
        *,
        key: Callable[[Question], Hashable],
        door: str,
        max_questions: int = 256,
    ) -> None:
        """Use ``ask`` for groups in which no two questions have the same ``key``."""
        self._ask = ask
        self._key = key
        self._door = door
        self._max_questions = max_questions
        self._waiting: list[tuple[Question, asyncio.Future[Answer]]] = []
        self._task: asyncio.Task[None] | None = None

    async def submit(self, question: Question) -> Answer:
        """Ask one question; raises what its group's statement raised."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if self._task is None:
            self._task = asyncio.create_task(self._drain())
        return await future

    async def _drain(self) -> None:
        try:
            while self._waiting:
                await self._answer(self._take_group())
        finally:
            self._task = None

    async def _answer(self, group: list[tuple[Question, asyncio.Future[Answer]]]) -> None:
        metrics.GROUP_SIZE.labels(self._door).observe(len(group))
        try:
            answers = await self._ask([question for question, _ in group])
        except Exception as error:  # noqa: BLE001  # each caller gets it; none may wait for ever
            for _, future in group:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), answer in zip(group, answers, strict=True):
            if not future.done():
                future.set_result(answer)

    def _take_group(self) -> list[tuple[Question, asyncio.Future[Answer]]]:
        """Take waiting questions in order, leaving a second one with the same key for later."""
        group: list[tuple[Question, asyncio.Future[Answer]]] = []
        left: list[tuple[Question, asyncio.Future[Answer]]] = []
        keys: set[Hashable] = set()
        for question, future in self._waiting:
            if future.done():
                continue
            key = self._key(question)
            if key in keys or len(group) >= self._max_questions:
                left.append((question, future))
            else:
                keys.add(key)
                group.append((question, future))
        self._waiting = left
        return group
