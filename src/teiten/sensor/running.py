"""``teiten-sensor run``: record here, send in a child, and do what operators may ask of such a pair.

Recording can be switched off and on by a signed command, and the whole can be told to
begin again; both without root and without systemd. A machine with the service
installation runs ``record`` and ``upload`` apart instead.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Sequence

from teiten.foundation.clock import Clock, SystemClock
from teiten.sensor.config import SensorConfig
from teiten.sensor.errors import SensorError
from teiten.sensor.obeying.building import build_supervised_helper
from teiten.sensor.obeying.supervised_actions import CaptureSwitch, HelperThread
from teiten.sensor.recording import Recording
from teiten.sensor.state import StateFolder
from teiten.sensor.supervisor import Supervisor

_log = logging.getLogger(__name__)


def run_sensor(config: SensorConfig, words: Sequence[str], stop: threading.Event) -> int:
    """Record and send until ``stop``; give the exit status.

    Raises:
        SensorError: when the sensor cannot record.
    """
    state, clock = StateFolder(config.state_dir), SystemClock()
    switch = CaptureSwitch(state, stop)
    forwarder = threading.Thread(target=_forward, args=(stop, switch), name="stop", daemon=True)
    forwarder.start()
    recording = _open_recording(config, state, clock) if switch.is_on else None
    helper = _start_helper(config, state, clock, switch=switch, stop=stop)
    supervisor = Supervisor(words[1:])
    supervisor.start()
    try:
        _take_turns(recording, config, state, clock=clock, switch=switch, stop=stop)
    finally:
        stop.set()
        supervisor.stop()
        if helper is not None:
            helper.join()
    if switch.must_begin_again:
        _log.info("Beginning again by command")
        # This very program with the options it was started with.
        os.execv(sys.executable, [sys.executable, "-m", "teiten.sensor.main", *words])  # noqa: S606 - see above
    return 0


def _open_recording(config: SensorConfig, state: StateFolder, clock: Clock) -> Recording:
    recording = Recording(config, state, clock)
    recording.open()
    return recording


def _take_turns(
    recording: Recording | None,
    config: SensorConfig,
    state: StateFolder,
    *,
    clock: Clock,
    switch: CaptureSwitch,
    stop: threading.Event,
) -> None:
    """Record, or wait while recording is off, turn by turn."""
    while not stop.is_set():
        if recording is not None:
            recording.run(switch.turn)
            recording = None
        elif switch.is_on:
            recording = _open_recording(config, state, clock)
            continue
        else:
            switch.say_off()
            switch.wait()
        if not stop.is_set():
            switch.turn.clear()


def _forward(stop: threading.Event, switch: CaptureSwitch) -> None:
    """Let the end of the process end the present turn."""
    stop.wait()
    switch.turn.set()


def _start_helper(
    config: SensorConfig,
    state: StateFolder,
    clock: Clock,
    *,
    switch: CaptureSwitch,
    stop: threading.Event,
) -> HelperThread | None:
    """Start what does the verbs that this process can do; without it the sensor records and sends all the same."""
    try:
        helper = HelperThread(build_supervised_helper(config, state, clock, switch=switch), state, stop)
    except SensorError as error:
        _log.error("This sensor cannot be switched by commands", extra={"error": str(error)})
        return None
    helper.start()
    return helper
