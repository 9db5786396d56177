"""Start the sensor's processes anew, through systemd in earnest."""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Sequence
from typing import Protocol

_log = logging.getLogger(__name__)
#: systemd waits 90 s for a unit by itself.
_PATIENCE_SECONDS = 120.0


class Restarter(Protocol):
    """Whoever can start the sensor's processes anew."""

    def restart(self, *, capture: bool) -> None:
        """Stop and start them at once; without ``capture`` only the sending one."""


class Systemctl:
    """Restarts units one after the other, the capturing one first: its pause is what counts."""

    def __init__(self, units: Sequence[str]) -> None:
        self._units = tuple(units)

    def restart(self, *, capture: bool) -> None:
        program = shutil.which("systemctl", path="/usr/bin:/bin:/usr/sbin:/sbin")
        if program is None:
            _log.warning("There is no systemctl; the new release starts with the next start of the units")
            return
        for unit in self._units if capture else self._units[1:]:
            # ``try-restart``: what the operator has stopped stays stopped.
            done = subprocess.run(  # noqa: S603  # units come from root's own settings
                [program, "try-restart", "--", unit], timeout=_PATIENCE_SECONDS, check=False
            )
            if done.returncode != 0:
                _log.error("A unit did not restart", extra={"unit": unit, "status": done.returncode})
