"""Connect to one of several addresses: the next is tried while the one before does not answer.

A host whose IPv6 leads nowhere must not wait out a time-out before each request (Happy
Eyeballs, RFC 8305 section 5). Segments are kept small enough for IPv6's least MTU: where
a tunnel drops larger ones and the ICMP that would say so, heartbeats pass and batches never do.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import select
import socket
from collections import deque
from collections.abc import Sequence

from teiten.foundation.clock import Clock

#: Seconds until the next address is tried beside; RFC 8305 allows 0.1 to 2, lines by satellite need most of it.
STAGGER_SECONDS = 1.0
#: Largest segment: 1,280 bytes without the headers of IPv6 and TCP (RFC 8200 section 5).
SEGMENT_BYTES = 1_220


def connect(addresses: Sequence[str], port: int, *, seconds: float, clock: Clock) -> socket.socket:
    """Give a connected socket, with ``seconds`` as its time-out.

    Args:
        addresses: the one to be tried first stands first; may have a zone.
        port: of all of them.
        seconds: for all of them together.
        clock: for that.

    Raises:
        TimeoutError: when none answers in time.
        OSError: of the last address, when all refuse.
    """
    with contextlib.closing(_Race(addresses, port)) as race:
        winner = race.run(clock.monotonic() + seconds, clock)
    winner.settimeout(seconds)
    winner.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return winner


def interleave(addresses: Sequence[str]) -> list[str]:
    """Let the families take turns, the first address's family first (RFC 8305 section 4)."""
    by_family: dict[int, list[str]] = {}
    for one in addresses:
        by_family.setdefault(_version_of(one), []).append(one)
    queues = [deque(found) for found in by_family.values()]
    order = []
    while any(queues):
        order += [queue.popleft() for queue in queues if queue]
    return order


class _Race:
    """Attempts under way."""

    def __init__(self, addresses: Sequence[str], port: int) -> None:
        self._left = deque(addresses)
        self._port = port
        self._open: dict[int, socket.socket] = {}
        self._poller = select.poll()
        self._error: OSError = OSError("no address is known")

    def run(self, until: float, clock: Clock) -> socket.socket:
        next_at = clock.monotonic()
        while self._left or self._open:
            now = clock.monotonic()
            if now >= until:
                raise TimeoutError
            if self._left and (now >= next_at or not self._open):
                self._begin(self._left.popleft())
                next_at = now + STAGGER_SECONDS
            wake = min(until, next_at) if self._left else until
            winner = self._wait(max(0.0, wake - clock.monotonic()))
            if winner is not None:
                return winner
        raise self._error

    def close(self) -> None:
        for one in self._open.values():
            one.close()

    def _begin(self, address: str) -> None:
        family = socket.AF_INET if _version_of(address) == 4 else socket.AF_INET6
        try:
            attempt = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            # A kernel without this family.
            self._error = error
            return
        try:
            attempt.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
            attempt.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                attempt.connect((address, self._port))
        except OSError as error:
            attempt.close()
            self._error = error
            return
        self._open[attempt.fileno()] = attempt
        self._poller.register(attempt, select.POLLOUT)

    def _wait(self, seconds: float) -> socket.socket | None:
        if not self._open:
            return None
        for fileno, _event in self._poller.poll(seconds * 1_000 + 1):
            attempt = self._open.pop(fileno)
            self._poller.unregister(fileno)
            code = attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code == 0:
                return attempt
            attempt.close()
            self._error = OSError(code, os.strerror(code))
        return None


def _version_of(address: str) -> int:
    return ipaddress.ip_address(address.partition("%")[0]).version
