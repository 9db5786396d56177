"""The sending process: empties the spool towards the gateway and beats once a minute.

Oldest first; in live mode the newest first, because someone is looking on.
After a failure it waits, exponentially longer and with full jitter, so that ten
thousand sensors do not come back in the same second.
"""

from __future__ import annotations

import logging
import math
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from teiten.foundation.clock import Clock
from teiten.protocol.commands import Delivery
from teiten.protocol.heartbeat import Heartbeat, HeartbeatAnswer
from teiten.protocol.receipt import Receipt
from teiten.sensor.config import SensorConfig
from teiten.sensor.errors import (
    BusyError,
    ClockSkewError,
    ConflictError,
    RefusedError,
    SpoolFileError,
    StandingError,
    UntrustedError,
    UplinkError,
)
from teiten.sensor.obeying.answers import Answer
from teiten.sensor.outbox import Outbox
from teiten.sensor.sealed import SealedBatch
from teiten.sensor.trouble import Trouble

_log = logging.getLogger(__name__)
#: Rounds after the stop in which what has just been sealed is still sent.
_LAST_SECONDS = 5.0
_RECEIPT_EXPIRED = 410
#: Between two tries to send what became of a command.
_ANSWER_RETRY_SECONDS = 60.0
#: An offset that has changed by more tells that a clock was set.
_SET_US = 1_000_000
#: Standings in which the base takes no batch.
_KEPT_OUT = frozenset({"pending_approval", "suspended"})


class Gateway(Protocol):
    """What the sender needs of an uplink."""

    clock_offset_us: int | None

    def send(self, sealed: SealedBatch) -> Receipt: ...

    def heartbeat(self, beat: Heartbeat) -> HeartbeatAnswer: ...

    def fetch_commands(self) -> tuple[Delivery, ...]: ...

    def send_result(self, answered: Answer) -> None: ...


class Reporter(Protocol):
    """Where heartbeats come from and what is learnt goes to."""

    def make_beat(self, *, clock_offset_us: int | None, last_error: str) -> Heartbeat: ...

    def take_answer(self, answer: HeartbeatAnswer, *, clock_offset_us: int | None) -> None: ...


class Obeying(Protocol):
    """Who obeys what operators signed; nothing of it takes long."""

    def take(self, deliveries: Sequence[Delivery], *, offset_us: int | None) -> None: ...

    def poll(self) -> None: ...

    def find_answer(self) -> Answer | None: ...

    def mark_receipted(self, command_id: str) -> None: ...


class Backoff:
    """How long to wait after the n-th failure in a row."""

    def __init__(self, *, shortest_seconds: float, longest_seconds: float, rng: random.Random) -> None:
        self._shortest = shortest_seconds
        self._longest = longest_seconds
        self._rng = rng
        self.failures = 0

    def next_wait(self) -> float:
        """Give a wait between the shortest and a limit that doubles with each failure."""
        limit = min(self._longest, self._shortest * 2.0 ** min(self.failures, 60))
        self.failures += 1
        return self._rng.uniform(min(self._shortest, limit), limit)

    def slow_wait(self) -> float:
        """Give a wait for what only a person can mend."""
        self.failures += 1
        return self._rng.uniform(self._longest / 2, self._longest)

    def reset(self) -> None:
        self.failures = 0


@dataclass
class SendingCounts:
    """Since the process started."""

    receipted: int = 0
    failures: int = 0
    corrupt: int = 0
    refused: int = 0
    conflicts: int = 0
    beats: int = 0
    results: int = 0


class Sender:
    """Sends what the outbox holds.

    Args:
        outbox: the spool's sending side.
        gateway: the uplink.
        reporter: makes heartbeats and takes what is learnt.
        config: intervals and back-off.
        clock: for intervals.
        rng: jitter.
        beats: whether to beat; a replay says nothing about how the sensor is.
        before_beat: called before each heartbeat: what must be done now and then, such as replacing the key.
        obeying: who is given commands; None: nobody.
    """

    def __init__(
        self,
        outbox: Outbox,
        gateway: Gateway,
        *,
        reporter: Reporter,
        config: SensorConfig,
        clock: Clock,
        rng: random.Random,
        beats: bool = True,
        before_beat: Callable[[], None] = lambda: None,
        obeying: Obeying | None = None,
    ) -> None:
        self._before_beat = before_beat
        self._outbox = outbox
        self._gateway = gateway
        self._reporter = reporter
        self._obeying = obeying
        self._answers_not_before = 0.0
        self._config = config
        self._clock = clock
        self._backoff = Backoff(
            shortest_seconds=config.backoff_min_seconds, longest_seconds=config.backoff_max_seconds, rng=rng
        )
        self._rng = rng
        self._names: list[str] = []
        start = clock.monotonic() + rng.uniform(0.0, config.first_connect_seconds)
        self._not_before = start
        #: Whether the last batch failed because nobody answered, or nobody who could be believed.
        self._is_cut_off = False
        self._beat_at = start if beats else math.inf
        self._batches, self._beats, self._commands = (
            Trouble(what, clock) for what in ("batch", "heartbeat", "command")
        )
        self.is_live = config.live
        self.counts = SendingCounts()
        self.last_receipt: Receipt | None = None
        #: When a heartbeat was answered last; None: not since the start.
        self.beat_at_us: int | None = None
        self.last_error = ""
        #: What keeps the base from taking batches, as it said last; empty: nothing does.
        self.standing = ""
        #: Since when the present step lasts, monotonic seconds; None between two.
        self.busy_since: float | None = None

    def run(self, stop: threading.Event) -> None:
        """Send until ``stop``, then for a few seconds what has just been sealed."""
        while not stop.is_set():
            self.busy_since = self._clock.monotonic()
            wait = self.step()
            self.busy_since = None
            stop.wait(wait)
        last = self._clock.monotonic() + _LAST_SECONDS
        while self._clock.monotonic() < last and self._backoff.failures == 0 and self._has_waiting():
            self.step()

    def step(self) -> float:
        """Do the next thing; give the seconds until there may be another."""
        now = self._clock.monotonic()
        if now >= self._beat_at:
            self._beat()
        if self._obeying is not None:
            self._obeying.poll()
        if now < self._not_before:
            return min(self._not_before, self._beat_at) - now
        if self._obeying is not None and self._send_answer(self._obeying):
            return 0.0
        if not self._has_waiting():
            return max(0.0, min(self._config.poll_seconds, self._beat_at - now))
        self._send_next()
        return 0.0

    @property
    def failures(self) -> int:
        """Failures in a row; 0 when the last batch was receipted."""
        return self._backoff.failures

    def as_status(self) -> dict[str, Any]:
        """Say how sending goes, for the status file."""
        receipt = self.last_receipt
        return {
            **vars(self.counts),
            "last_receipt": None
            if receipt is None
            else {"epoch": receipt.epoch, "seq": receipt.seq, "landed_at_us": receipt.landed_at_us},
            "last_error": self.last_error,
            "retry_seconds": round(max(0.0, self._not_before - self._clock.monotonic()), 1),
            "clock_offset_us": self._gateway.clock_offset_us,
            "live": self.is_live,
            "standing": self.standing,
        }

    def _has_waiting(self) -> bool:
        if not self._names or self.is_live:
            self._names = self._outbox.list_waiting()
            if not self.is_live:
                self._names.reverse()
        return bool(self._names)

    def _send_next(self) -> None:
        name = self._names.pop()
        try:
            sealed = self._outbox.load(name)
        except FileNotFoundError:
            return
        except SpoolFileError as error:
            self._outbox.mark_corrupt(name)
            self.counts.corrupt += 1
            self._note(error)
            _log.error("A spooled batch is corrupt", extra={"batch": name, "error": str(error)})
            return
        try:
            self.last_receipt = self._gateway.send(sealed)
        except UplinkError as error:
            if not self._set_aside(name, error):
                self._names.append(name)
                self._wait_after(error)
            return
        self._outbox.mark_done(name)
        self.counts.receipted += 1
        self._batches.end()
        self._backoff.reset()
        self.last_error = ""

    def _set_aside(self, name: str, error: UplinkError) -> bool:
        """Take a batch out of the way that no retry can save; give whether it was one."""
        if isinstance(error, ConflictError):
            self._outbox.mark_conflict(name)
            self.counts.conflicts += 1
            _log.critical(
                "The gateway holds another batch under this number; is this sensor's folder in use twice?",
                extra={"batch": name, "error": str(error)},
            )
        elif isinstance(error, RefusedError) and error.status == _RECEIPT_EXPIRED:
            # The gateway took this number long ago and forgot the receipt: not lost, but not proven.
            self._outbox.mark_conflict(name)
            self.counts.conflicts += 1
            _log.error(
                "The gateway has taken this number long ago", extra={"batch": name, "error": str(error)}
            )
        elif isinstance(error, RefusedError):
            self._outbox.mark_refused(name)
            self.counts.refused += 1
            _log.error("The gateway refuses a batch for ever", extra={"batch": name, "error": str(error)})
        else:
            return False
        self._note(error)
        return True

    def _wait_after(self, error: UplinkError) -> None:
        self._is_cut_off = not isinstance(error, (BusyError, ClockSkewError, StandingError))
        self._complain(self._batches, error)
        if isinstance(error, ClockSkewError) and self._gateway.clock_offset_us != error.offset_us:
            self._gateway.clock_offset_us = error.offset_us
            self._backoff.failures += 1
            wait = 0.0 if self._backoff.failures < 3 else self._backoff.next_wait()
        elif isinstance(error, BusyError):
            # Nobody is asked without a pause, whatever is said to stand there.
            least = max(error.retry_after_seconds, self._config.backoff_min_seconds)
            wait = least * self._rng.uniform(1.0, 1.25)
        elif isinstance(error, (StandingError, UntrustedError)):
            wait = self._backoff.slow_wait()
        else:
            wait = self._backoff.next_wait()
        self._not_before = self._clock.monotonic() + wait

    def _beat(self) -> None:
        self._beat_at = self._clock.monotonic() + self._config.heartbeat_seconds
        self._before_beat()
        offset_us = self._gateway.clock_offset_us
        beat = self._reporter.make_beat(clock_offset_us=offset_us, last_error=self.last_error)
        try:
            answer = self._gateway.heartbeat(beat)
        except UplinkError as error:
            self._complain(self._beats, error)
            if isinstance(error, ClockSkewError):
                self._take_offset(error.offset_us)
            return
        self._beats.end()
        self.counts.beats += 1
        self.beat_at_us = self._clock.now_us()
        self.is_live = answer.config.live or self._config.live
        self._note_standing(answer.standing or "")
        self._come_back()
        self._reporter.take_answer(answer, clock_offset_us=self._gateway.clock_offset_us)

        if answer.commands_pending and self._obeying is not None:
            self._fetch(self._obeying)

    def _take_offset(self, offset_us: int) -> None:
        """Use the gateway's time; beat again at once when the clock has been set since the last beat."""
        known_us = self._gateway.clock_offset_us
        self._gateway.clock_offset_us = offset_us
        if known_us is None or abs(offset_us - known_us) > _SET_US:
            self._beat_at = self._clock.monotonic() + self._config.backoff_min_seconds

    def _come_back(self) -> None:
        """Try batches soon when the gateway could not be reached and now is; as spread as heartbeats are."""
        if self._is_cut_off:
            soon = self._clock.monotonic() + self._rng.uniform(0.0, self._config.heartbeat_seconds)
            self._not_before = min(self._not_before, soon)

    def _fetch(self, obeying: Obeying) -> None:
        """Fetch what operators signed; what fails is asked for again after the next heartbeat."""
        try:
            obeying.take(self._gateway.fetch_commands(), offset_us=self._gateway.clock_offset_us)
        except UplinkError as error:
            self._complain(self._commands, error)
        else:
            self._commands.end()

    def _send_answer(self, obeying: Obeying) -> bool:
        """Send what became of one command; give whether there was one. Batches never wait for it."""
        if self._clock.monotonic() < self._answers_not_before:
            return False
        answer = obeying.find_answer()
        if answer is None:
            return False
        try:
            self._gateway.send_result(answer)
        except UplinkError as error:
            if not _is_final_for_answer(error):
                self._complain(self._commands, error)
                wait = self._rng.uniform(0.5, 1.0) * _ANSWER_RETRY_SECONDS
                self._answers_not_before = self._clock.monotonic() + wait
                return False
            _log.error("The base takes no result", extra={"command": answer.command_id, "error": str(error)})
            self._note(error)
        self.counts.results += 1
        obeying.mark_receipted(answer.command_id)
        return True

    def _note_standing(self, standing: str) -> None:
        """Keep what the base says of us; once it takes batches again, what waits goes at once."""
        if standing != self.standing:
            _log.warning(
                "The base has changed this sensor's standing", extra={"standing": standing or "active"}
            )
            if self.standing in _KEPT_OUT and standing not in _KEPT_OUT:
                self._not_before = self._clock.monotonic()
                self._backoff.reset()
                self.last_error = ""
        self.standing = standing

    def _note(self, error: Exception) -> None:
        self.last_error = str(error)
        self.counts.failures += 1

    def _complain(self, trouble: Trouble, error: Exception) -> None:
        self._note(error)
        trouble.tell(error)


def _is_final_for_answer(error: UplinkError) -> bool:
    """Tell whether the base will never take a result: another was first, or it asked nothing of the kind."""
    is_foreign = isinstance(error, StandingError) and error.code == "result_foreign"
    return is_foreign or isinstance(error, (RefusedError, ConflictError))
