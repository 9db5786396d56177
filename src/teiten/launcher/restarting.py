"""Start the sensor's processes anew, through systemd in earnest."""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Sequence
from typing import Protocol

from teiten.launcher.errors import LauncherError

_log = logging.getLogger(__name__)
#: systemd waits 90 s for a unit by itself.
_PATIENCE_SECONDS = 120.0


class Restarter(Protocol):
    """Whoever can start the sensor's processes anew."""

    def restart(self, *, capture: bool) -> None:
        """Stop and start them at once; without ``capture`` only the sending one."""

    def wants_capture(self) -> bool:
        """Tell whether capture shall run: an operator's command may have switched it off."""


class Systemctl:
    """Restarts units one after the other, the capturing one first: its pause is what counts."""

    def __init__(self, units: Sequence[str]) -> None:
        self._units = tuple(units)
        self._program = shutil.which("systemctl", path="/usr/bin:/bin:/usr/sbin:/sbin")

    def restart(self, *, capture: bool) -> None:
        """Restart what is enabled, also when it has given up; what was switched off stays off.

        Raises:
            LauncherError: when systemd does not answer; the restart stays owed.
        """
        if self._program is None:
            _log.warning("There is no systemctl; the new release starts with the next start of the units")
            return
        for unit in self._units if capture else self._units[1:]:
            is_wanted = self._call("is-enabled", "--quiet", unit) == 0
            self._call("reset-failed", unit)
            status = self._call("restart" if is_wanted else "try-restart", unit)
            if status != 0:
                _log.error("A unit did not restart", extra={"unit": unit, "status": status})

    def wants_capture(self) -> bool:
        return self._program is None or self._call("is-enabled", "--quiet", self._units[0]) == 0

    def _call(self, *words: str) -> int:
        try:
            # Units come from root's own settings.
            done = subprocess.run(  # noqa: S603 - see above
                [str(self._program), *words],
                timeout=_PATIENCE_SECONDS,
                check=False,
                stderr=subprocess.DEVNULL,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise LauncherError(f"systemctl {' '.join(words)} does not end: {error}") from error
        return done.returncode
