"""Capture files as blocks of packets, ready for ``traffic.parse.parse_packets``.

Files are mapped, not read: memory is bounded by one chunk whatever the file's size.
Frames that carry no IP are counted and passed over; nothing else is left out.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from teiten.sensor.capture_file_errors import (
    CaptureFileError,
    DamagedCaptureError,
    NotACaptureError,
    UnsupportedCaptureError,
)
from teiten.sensor.capture_file_links import Packets, find_packets, is_supported, name_link_type
from teiten.sensor.capture_file_pcap import KIND_OF_MAGIC, PcapReader
from teiten.sensor.capture_file_pcapng import SECTION_MAGIC, PcapngReader
from teiten.sensor.capture_file_records import FrameReader, Frames
from teiten.traffic.parse_bytes import Bytes, Mask, gather_windows

#: A batch's times end here (2255), so a packet's must too.
MAX_TIME_US = 9_000_000_000_000_000
#: Bytes of one chunk's matrix, at most; a single packet may exceed it.
_CHUNK_BYTES = 64 << 20
_MIN_WIDTH = 64
_OTHER_FORMATS = (
    (b"\x1f\x8b", "compressed with gzip; run gunzip on it first"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd; run unzstd on it first"),
    (b"\xfd7zXZ\x00", "compressed with xz; run unxz on it first"),
    (b"BZh", "compressed with bzip2; run bunzip2 on it first"),
    (b"\x04\x22\x4d\x18", "compressed with lz4; run unlz4 on it first"),
    (b"PK\x03\x04", "a zip archive; unpack it first"),
    (b"snoop\x00\x00\x00", "a snoop capture; convert it with editcap -F pcapng"),
)


@dataclass(frozen=True)
class PacketChunk:
    """Some packets of a file, in its order; the arguments of ``parse_packets``."""

    #: Shape (n, width); each row begins at the IP header.
    raw: Bytes
    captured_length: NDArray[np.uint32]
    wire_length: NDArray[np.uint32]
    observed_at_us: NDArray[np.int64]
    vlan: NDArray[np.uint16]
    stacked_vlan: Mask


class CaptureFile:
    """An open capture file. Its counts speak of the latest reading."""

    def __init__(self, path: Path, data: Bytes, reader: FrameReader, *, file_format: str) -> None:
        self.path = path
        #: ``pcap`` or ``pcapng``.
        self.format = file_format
        self.size_bytes = data.size
        #: Bytes of the file that were looked through.
        self.done_bytes = 0
        #: IP packets given.
        self.packets = 0
        #: Frames passed over because they carry no IP.
        self.skipped_frames = 0
        self._data = data
        self._reader = reader

    @property
    def untimed_packets(self) -> int:
        """Packets whose block has no time: they took the one before them."""
        return self._reader.untimed

    def close(self) -> None:
        """Let go of the file; the mapping ends with the last chunk that refers to it."""
        self._data = np.empty(0, np.uint8)

    def find_packets(self, *, max_packets: int = 65_536) -> Iterator[Packets]:
        """Give where every IP packet lies, in the file's order.

        Raises:
            UnsupportedCaptureError: a frame is of a link type that Teiten does not read.
            DamagedCaptureError: the file breaks off; all packets before were given.
        """
        self.done_bytes = self.packets = self.skipped_frames = 0
        self._reader.untimed = 0
        for frames in self._reader.read_frames(max_frames=max_packets):
            self._check_links(frames)
            timely = _count_timely(frames)
            kept = frames.take(np.arange(timely))
            packets = find_packets(self._data, kept)
            self._count(kept, packets)
            if len(packets):
                yield packets
            if timely < len(frames):
                raise self._refuse_time(frames, timely)
        self.done_bytes = self.size_bytes

    def packet_chunks(self, max_packets: int = 65_536) -> Iterator[PacketChunk]:
        """Give every IP packet, in the file's order.

        Raises:
            UnsupportedCaptureError: a frame is of a link type that Teiten does not read.
            DamagedCaptureError: the file breaks off; all packets before were given.
        """
        for packets in self.find_packets(max_packets=max_packets):
            for part in split_by_memory(packets):
                yield self.read_packets(part)

    def read_packets(self, packets: Packets) -> PacketChunk:
        """Copy the bytes of packets of this file."""
        longest = int(packets.captured.max()) if len(packets) else 0
        width = max(_MIN_WIDTH, -(-longest // 8) * 8)
        places = np.zeros(len(packets), np.intp)
        return PacketChunk(
            raw=gather_windows(self._data.reshape(1, -1), places, packets.at, size=width),
            captured_length=packets.captured.astype(np.uint32),
            wire_length=packets.wire.astype(np.uint32),
            observed_at_us=packets.time_us,
            vlan=packets.vlan,
            stacked_vlan=packets.stacked_vlan,
        )

    def _check_links(self, frames: Frames) -> None:
        for link_type in np.unique(frames.link_type).tolist():
            if not is_supported(link_type):
                raise UnsupportedCaptureError(
                    f"{self.path}: link type {name_link_type(link_type)} is not one that Teiten reads: Ethernet, "
                    "raw IP, Linux cooked, BSD loopback"
                )

    def _refuse_time(self, frames: Frames, row: int) -> DamagedCaptureError:
        return DamagedCaptureError(
            self.path,
            f"a packet claims the time {int(frames.time_us[row])} µs, outside the years 1970 to 2255,",
            whole_packets=self.packets + self.skipped_frames,
            at_byte=int(frames.at[row]),
        )

    def _count(self, frames: Frames, packets: Packets) -> None:
        self.packets += len(packets)
        self.skipped_frames += len(frames) - len(packets)
        if len(frames):
            self.done_bytes = int(frames.at[-1] + frames.captured[-1])


def _count_timely(frames: Frames) -> int:
    """Give how many frames come before the first whose time cannot be."""
    wrong = np.flatnonzero((frames.time_us < 0) | (frames.time_us >= MAX_TIME_US))
    return int(wrong[0]) if wrong.size else len(frames)


def split_by_memory(packets: Packets) -> Iterator[Packets]:
    """Cut packets so that the matrix of each part stays within bounds."""
    start = 0
    while start < len(packets):
        widest = np.maximum.accumulate(packets.captured[start:])
        cells = widest * np.arange(1, widest.size + 1)
        count = max(1, int(np.searchsorted(cells, _CHUNK_BYTES, side="right")))
        yield packets.take(slice(start, start + count))
        start += count


def open_capture(path: Path | str) -> CaptureFile:
    """Open a pcap or pcapng file.

    Raises:
        CaptureFileError: the file cannot be opened.
        NotACaptureError: it is empty or something else.
        UnsupportedCaptureError: a pcap version or link type that Teiten does not read.
        DamagedCaptureError: it ends within its own header.
    """
    path = Path(path)
    data = _map_file(path)
    magic = data[:4].tobytes()
    if magic in KIND_OF_MAGIC:
        pcap = PcapReader(path, data)
        if not is_supported(pcap.link_type):
            name = name_link_type(pcap.link_type)
            raise UnsupportedCaptureError(
                f"{path}: link type {name} is not one that Teiten reads: Ethernet, raw IP, Linux cooked, BSD loopback"
            )
        return CaptureFile(path, data, pcap, file_format="pcap")
    if magic == SECTION_MAGIC:
        return CaptureFile(path, data, PcapngReader(path, data), file_format="pcapng")
    raise _refuse_format(path, data)


def _map_file(path: Path) -> Bytes:
    try:
        with path.open("rb") as file:
            if not path.is_file():
                raise NotACaptureError(f"{path}: is no regular file; save the capture to one first")
            if not path.stat().st_size:
                raise NotACaptureError(f"{path}: is empty, not a pcap or pcapng capture")
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise CaptureFileError(f"{path}: cannot be opened: {error.strerror or error}") from error
    return np.frombuffer(mapping, np.uint8)


def _refuse_format(path: Path, data: Bytes) -> NotACaptureError:
    head = data[:8].tobytes()
    for magic, advice in _OTHER_FORMATS:
        if head.startswith(magic):
            return NotACaptureError(f"{path}: is {advice}")
    return NotACaptureError(
        f"{path}: is no pcap or pcapng capture: it begins with the bytes {head[:4].hex(' ')}"
    )
