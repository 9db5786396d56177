"""Where packets gather between the ring and the parser.

Parsing costs about 130 µs a call however few packets it gets, so packets are
copied out of the ring at once and parsed when enough of them have gathered.
The buffers are made once; what :meth:`Staging.filled` gives are views that the
next :meth:`Staging.clear` makes free for new packets. Of a few packets that are longer
than a row, the whole packet lies beside.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Whole packets kept beside the rows.
_MAX_FRAMES = 128


class RawPackets(NamedTuple):
    """``n`` packets as they were on the wire, from the IP header on."""

    #: uint8 (n, width), C order; bytes past ``captured_length`` are not this packet's.
    raw: NDArray[np.uint8]
    #: uint32 (n,): valid bytes of each row of ``raw``.
    captured_length: NDArray[np.uint32]
    #: uint32 (n,): bytes from the IP header on the wire, link padding included.
    wire_length: NDArray[np.uint32]
    #: int64 (n,): arrival, µs since 1970-01-01 UTC.
    observed_at_us: NDArray[np.int64]
    #: uint16 (n,): outer VLAN tag control information, 0 when there is none.
    vlan: NDArray[np.uint16]
    #: bool (n,): more than one VLAN tag.
    stacked: NDArray[np.bool_]

    def rows(self, start: int, stop: int) -> RawPackets:
        """Give the packets ``[start, stop)``, as views."""
        rows = slice(start, stop)
        return RawPackets(
            self.raw[rows],
            self.captured_length[rows],
            self.wire_length[rows],
            self.observed_at_us[rows],
            self.vlan[rows],
            self.stacked[rows],
        )


class Staging:
    """Room for ``capacity`` packets of ``width`` bytes."""

    def __init__(self, *, capacity: int = 4_096, width: int = 176) -> None:
        self.capacity = capacity
        self.width = width
        self.count = 0
        #: Row → the whole packet from the IP header on, for some that are longer than a row.
        self.frames: dict[int, bytes] = {}
        self._all = RawPackets(
            raw=np.zeros((capacity, width), np.uint8),
            captured_length=np.zeros(capacity, np.uint32),
            wire_length=np.zeros(capacity, np.uint32),
            observed_at_us=np.zeros(capacity, np.int64),
            vlan=np.zeros(capacity, np.uint16),
            stacked=np.zeros(capacity, np.bool_),
        )

    @property
    def room(self) -> int:
        return self.capacity - self.count

    @property
    def has_frame_room(self) -> bool:
        return len(self.frames) < _MAX_FRAMES

    def next_rows(self, count: int) -> RawPackets:
        """Give the next ``count`` free rows to be written, and count them as filled."""
        start, self.count = self.count, self.count + count
        return self._all.rows(start, self.count)

    def filled(self) -> RawPackets:
        """Give what has gathered, as views."""
        return self._all.rows(0, self.count)

    def clear(self) -> None:
        self.count = 0
        self.frames.clear()
