"""The present of a simulated fleet: windows close, heartbeats beat, each sensor in its own phase."""

from __future__ import annotations

import heapq
import logging
import threading
from dataclasses import dataclass, field

from teiten.foundation.clock import Clock
from teiten.simulators.errors import FleetStoppedError
from teiten.simulators.hashes import salt_of
from teiten.simulators.sensors import SimulatedSensor

_log = logging.getLogger(__name__)

_SECOND_US = 1_000_000


@dataclass(order=True)
class _Duty:
    """Something that a sensor does at a time."""

    due_us: int
    order: int
    sensor: SimulatedSensor = field(compare=False)
    is_beat: bool = field(compare=False)
    #: End of the last window.
    until_us: int = field(compare=False, default=0)


class Live:
    """Runs all sensors with few threads: whoever is free does what is due next."""

    def __init__(
        self,
        sensors: list[SimulatedSensor],
        clock: Clock,
        stop: threading.Event,
        *,
        from_us: int,
        window_seconds: float,
        live_window_seconds: float,
        heartbeat_seconds: float,
        longest_window_seconds: int,
    ) -> None:
        self._clock = clock
        self._stop = stop
        self._window_us = round(window_seconds * _SECOND_US)
        self._live_window_us = round(live_window_seconds * _SECOND_US)
        self._beat_us = round(heartbeat_seconds * _SECOND_US)
        self._longest_us = longest_window_seconds * _SECOND_US
        self._lengths = {sensor.plan.name: self._window_us for sensor in sensors}
        self._duties: list[_Duty] = []
        self._changed = threading.Condition()
        for place, sensor in enumerate(sensors):
            # The first heartbeats come at once: a fleet that has just started should not look dead.
            heapq.heappush(self._duties, _Duty(from_us, 2 * place, sensor, is_beat=True))
            due_us = self._next_boundary(sensor, from_us)
            heapq.heappush(
                self._duties, _Duty(due_us, 2 * place + 1, sensor, is_beat=False, until_us=from_us)
            )

    def work(self) -> None:
        """Do what is due until the fleet is stopped; several threads may work at once."""
        while (duty := self._take()) is not None:
            try:
                if duty.is_beat:
                    self._beat(duty)
                else:
                    self._close_window(duty)
            except FleetStoppedError:
                return
            with self._changed:
                heapq.heappush(self._duties, duty)
                self._changed.notify()

    def wake(self) -> None:
        """Let waiting threads see that the fleet is stopped."""
        with self._changed:
            self._changed.notify_all()

    def _take(self) -> _Duty | None:
        """Wait for the next duty; None when the fleet is stopped."""
        with self._changed:
            while not self._stop.is_set():
                wait_us = self._duties[0].due_us - self._clock.now_us() if self._duties else _SECOND_US
                if wait_us <= 0:
                    return heapq.heappop(self._duties)
                self._changed.wait(min(wait_us, _SECOND_US) / _SECOND_US)
        return None

    def _close_window(self, duty: _Duty) -> None:
        """Send all that has passed since the last window, cut where windows end."""
        sensor = duty.sensor
        end_us = self._next_boundary(sensor, self._clock.now_us()) - self._lengths[sensor.plan.name]
        if end_us > duty.until_us:
            for window in sensor.recorder.plan_windows(duty.until_us, end_us, self._longest_us):
                sensor.deliver(window)
            duty.until_us = end_us
        duty.due_us = self._next_boundary(sensor, max(duty.until_us, self._clock.now_us()))

    def _beat(self, duty: _Duty) -> None:
        sensor = duty.sensor
        duty.due_us = self._clock.now_us() + self._beat_us
        if sensor.recorder.is_silent(self._clock.now_us()):
            return
        answer = sensor.beat()
        if answer is None:
            return
        wanted = self._live_window_us if answer.config.live else self._window_us
        if wanted != self._lengths[sensor.plan.name]:
            self._change_length(sensor, wanted)
            _log.info(
                "a simulated sensor changes its windows",
                extra={"sensor": sensor.plan.name, "window_seconds": wanted / _SECOND_US},
            )

    def _change_length(self, sensor: SimulatedSensor, length_us: int) -> None:
        """Let the running window end by the new rule; a window in hand finds it out by itself."""
        with self._changed:
            self._lengths[sensor.plan.name] = length_us
            for duty in self._duties:
                if duty.sensor is sensor and not duty.is_beat:
                    duty.due_us = self._next_boundary(sensor, self._clock.now_us())
            heapq.heapify(self._duties)
            self._changed.notify()

    def _next_boundary(self, sensor: SimulatedSensor, at_us: int) -> int:
        """Give the first end of a window after ``at_us``; phases differ by sensor."""
        length = self._lengths[sensor.plan.name]
        phase = salt_of(f"phase {sensor.plan.name}") * 1000 % length
        return at_us - (at_us - phase) % length + length
