"""A TLS connection that is given up because nothing moves, not because it is slow.

A batch of 60 KB needs a minute at 8 kbit/s, and most of that minute it lies in the
kernel's buffer, where a time-out of one call sees nothing of it. What counts is
therefore whether bytes have been acknowledged or have come (``TCP_INFO``, tcp(7)).
Whoever moves ever so little is bounded by a floor under the average speed.
"""

from __future__ import annotations

import io
import socket
import ssl
import struct
from typing import TYPE_CHECKING

from teiten.foundation.clock import Clock

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: Slower than this on average (4 kbit/s) is no line that a batch can be sent on.
FLOOR_BYTES_PER_SECOND = 500
#: Longest answer that a gateway has.
MAX_ANSWER_BYTES = 1 << 20
#: Time for an answer, beyond the silence that is borne.
_ANSWER_SECONDS = 300.0
#: Bytes of a TLS record, of which the other side sees nothing before it has all: the first one holds a
#: request's head, so that a gateway hears soon, also on a slow line, that there is one.
_FIRST_BYTES, _RECORD_BYTES = 1_024, 4_096
#: Looks at the line in the silence that is borne.
_LOOKS = 4
#: ``tcpi_bytes_acked`` and ``tcpi_bytes_received`` of linux/tcp.h (4.1 and later).
_MOVED = struct.Struct("=120xQQ")


class Line:
    """Sends and receives over a connected socket.

    Args:
        wire: its time-out is changed.
        clock: for time and speed.
        silence_seconds: how long nothing may move.
    """

    def __init__(self, wire: ssl.SSLSocket, clock: Clock, *, silence_seconds: float) -> None:
        wire.settimeout(silence_seconds / _LOOKS)
        self._wire = wire
        self._clock = clock
        self._silence_seconds = silence_seconds
        self._moved = 0
        self._until = 0.0
        #: When bytes were last seen to move, monotonic seconds.
        self.moved_at = clock.monotonic()

    def send(self, data: bytes) -> None:
        """Send all of it, however long that takes while bytes move.

        Raises:
            TimeoutError: when nothing moves, or too slowly.
            OSError: when the connection breaks.
        """
        self.moved_at = self._clock.monotonic()
        self._moved = _count_moved(self._wire)
        self._until = self.moved_at + self._silence_seconds + len(data) / FLOOR_BYTES_PER_SECOND
        rest, size = memoryview(data), _FIRST_BYTES if len(data) > _RECORD_BYTES else _RECORD_BYTES
        while rest:
            try:
                rest, size = rest[self._wire.send(rest[:size]) :], _RECORD_BYTES
            except TimeoutError:
                self._look()
        self._until += _ANSWER_SECONDS

    def receive_into(self, buffer: WriteableBuffer) -> int:
        """Receive what has come; 0 at the end.

        Raises:
            TimeoutError: when nothing moves, or too slowly.
            OSError: when the connection breaks.
        """
        while True:
            try:
                count = self._wire.recv_into(buffer)
            except TimeoutError:
                self._look()
                continue
            self.moved_at = self._clock.monotonic()
            if self.moved_at > self._until:
                raise TimeoutError("it moves too slowly")
            return count

    def makefile(self, mode: str) -> io.BufferedReader:
        """Give the file that ``http.client`` reads an answer from."""
        del mode
        return io.BufferedReader(_Answer(self))

    def close(self) -> None:
        self._wire.close()

    def _look(self) -> None:
        """See whether bytes have moved since the last look.

        Raises:
            TimeoutError: when none have for too long, or too few.
        """
        moved, now = _count_moved(self._wire), self._clock.monotonic()
        if moved > self._moved:
            self._moved, self.moved_at = moved, now
        if now - self.moved_at >= self._silence_seconds:
            raise TimeoutError("nothing moves any more")
        if now > self._until:
            raise TimeoutError("it moves too slowly")


class _Answer(io.RawIOBase):
    """Reads from a line; closing it leaves the connection open."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        return self._line.receive_into(buffer)


def _count_moved(wire: socket.socket) -> int:
    """Count the bytes that the other side has acknowledged and sent; 0 where the kernel does not tell."""
    told = wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _MOVED.size)
    return sum(_MOVED.unpack(told)) if len(told) == _MOVED.size else 0
