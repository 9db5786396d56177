"""The pcap format: either byte order, micro- or nanoseconds, and the "modified" kind.

Source: draft-ietf-opsawg-pcap; for the modified kind (24-byte record headers, by
A. Kuznetsov) libpcap's ``sf-pcap.c``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from teiten.sensor.capture_file_errors import DamagedCaptureError, UnsupportedCaptureError
from teiten.sensor.capture_file_records import MAX_FRAME_BYTES, Frames, read_words

HEADER_BYTES = 24


@dataclass(frozen=True)
class PcapKind:
    """What the magic number says."""

    #: ``<`` or ``>``.
    order: str
    #: Fractions of a second per microsecond: 1, or 1000 for nanoseconds.
    per_us: int
    record_header_bytes: int


_KINDS = {0xA1B2C3D4: (1, 16), 0xA1B23C4D: (1000, 16), 0xA1B2CD34: (1, 24)}
KIND_OF_MAGIC: dict[bytes, PcapKind] = {
    struct.pack(f"{order}I", magic): PcapKind(order, per_us, size)
    for magic, (per_us, size) in _KINDS.items()
    for order in "<>"
}


class PcapReader:
    """The frames of one pcap file."""

    def __init__(self, path: Path, data: NDArray[np.uint8]) -> None:
        """Read the file header.

        Raises:
            DamagedCaptureError: the file ends within its header.
            UnsupportedCaptureError: a version other than 2.x.
        """
        self._path = path
        self._data = data
        self._kind = KIND_OF_MAGIC[data[:4].tobytes()]
        self.untimed = 0
        if data.size < HEADER_BYTES:
            raise DamagedCaptureError(
                path, "the file ends within its header", whole_packets=0, at_byte=data.size
            )
        major, network = struct.unpack_from(f"{self._kind.order}H14xI", data.data, 4)
        if major != 2:
            raise UnsupportedCaptureError(f"{path}: pcap version {major}; only version 2 is known")
        #: The upper bits tell of frame check sequences.
        self.link_type = network & 0xFFFF

    def read_frames(self, *, max_frames: int) -> Iterator[Frames]:
        at, whole = HEADER_BYTES, 0
        while at < self._data.size:
            starts, at, problem = self._find_records(at, max_frames)
            whole += len(starts)
            if starts:
                yield self._read_records(np.array(starts, np.int64))
            if problem:
                raise DamagedCaptureError(self._path, problem, whole_packets=whole, at_byte=at)

    def _find_records(self, at: int, max_frames: int) -> tuple[list[int], int, str]:
        """Walk over at most ``max_frames`` records.

        Returns:
            Where each begins, where the walk stopped, and what is wrong there, if anything.
        """
        read_length = struct.Struct(f"{self._kind.order}8xI").unpack_from
        data, size, head = self._data.data, self._data.size, self._kind.record_header_bytes
        starts: list[int] = []
        while at < size and len(starts) < max_frames:
            if at + head > size:
                return starts, at, "the file ends within a record header"
            (length,) = read_length(data, at)
            if length > MAX_FRAME_BYTES:
                return starts, at, f"a record claims {length} bytes, more than any frame has,"
            if at + head + length > size:
                return starts, at, "the file ends within a packet"
            starts.append(at)
            at += head + length
        return starts, at, ""

    def _read_records(self, starts: NDArray[np.int64]) -> Frames:
        words = read_words(self._data, starts, count=4, order=self._kind.order).astype(np.int64)
        return Frames(
            at=starts + self._kind.record_header_bytes,
            captured=words[:, 2],
            wire=words[:, 3],
            time_us=words[:, 0] * 1_000_000 + words[:, 1] // self._kind.per_us,
            link_type=np.full(starts.size, self.link_type, np.int32),
        )
