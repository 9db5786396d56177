"""What the gateway asks about commands: what waits for this sensor, and here is an answer.

What waits is found for many sensors by one statement, which also notes that they
fetched it. Envelopes never change once they are given out, so each is read from the
database once and kept as the bytes that go onto the wire.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Sequence
from typing import Any, Protocol

from teiten.fleet.coalesce import Coalescer
from teiten.fleet.commands import metrics
from teiten.fleet.commands.answering import SUSPICIOUS, Taken, Told, note_refusal, take_results
from teiten.fleet.commands.errors import ResultRefusedError
from teiten.fleet.config import FleetConfig
from teiten.fleet.doors import call_in_thread
from teiten.fleet.rollouts.advancing import advance
from teiten.fleet.rollouts.models import Rollout, RolloutState
from teiten.foundation.clock import Clock
from teiten.foundation.logs import OncePer
from teiten.protocol import commands as wire

#: Memory of envelopes as they go out; 10,000 sensors named one by one are 130 KB.
_CACHE_BYTES = 16 * 1024 * 1024
#: Answers are many; a roll-out is looked at again at most so often.
_ADVANCE_SECONDS = 2.0
_SUSPICION_SECONDS = 3600.0
#: Results in one transaction: each may have 790 KB.
_GROUP = 32

_FETCH = """
WITH due AS (
    SELECT asked.sensor, t.id, t.state, t.rollout_id
    FROM unnest(%s::bigint[]) AS asked (sensor)
    CROSS JOIN LATERAL (
        SELECT t.id, t.state, t.rollout_id
        FROM fleet_rollouts_rollouttarget AS t JOIN fleet_rollouts_rollout AS r ON r.id = t.rollout_id
        WHERE t.sensor_id = asked.sensor AND t.state IN ('released', 'fetched') AND t.kind = 'command'
            AND r.not_after > %s
        ORDER BY r.subject LIMIT %s
    ) AS t
), fresh AS (
    SELECT t.id FROM fleet_rollouts_rollouttarget AS t
    WHERE t.id IN (SELECT id FROM due WHERE state = 'released') AND t.state = 'released'
    ORDER BY t.id FOR NO KEY UPDATE
), fetched AS (
    UPDATE fleet_rollouts_rollouttarget AS t SET state = 'fetched', fetched_at = %s
    FROM fresh WHERE t.id = fresh.id
    RETURNING t.id
)
SELECT due.sensor, r.subject FROM due JOIN fleet_rollouts_rollout AS r ON r.id = due.rollout_id
WHERE due.state = 'fetched' OR due.id IN (SELECT id FROM fetched)
ORDER BY due.sensor, r.subject
"""
_ENVELOPES = "SELECT id, envelope, selector <> '', sensors FROM fleet_commands_command WHERE id = ANY(%s)"


class Asking(Protocol):
    """The fleet's own door to the database."""

    def __call__(self, statement: str, values: list[Any], /) -> Awaitable[list[tuple[Any, ...]]]: ...


class CommandsDoors:
    """Two doors over one database."""

    def __init__(self, ask: Asking, config: FleetConfig, clock: Clock) -> None:
        self._ask = ask
        self._config = config
        self._clock = clock
        self._written = _Written()
        self._once = OncePer(_ADVANCE_SECONDS)
        self._suspicions = OncePer(_SUSPICION_SECONDS)
        self._fetches = Coalescer(self._fetch, key=lambda sensor: sensor, door="commands")
        self._results = Coalescer(
            self._take, key=lambda told: (told.sensor, told.command_id), door="results", max_questions=_GROUP
        )

    async def pending(self, sensor: int) -> tuple[bytes, ...]:
        """Give the commands that wait for a sensor, oldest first, each as the wire has it, and note that it has them.

        Raises:
            FleetAwayError: when the database does not answer.
        """
        ids = await self._fetches.submit(sensor)
        if not ids:
            return ()
        await self._read_missing(ids)
        chosen: list[bytes] = []
        size = 0
        for one in ids:
            written = self._written.get(one)
            size += len(written) + 1
            if chosen and size > wire.MAX_DELIVERIES_BYTES - 100:
                break
            chosen.append(written)
        metrics.DELIVERED.inc(len(chosen))
        return tuple(chosen)

    async def take_result(self, sensor: int, command_id: str, body: bytes, signature: bytes) -> bool:
        """Keep a sensor's answer; False when the same one was kept before.

        Raises:
            ResultRefusedError: when it will never be taken.
            FleetAwayError: when the database does not answer.
        """
        answer = await self._results.submit(Told(sensor, command_id, body, signature))
        if isinstance(answer, ResultRefusedError):
            raise answer
        return answer.is_new

    async def _fetch(self, sensors: Sequence[int]) -> list[list[str]]:
        now = self._clock.now()
        rows = await self._ask(_FETCH, [list(sensors), now, wire.MAX_DELIVERIES, now])
        found: dict[int, list[str]] = {}
        for sensor, command_id in rows:
            found.setdefault(sensor, []).append(command_id)
        return [found.get(sensor, []) for sensor in sensors]

    async def _read_missing(self, ids: Sequence[str]) -> None:
        missing = [one for one in ids if not self._written.has(one)]
        if missing:
            for command_id, envelope, by_selector, sensors in await self._ask(_ENVELOPES, [missing]):
                self._written.put(command_id, bytes(envelope), tuple(sensors) if by_selector else None)

    async def _take(self, group: Sequence[Told]) -> list[Taken | ResultRefusedError]:
        return await call_in_thread(lambda: self._take_now(group))

    def _take_now(self, group: Sequence[Told]) -> list[Taken | ResultRefusedError]:
        now = self._clock.now()
        answers = take_results(group, at=now)
        for told, answer in zip(group, answers, strict=True):
            if isinstance(answer, ResultRefusedError) and answer.code in SUSPICIOUS:
                self._note_refusal(told, answer)
        answered = {told.command_id for told in group}
        due = [one for one in sorted(answered) if self._once.is_due(one, self._clock.monotonic())]
        running = Rollout.objects.filter(command__in=due, state=RolloutState.RUNNING)
        for number in running.values_list("pk", flat=True):
            # A stage that has answered need not wait for the minute's job.
            advance(number, now=now, config=self._config)
        return answers

    def _note_refusal(self, told: Told, refused: ResultRefusedError) -> None:
        # A sensor that tries all day is one line an hour.
        if self._suspicions.is_due(str(told.sensor), self._clock.monotonic()):
            note_refusal(told, refused, at=self._clock.now())


class _Written:
    """Deliveries as bytes, the ones used last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    def has(self, command_id: str) -> bool:
        return command_id in self._kept

    def get(self, command_id: str) -> bytes:
        self._kept.move_to_end(command_id)
        return self._kept[command_id]

    def put(self, command_id: str, envelope: bytes, resolved: tuple[int, ...] | None) -> None:
        if command_id in self._kept:
            return
        written = wire.write_delivery(wire.Delivery(command_id, wire.read_envelope(envelope), resolved))
        self._kept[command_id] = written
        self._size += len(written)
        # What is asked for now must stay: four of the largest have less than 2 MB.
        while self._size > _CACHE_BYTES and len(self._kept) > wire.MAX_DELIVERIES:
            _, dropped = self._kept.popitem(last=False)
            self._size -= len(dropped)
