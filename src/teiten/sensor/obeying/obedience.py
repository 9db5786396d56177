"""The sending process's part of obeying: judge, remember, record, execute or hand over, answer.

Deliveries come from the sender's thread; what takes time runs in a thread of its own,
so that no traceroute holds up a batch. Every step is on the disk before the next.
"""

from __future__ import annotations

import hashlib
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from teiten.foundation.clock import Clock
from teiten.protocol import commands
from teiten.protocol.commands import Command, Delivery
from teiten.protocol.errors import CommandError
from teiten.protocol.judging import Accepted, Refused
from teiten.protocol.operator_list import OperatorList
from teiten.protocol.verbs import VERBS
from teiten.sensor.chain import Chain
from teiten.sensor.errors import DeclarationError, SensorError, StateError
from teiten.sensor.obeying.answers import Answer, Answers
from teiten.sensor.obeying.budget import RefusalBudget
from teiten.sensor.obeying.deciding import Rules, Times, decide, describe_command
from teiten.sensor.obeying.handing import RequestBox
from teiten.sensor.obeying.memory import Begun, Memory
from teiten.sensor.obeying.outcome import Outcome, failed, refused

_log = logging.getLogger(__name__)

Doer = Callable[[Mapping[str, Any]], Outcome]
_SECOND_US = 1_000_000
#: How long the root helper has to answer, beside what the verb itself may take.
HELPER_SECONDS = 120
_VERB_SECONDS = {"wipe": 300, "retire": 900}
_LOOK_SECONDS = 0.5


@dataclass
class ObeyingCounts:
    """Since the process started."""

    commands_accepted: int = 0
    commands_refused: int = 0
    commands_failed: int = 0


@dataclass
class _Handed:
    """Commands that another process executes, and when they were last looked for."""

    begun: dict[str, Begun] = field(default_factory=dict)
    looked_at: float = 0.0


class Obedience:
    """Obeys what operators signed.

    Args:
        rules: who this sensor is and what it allows.
        memory: what was obeyed before.
        chain: the audit chain.
        answers: what waits for the base.
        requests: the way to the root helper.
        doers: verb → what does it in this process.
        clock: this machine's.
        stopping: set when this process ends; what the doers run ends with it.
    """

    def __init__(
        self,
        rules: Rules,
        *,
        memory: Memory,
        chain: Chain,
        answers: Answers,
        requests: RequestBox,
        doers: Mapping[str, Doer],
        clock: Clock,
        stopping: threading.Event,
    ) -> None:
        self._rules = rules
        self._memory = memory
        self._chain = chain
        self._answers = answers
        self._requests = requests
        self._doers = dict(doers)
        self._clock = clock
        self._stopping = stopping
        self._budget = RefusalBudget()
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[tuple[Command, Begun] | None] = queue.SimpleQueue()
        #: Taken and given by two threads, each in one step.
        self._unsaved: deque[tuple[Begun, Outcome]] = deque()
        self._handed = _Handed()
        self._thread = threading.Thread(target=self._work, name="obeying")
        self.counts = ObeyingCounts()

    def start(self) -> None:
        """Answer for what an earlier process began, then obey."""
        for begun in self._memory.open:
            if self._answers.has(begun.command_id):
                self._memory.end(begun.command_id)
            elif begun.verb in VERBS and VERBS[begun.verb].needs_root:
                self._handed.begun[begun.command_id] = begun
            else:
                self._end(begun, failed("interrupted"))
        self._thread.start()

    def stop(self) -> None:
        """End what is running; it is answered as interrupted when the sensor starts again."""
        self._stopping.set()
        self._queue.put(None)
        self._thread.join()

    def take(self, deliveries: Sequence[Delivery], *, offset_us: int | None) -> None:
        """Judge what the base delivered, and begin what may be obeyed."""
        try:
            operators, fault = self._rules.load_operators(), ""
        except DeclarationError as error:
            operators, fault = OperatorList(1, ()), str(error)
        for delivery in sorted(deliveries, key=_counter_of):
            try:
                self._take_one(delivery, operators, fault, offset_us=offset_us)
            except StateError as error:
                # Not remembered is not obeyed; the base delivers it again.
                _log.error("A command cannot be taken up", extra={"error": str(error)})

    def poll(self) -> None:
        """Look whether the root helper has answered, and save what a full disk refused."""
        now = self._clock.monotonic()
        if now - self._handed.looked_at < _LOOK_SECONDS:
            return
        self._handed.looked_at = now
        for _ in range(len(self._unsaved)):
            self._end(*self._unsaved.popleft())
        for begun in list(self._handed.begun.values()):
            outcome_or_none = self._find_outcome(begun)
            if outcome_or_none is not None:
                del self._handed.begun[begun.command_id]
                self._requests.take_back(begun.command_id)
                self._end(begun, outcome_or_none)
        self._record_unrecorded(now)

    def find_answer(self) -> Answer | None:
        """Give the next answer that the base has not receipted."""
        with self._lock:
            return self._answers.find_next()

    def mark_receipted(self, command_id: str) -> None:
        with self._lock:
            self._answers.mark_sent(command_id)
        self._requests.note_receipt(command_id)

    def _take_one(
        self, delivery: Delivery, operators: OperatorList, fault: str, *, offset_us: int | None
    ) -> None:
        digest = hashlib.sha256(delivery.envelope.payload).digest()
        with self._lock:
            if self._memory.is_open(delivery.command_id) or self._answers.has(delivery.command_id):
                return
            if not self._memory.has_room() or self._answers.send_again(delivery.command_id, digest):
                return
        verdict = self._judge(delivery, operators, fault, offset_us=offset_us)
        if isinstance(verdict, Refused):
            self._refuse(delivery, digest, verdict)
        else:
            self._begin(delivery, digest, verdict)

    def _judge(
        self, delivery: Delivery, operators: OperatorList, fault: str, *, offset_us: int | None
    ) -> Accepted | Refused:
        if fault:
            return Refused("operators_missing", fault)
        times = Times(self._clock.now_us(), offset_us)
        return decide(delivery, operators, rules=self._rules, memory=self._memory, times=times)

    def _refuse(self, delivery: Delivery, digest: bytes, verdict: Refused) -> None:
        self.counts.commands_refused += 1
        if not self._budget.may_record(self._clock.monotonic()):
            return
        command_id, now_us = delivery.command_id, self._clock.now_us()
        _log.warning("A command is refused", extra={"command": command_id, "reason": verdict.reason})
        facts = {"command_id": command_id, "payload_sha256": digest.hex(), "reason": verdict.reason}
        if verdict.command is not None:
            facts["verb"] = verdict.command.verb
        with self._lock:
            self._chain.append("command.refused", facts)
            outcome = refused(verdict.reason, f"{verdict}\n")
            self._answers.put(Answer(command_id, digest, outcome, now_us, now_us))

    def _begin(self, delivery: Delivery, digest: bytes, verdict: Accepted) -> None:
        command, now_us = verdict.command, self._clock.now_us()
        verb = VERBS[command.verb]
        begun = Begun(
            command.command_id, command.verb, digest, now_us, now_us // _SECOND_US + _seconds_of(command)
        )
        with self._lock:
            self._memory.begin(command, begun)
        self.counts.commands_accepted += 1
        _log.info("A command is obeyed", extra={"command": command.command_id, "verb": command.verb})
        try:
            with self._lock:
                self._chain.append("command.accepted", describe_command(verdict, digest))
            if verb.needs_root:
                self._requests.forget_receipt(command.command_id)
                self._requests.hand_over(delivery)
        except StateError as error:
            self._end(begun, failed("failed", f"{error}\n"))
            return
        if verb.needs_root:
            self._handed.begun[command.command_id] = begun
        else:
            self._queue.put((command, begun))

    def _find_outcome(self, begun: Begun) -> Outcome | None:
        outcome = self._requests.find_outcome(begun.command_id)
        if outcome is not None or self._clock.now_us() // _SECOND_US < begun.until_s:
            return outcome
        self._requests.take_back(begun.command_id)
        is_running = self._requests.is_running(begun.command_id)
        return failed("interrupted" if is_running else "no_helper")

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            command, begun = item
            if self._stopping.is_set():
                return
            outcome = self._execute(command)
            if self._stopping.is_set() and outcome.reason == "interrupted":
                return
            self._end(begun, outcome)

    def _execute(self, command: Command) -> Outcome:
        try:
            return self._doers[command.verb](command.arguments)
        except (SensorError, OSError) as error:
            return failed("failed", f"{error}\n")
        except Exception as error:  # noqa: BLE001  # a verb's border: its operator must learn of it
            _log.exception("A verb failed", extra={"verb": command.verb})
            return failed("failed", f"{type(error).__name__}: {error}\n")

    def _end(self, begun: Begun, outcome: Outcome) -> None:
        """Keep the answer, then forget that the command is open."""
        answer = Answer(
            begun.command_id, begun.payload_sha256, outcome, begun.started_us, self._clock.now_us()
        )
        facts = {
            "command_id": begun.command_id,
            "verb": begun.verb,
            "state": outcome.state,
            "reason": outcome.reason,
            "output_sha256": hashlib.sha256(outcome.output.encode()).hexdigest(),
        }
        try:
            with self._lock:
                self._answers.put(answer)
                self._chain.append("command.ended", facts)
                self._memory.end(begun.command_id)
                self.counts.commands_failed += outcome.state != "done"
        except StateError as error:
            _log.error("A command's answer cannot be kept yet", extra={"error": str(error)})
            self._unsaved.append((begun, outcome))

    def _record_unrecorded(self, now: float) -> None:
        count = self._budget.take_unrecorded(now)
        if not count:
            return
        try:
            with self._lock:
                self._chain.append("command.refusals_unrecorded", {"count": count})
        except StateError as error:
            _log.error("Refusals cannot be recorded", extra={"count": count, "error": str(error)})


def _seconds_of(command: Command) -> int:
    """Give how long another process may take for a command."""
    timeout = command.arguments.get("timeout_s", 0) if command.verb == "exec" else 0
    return HELPER_SECONDS + timeout + _VERB_SECONDS.get(command.verb, 0)


def _counter_of(delivery: Delivery) -> int:
    """Order deliveries as their operators made them; what cannot be read is refused first."""
    try:
        return commands.read_command(delivery.envelope.payload).counter
    except CommandError:
        return 0
