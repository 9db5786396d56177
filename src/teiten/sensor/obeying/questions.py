"""Class A: verbs that only look. They run in the sending process, which has no privileges."""

from __future__ import annotations

import ipaddress
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

from teiten.foundation.clock import Clock
from teiten.sensor.obeying.log_file import read_tail
from teiten.sensor.obeying.outcome import Outcome, done, failed
from teiten.sensor.obeying.programs import find_program, run_program
from teiten.sensor.state import StateFolder
from teiten.sensor.status import collect_status

_TRACE_SECONDS, _RESOLVE_SECONDS = 60.0, 20.0
_PING_WAIT_SECONDS = 2


class Questions:
    """Answers what is asked; each answer is text.

    Args:
        state: the sensor's folder.
        clock: this machine's.
        stop: ends a program that is running when this process ends.
    """

    def __init__(self, state: StateFolder, clock: Clock, stop: threading.Event) -> None:
        self._state = state
        self._clock = clock
        self._stop = stop
        self._verbs: dict[str, Callable[[Mapping[str, Any]], Outcome]] = {
            "status": self._tell_status,
            "log_tail": self._tell_log,
            "ping": self._ping,
            "traceroute": self._trace,
            "resolve": self._resolve,
        }

    @property
    def verbs(self) -> tuple[str, ...]:
        return tuple(self._verbs)

    def answer(self, verb: str, arguments: Mapping[str, Any]) -> Outcome:
        """Answer one question whose arguments were checked."""
        return self._verbs[verb](arguments)

    def _tell_status(self, _arguments: Mapping[str, Any]) -> Outcome:
        return done(json.dumps(collect_status(self._state, self._clock), indent=1) + "\n")

    def _tell_log(self, arguments: Mapping[str, Any]) -> Outcome:
        return done(read_tail(self._state.path, lines=int(arguments["lines"])))

    def _ping(self, arguments: Mapping[str, Any]) -> Outcome:
        count, address = int(arguments["count"]), str(arguments["address"])
        family = f"-{ipaddress.ip_address(address).version}"
        options = [family, "-n", "-c", str(count), "-W", str(_PING_WAIT_SECONDS)]
        return self._run("ping", *options, address, seconds=_PING_WAIT_SECONDS * (count + 1) + 5.0)

    def _trace(self, arguments: Mapping[str, Any]) -> Outcome:
        name = "traceroute" if find_program("traceroute") else "tracepath"
        options = ["-n", "-q", "1", "-w", "2", "-m", "30"] if name == "traceroute" else ["-n", "-m", "30"]
        return self._run(name, *options, str(arguments["address"]), seconds=_TRACE_SECONDS)

    def _resolve(self, arguments: Mapping[str, Any]) -> Outcome:
        return self._run("getent", "ahosts", str(arguments["name"]), seconds=_RESOLVE_SECONDS)

    def _run(self, name: str, *words: str, seconds: float) -> Outcome:
        path = find_program(name)
        if path is None:
            return failed("tool_missing", f"{name} is not installed on this sensor")
        return run_program([path, *words], timeout_seconds=seconds, clock=self._clock, stop=self._stop)
