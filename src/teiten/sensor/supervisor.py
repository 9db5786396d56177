"""Keeps the sending process alive beside the recording one.

It runs apart so that neither memory nor a stuck connection of the one can harm the
other, and so that they can be given different rights. It is told to end by the
end of its standard input, which also happens when this process is killed.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Sequence

_log = logging.getLogger(__name__)
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 1.0, 60.0
_LOOK_SECONDS = 0.5
_END_SECONDS = 15.0


class Supervisor:
    """Starts ``teiten-sensor upload`` with ``arguments`` and starts it again when it ends."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._command = [sys.executable, "-m", "teiten.sensor.main", "upload", "--supervised", *arguments]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor")
        self.restarts = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Let the sending process send what was sealed last, then end."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        wait = _FIRST_WAIT_SECONDS
        while not self._stop.is_set():
            # The command is this program itself, with the options it was started with.
            child = subprocess.Popen(self._command, stdin=subprocess.PIPE)  # noqa: S603 - see above
            while not self._stop.is_set() and child.poll() is None:
                self._stop.wait(_LOOK_SECONDS)
            if self._stop.is_set():
                _end(child)
                return
            self.restarts += 1
            _log.error(
                "The sending process ended; starting it again",
                extra={"code": child.returncode, "restarts": self.restarts},
            )
            if child.stdin is not None:
                child.stdin.close()
            self._stop.wait(wait)
            wait = min(_LONGEST_WAIT_SECONDS, wait * 2)


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.stdin is not None:
        child.stdin.close()
    try:
        child.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        _log.warning("The sending process does not end; killing it, its spool is safe")
        child.kill()
        child.wait()
