"""The past of a simulated fleet: sent through the same gateway, newest day first, only what is missing."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from teiten.simulators.behaviours import subtract_spans
from teiten.simulators.ledger import Ledger
from teiten.simulators.population import DAY_US
from teiten.simulators.recorder import PlannedWindow
from teiten.simulators.sensors import SimulatedSensor


@dataclass(frozen=True)
class HistoryProgress:
    """How far the history is."""

    done_batches: int
    total_batches: int
    packets: int
    #: Start of the day that is being sent, µs.
    day_us: int


@dataclass(frozen=True)
class _Task:
    """One sensor's missing windows of one day, newest first."""

    sensor: SimulatedSensor
    day_us: int
    windows: tuple[PlannedWindow, ...]


class History:
    """Sends what the fleet would have sent before now."""

    def __init__(
        self,
        sensors: list[SimulatedSensor],
        ledger: Ledger,
        *,
        start_us: int,
        end_us: int,
        window_us: int,
        report: Callable[[HistoryProgress], None],
    ) -> None:
        self._sensors = sensors
        self._ledger = ledger
        self._start_us = start_us
        self._end_us = end_us
        self._window_us = window_us
        self._report = report
        self._lock = threading.Lock()
        self._done = self._packets = self._total = 0

    def send(self, workers: int) -> HistoryProgress:
        """Send everything that is missing and give the final count.

        Raises:
            FleetStoppedError: when the fleet is stopped; the next start goes on from there.
        """
        missing = [self._list_missing(sensor) for sensor in self._sensors]
        self._total = sum(
            sum(1 for _ in sensor.recorder.plan_windows(low, high, self._window_us))
            for sensor, spans in zip(self._sensors, missing, strict=True)
            for low, high in spans
        )
        tasks: queue.SimpleQueue[_Task] = queue.SimpleQueue()
        for task in self._plan(missing):
            tasks.put(task)
        with ThreadPoolExecutor(workers, thread_name_prefix="history") as pool:
            running = [pool.submit(self._work, tasks) for _ in range(workers)]
            for worker in running:
                worker.result()
        final = HistoryProgress(self._done, self._total, self._packets, self._start_us)
        self._report(final)
        return final

    def _list_missing(self, sensor: SimulatedSensor) -> list[tuple[int, int]]:
        covered = self._ledger.list_covered(sensor.plan.name)
        return list(subtract_spans((self._start_us, self._end_us), covered))

    def _plan(self, missing: list[list[tuple[int, int]]]) -> Iterator[_Task]:
        """Give a task per day and sensor, day by day backwards."""
        for day_us in range(self._end_us // DAY_US * DAY_US, self._start_us - DAY_US, -DAY_US):
            for sensor, spans in zip(self._sensors, missing, strict=True):
                windows = [
                    window
                    for low, high in spans
                    if low < day_us + DAY_US and high > day_us
                    for window in sensor.recorder.plan_windows(
                        max(low, day_us), min(high, day_us + DAY_US), self._window_us
                    )
                ]
                if windows:
                    newest_first = sorted(windows, key=lambda window: -window.start_us)
                    yield _Task(sensor, day_us, tuple(newest_first))

    def _work(self, tasks: queue.SimpleQueue[_Task]) -> None:
        while (task := _take(tasks)) is not None:
            try:
                for window in task.windows:
                    self._note(task.day_us, task.sensor.deliver(window))
            except BaseException:
                # One worker cannot go on, so none should: the next start does the rest.
                while _take(tasks) is not None:
                    pass
                raise

    def _note(self, day_us: int, packets: int) -> None:
        with self._lock:
            self._done += 1
            self._packets += packets
            progress = HistoryProgress(self._done, self._total, self._packets, day_us)
        self._report(progress)


def _take(tasks: queue.SimpleQueue[_Task]) -> _Task | None:
    try:
        return tasks.get_nowait()
    except queue.Empty:
        return None
