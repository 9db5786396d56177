"""What ``teiten-sensor run`` can do for a command without root and without systemd.

It supervises itself: it can begin again and stop recording. Everything else of the
verbs that need root needs the service installation, and is refused with that word.
"""

from __future__ import annotations

import contextlib
import logging
import threading

from teiten.protocol.commands import Command
from teiten.sensor.errors import SensorError
from teiten.sensor.obeying.files import write_durably
from teiten.sensor.obeying.outcome import Outcome, done, refused
from teiten.sensor.obeying.root_helper import Helper
from teiten.sensor.reporting import read_orders
from teiten.sensor.state import CAPTURE_STATUS, StateFolder

_log = logging.getLogger(__name__)
#: Marks a sensor that was told not to record; it outlives restarts.
OFF_FILE = "capture-off"
_LOOK_SECONDS = 1.0


class CaptureSwitch:
    """Whether this sensor shall record, and who has to stop when that changes.

    Args:
        state: the sensor's folder.
        stop: ends the whole process.
    """

    def __init__(self, state: StateFolder, stop: threading.Event) -> None:
        self._path = state.path / OFF_FILE
        self._state = state
        self._stop = stop
        #: Ends the present recording: told to switch, to begin again or to stop.
        self.turn = threading.Event()
        self.must_begin_again = False

    @property
    def is_on(self) -> bool:
        return not self._path.exists()

    def set_on(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self.turn.set()

    def set_off(self) -> None:
        """Stop recording until :meth:`set_on`, also over restarts.

        Raises:
            StateError: when the disk refuses.
        """
        write_durably(self._path, b"recording was switched off by command\n")
        self.turn.set()

    def begin_again(self) -> None:
        """Let the whole process end and start anew."""
        self.must_begin_again = True
        self._stop.set()
        self.turn.set()

    def say_off(self) -> None:
        """Tell the sending process, and with it the base, why nothing is recorded."""
        status = {**self._state.read_json(CAPTURE_STATUS), "running": False}
        with contextlib.suppress(OSError):
            self._state.write_json(CAPTURE_STATUS, {**status, "last_error": "recording is off by command"})

    def wait(self) -> None:
        """Wait for the next turn."""
        while not self.turn.wait(_LOOK_SECONDS) and not self._stop.is_set():
            pass


class SupervisedActions:
    """Restart and the switch of capture; nothing else."""

    def __init__(self, switch: CaptureSwitch) -> None:
        self._switch = switch

    def act(self, command: Command) -> Outcome:
        if command.verb == "restart":
            return done("restarting\n")
        if command.verb == "capture_on":
            self._switch.set_on()
            return done("recording is on\n")
        if command.verb == "capture_off":
            self._switch.set_off()
            return done("recording is off\n")
        return refused("needs_service", f"{command.verb} needs the service installation\n")

    def follow_up(self, command: Command) -> None:
        if command.verb == "restart":
            self._switch.begin_again()


class HelperThread:
    """The helper's place in a supervising process: looks for requests once a second."""

    def __init__(self, helper: Helper, state: StateFolder, stop: threading.Event) -> None:
        self._helper = helper
        self._state = state
        self._stop = stop
        self._thread = threading.Thread(target=self._run, name="helper")

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join()
        self._helper.close()

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            try:
                self._helper.obey_all(offset_us=read_orders(self._state).clock_offset_us)
            except SensorError as error:
                _log.error("A request cannot be obeyed", extra={"error": str(error)})
