"""Tells systemd that a process is ready and alive (sd_notify(3)): one datagram to a Unix socket.

``READY=1`` is said once, at the first sign of life; ``WATCHDOG=1`` with every further one, at
most twice in the time that systemd allows. Without ``NOTIFY_SOCKET`` in the environment nothing is said. Who
feeds must do so from the loop that does the work: a thread that only feeds proves nothing.
"""

from __future__ import annotations

import contextlib
import os
import socket

from teiten.foundation import settings
from teiten.foundation.clock import Clock

#: Shares of the allowed time between two signs of life.
_SIGNS = 3


class Watchdog:
    """The line to systemd.

    Args:
        clock: for the time between two signs of life.
        address: as ``NOTIFY_SOCKET`` has it: a path, or ``@`` and an abstract name; empty: nobody listens.
        allowed_seconds: how long systemd waits for a sign (``WATCHDOG_USEC``); 0: it does not.
    """

    def __init__(self, clock: Clock, *, address: str = "", allowed_seconds: float = 0.0) -> None:
        self._clock = clock
        self._address = address
        self._every_seconds = allowed_seconds / _SIGNS
        self._is_ready = False
        self._next = 0.0

    def feed(self) -> None:
        """Give a sign of life; cheap, to be called in every round."""
        if not self._address:
            return
        now = self._clock.monotonic()
        if not self._is_ready:
            self._is_ready = True
            self._say("READY=1")
        elif not self._every_seconds or now < self._next:
            return
        self._next = now + self._every_seconds
        self._say("WATCHDOG=1")

    def say_stopping(self) -> None:
        """Say that the end has begun; what is sealed and sent last takes its time."""
        if self._address:
            self._say("STOPPING=1")

    def _say(self, what: str) -> None:
        name = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        # systemd away or slow: the work goes on without it.
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock,
        ):
            sock.sendto(what.encode("ascii"), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL, name)


def find_watchdog(clock: Clock) -> Watchdog:
    """Give the line that systemd opened for this process, as its environment says."""
    owner = settings.read_variable("WATCHDOG_PID")
    microseconds = settings.read_variable("WATCHDOG_USEC")
    is_ours = owner in ("", str(os.getpid()))
    allowed = int(microseconds) / 1e6 if is_ours and microseconds.isdecimal() else 0.0
    return Watchdog(clock, address=settings.read_variable("NOTIFY_SOCKET"), allowed_seconds=allowed)
