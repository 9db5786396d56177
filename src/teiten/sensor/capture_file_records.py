"""A table of records: where each frame lies in its file, and what its record says.

Records are found one after the other, since each says where the next begins; all
else about them is read column by column.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

#: No link type needs a longer frame (libpcap's MAXIMUM_SNAPLEN).
MAX_FRAME_BYTES = 262_144


@dataclass(frozen=True)
class Frames:
    """Frames of one or more link types, in the order of the file."""

    #: Byte at which each frame begins in the file.
    at: NDArray[np.int64]
    #: Bytes of the frame in the file, and on the wire.
    captured: NDArray[np.int64]
    wire: NDArray[np.int64]
    #: µs since 1970-01-01 UTC.
    time_us: NDArray[np.int64]
    #: LINKTYPE_ number.
    link_type: NDArray[np.int32]

    def __len__(self) -> int:
        return self.at.size

    def take(self, rows: NDArray[np.intp]) -> Frames:
        return Frames(*(getattr(self, field.name)[rows] for field in fields(self)))


class FrameReader(Protocol):
    """A capture format."""

    #: Frames that had no time of their own and took the one before them.
    untimed: int

    def read_frames(self, *, max_frames: int) -> Iterator[Frames]:
        """Give all frames of the file, some at a time.

        Raises:
            DamagedCaptureError: after the last whole frame.
        """


def read_words(
    data: NDArray[np.uint8], at: NDArray[np.int64], *, count: int, order: str
) -> NDArray[np.uint32]:
    """Read ``count`` consecutive 32-bit words at each place.

    Args:
        data: the file.
        at: places, each with ``4 * count`` bytes before the file's end.
        count: words.
        order: ``<`` or ``>``.

    Returns:
        Shape (places, count), host order.
    """
    if not at.size:
        return np.empty((0, count), np.uint32)
    windows = np.lib.stride_tricks.sliding_window_view(data, 4 * count)
    return windows[at].view(f"{order}u4").astype(np.uint32)
