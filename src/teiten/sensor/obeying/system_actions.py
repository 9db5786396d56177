"""What the root helper does on a machine with systemd; every program is a fixed list of words.

``exec`` goes through ``systemd-run``, which gives it a control group of its own with
limits of memory, tasks and time (systemd.resource-control(5)). That waits over D-Bus;
where there is none, the program runs within the helper's own unit and its limits.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from teiten.foundation.clock import Clock
from teiten.protocol.commands import Command
from teiten.sensor.chain import FILE_NAME
from teiten.sensor.errors import StateError
from teiten.sensor.obeying.files import write_durably
from teiten.sensor.obeying.handing import Places
from teiten.sensor.obeying.outcome import Outcome, done, failed
from teiten.sensor.obeying.programs import find_program, run_program
from teiten.sensor.spool_files import READY

_log = logging.getLogger(__name__)

CAPTURE, UPLOAD, UPDATE = (
    "teiten-sensor-capture.service",
    "teiten-sensor-upload.service",
    "teiten-sensor-update.service",
)
#: Everything that starts by itself on a sensor.
ALL_UNITS = (
    CAPTURE,
    UPLOAD,
    "teiten-sensor-update.timer",
    "teiten-sensor-update.path",
    "teiten-sensor-commit.timer",
    "teiten-sensor-obey.path",
)
_EXEC_LIMITS = ("MemoryMax=256M", "TasksMax=64", "CPUQuota=50%", "PrivateTmp=yes")
_BUS = Path("/run/dbus/system_bus_socket")
_SYSTEMCTL_SECONDS = 90.0
_LOOK_SECONDS = 1.0
#: How long a sensor that is ended waits for its last batches, and for the receipt of its last result.
DRAIN_SECONDS, RECEIPT_SECONDS = 300.0, 180.0


@dataclass(frozen=True)
class SystemPlaces:
    """Where things lie on this machine."""

    state_dir: Path
    #: The launcher's own folder; ``wanted.json`` in it asks for a release.
    launcher_dir: Path


class SystemActions:
    """Restarts, switches, updates, runs and ends, as root."""

    def __init__(
        self,
        system: SystemPlaces,
        places: Places,
        clock: Clock,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._system = system
        self._places = places
        self._clock = clock
        self._sleep = sleep
        self._verbs: dict[str, Callable[[Command], Outcome]] = {
            "restart": self._restart,
            "capture_on": lambda _command: self._control("enable", "--now", CAPTURE),
            "capture_off": lambda _command: self._control("disable", "--now", CAPTURE),
            "update_now": self._update,
            "exec": self._execute,
            "wipe": self._wipe,
            "retire": self._retire,
        }

    def act(self, command: Command) -> Outcome:
        return self._verbs[command.verb](command)

    def follow_up(self, command: Command) -> None:
        """End the sensor, once the base has the word of it or has had time enough."""
        if command.verb not in ("wipe", "retire"):
            return
        receipt = self._places.receipted / command.command_id
        self._wait(RECEIPT_SECONDS, lambda: os.path.lexists(receipt))
        for unit in ALL_UNITS:
            # One by one: a unit that is not installed must not keep the others running.
            self._control("disable", "--now", unit)
        erase_state(self._system.state_dir)
        _log.warning("This sensor has been ended", extra={"command": command.command_id})

    def _restart(self, _command: Command) -> Outcome:
        """Restart what is meant to run: recording that was switched off stays off."""
        is_on = self._control("is-enabled", "--quiet", CAPTURE).state == "done"
        return self._control("restart", "--no-block", *([CAPTURE, UPLOAD] if is_on else [UPLOAD]))

    def _update(self, command: Command) -> Outcome:
        release = int(command.arguments["release"])
        wanted = self._system.launcher_dir / "wanted.json"
        write_durably(wanted, json.dumps({"release": release}).encode(), mode=0o644)
        return self._control("start", "--no-block", UPDATE)

    def _execute(self, command: Command) -> Outcome:
        words, limit = list(command.arguments["argv"]), int(command.arguments["timeout_s"])
        seconds, began = limit, self._clock.monotonic()
        runner = find_program("systemd-run")
        if runner is not None and _BUS.is_socket():
            limits = (*_EXEC_LIMITS, f"RuntimeMaxSec={limit}")
            options = [f"--property={one}" for one in limits]
            words = [runner, "--wait", "--pipe", "--collect", "--quiet", *options, "--", *words]
            seconds += 10
        outcome = run_program(words, timeout_seconds=seconds, clock=self._clock)
        is_late = self._clock.monotonic() - began >= limit
        # systemd-run does not say that it was the time.
        return replace(outcome, reason="timeout") if outcome.state == "failed" and is_late else outcome

    def _wipe(self, _command: Command) -> Outcome:
        self._control("disable", "--now", CAPTURE)
        count = self._count_unsent()
        erase_folder(self._system.state_dir / "spool")
        return done(f"{count} unsent batches were erased; key and identity follow\n")

    def _retire(self, _command: Command) -> Outcome:
        stopped = self._control("disable", "--now", CAPTURE)
        if stopped.state != "done":
            return stopped
        self._wait(DRAIN_SECONDS, lambda: self._count_unsent() == 0)
        return done(f"{self._count_unsent()} batches could not be sent; key and identity are erased now\n")

    def _count_unsent(self) -> int:
        try:
            return sum(1 for _ in (self._system.state_dir / "spool" / READY).iterdir())
        except OSError:
            return 0

    def _wait(self, seconds: float, is_over: Callable[[], bool]) -> None:
        deadline = self._clock.monotonic() + seconds
        while not is_over() and self._clock.monotonic() < deadline:
            self._sleep(_LOOK_SECONDS)

    def _control(self, *words: str) -> Outcome:
        return run_systemctl(words, self._clock)


def run_systemctl(words: Sequence[str], clock: Clock) -> Outcome:
    """Ask the machine's manager for something."""
    systemctl = find_program("systemctl")
    if systemctl is None:
        return failed("needs_service", "systemctl is not there\n")
    return run_program([systemctl, *words], timeout_seconds=_SYSTEMCTL_SECONDS, clock=clock)


def erase_state(state_dir: Path) -> None:
    """Erase key, identity, spool and everything else of a sensor but its audit chain.

    The folder belongs to another user, who may have put symbolic links into it: none is followed.

    Raises:
        StateError: when something is left.
    """
    try:
        found = list(state_dir.iterdir())
    except OSError as error:
        raise StateError(f"state folder {state_dir} cannot be read: {error.strerror}") from error
    # The key first: without it nobody is this sensor any more.
    for path in sorted(found, key=lambda path: not path.name.startswith("key")):
        if path.name != FILE_NAME:
            erase_folder(path)


def erase_folder(path: Path) -> None:
    """Erase a file or a folder with all in it; a symbolic link is erased itself.

    Raises:
        StateError: when the disk refuses.
    """
    try:
        if path.is_dir() and not path.is_symlink():
            # Safe against links put in its way meanwhile (shutil.rmtree.avoids_symlink_attacks).
            shutil.rmtree(path)
        else:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
    except OSError as error:
        raise StateError(f"{path} cannot be erased: {error.strerror}") from error
