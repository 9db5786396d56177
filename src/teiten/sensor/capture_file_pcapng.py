"""The pcapng format: sections of either byte order, several interfaces, each its own clock.

Read are section header, interface description, enhanced, simple and obsolete packet
blocks; all other blocks are passed over. Source: draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from teiten.sensor.capture_file_errors import DamagedCaptureError
from teiten.sensor.capture_file_records import MAX_FRAME_BYTES, Frames, read_words

SECTION, INTERFACE, OLD_PACKET, SIMPLE_PACKET, ENHANCED_PACKET = 0x0A0D0D0A, 1, 2, 3, 6
SECTION_MAGIC = struct.pack("<I", SECTION)
_ORDER_OF_MAGIC = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_IF_TSRESOL, _IF_TSOFFSET = 9, 14
_PACKETS = frozenset((ENHANCED_PACKET, SIMPLE_PACKET, OLD_PACKET))
#: Bytes of a block before its packet data; the trailing length takes 4 more.
_PACKET_HEAD = {ENHANCED_PACKET: 28, OLD_PACKET: 28, SIMPLE_PACKET: 12}
_MAX_TICKS = (1 << 64) - 1


class _DamageError(Exception):
    """What is wrong, and at the block of which byte."""

    def __init__(self, reason: str, at_byte: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.at_byte = at_byte


@dataclass(frozen=True)
class Interface:
    """One interface description."""

    link_type: int
    #: 0 for no limit.
    snap_bytes: int
    #: Ticks of a second are 10 or 2 to the power of ``-exponent``.
    base: int = 10
    exponent: int = 6
    #: Seconds to add to every time.
    offset_seconds: int = 0

    def to_us(self, ticks: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Turn ticks into µs since 1970-01-01 UTC."""
        if self.base == 2:
            microseconds = _scale_binary(ticks, self.exponent)
        elif self.exponent <= 6:
            microseconds = ticks * np.uint64(10 ** (6 - self.exponent))
        else:
            divisor = min(10 ** (self.exponent - 6), _MAX_TICKS)
            microseconds = ticks // np.uint64(divisor)
        return microseconds.astype(np.int64) + self.offset_seconds * 1_000_000


def _scale_binary(ticks: NDArray[np.uint64], exponent: int) -> NDArray[np.uint64]:
    """Turn ticks of 2**-exponent seconds into µs, without overflow in between."""
    if exponent > 63:
        return np.zeros_like(ticks)
    seconds = ticks >> np.uint64(exponent)
    rest = ticks & np.uint64((1 << exponent) - 1)
    if exponent > 40:
        rest, exponent = rest >> np.uint64(exponent - 40), 40
    return seconds * np.uint64(1_000_000) + ((rest * np.uint64(1_000_000)) >> np.uint64(exponent))


@dataclass
class _Section:
    """The section being read, and its packets that were not given out yet."""

    order: str
    interfaces: list[Interface] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)

    def clear(self) -> None:
        """Forget the packets that were given out."""
        self.starts, self.kinds, self.lengths = [], [], []

    def cut(self, count: int) -> None:
        """Keep the first ``count`` packets."""
        self.starts, self.kinds, self.lengths = (
            part[:count] for part in (self.starts, self.kinds, self.lengths)
        )


class PcapngReader:
    """The frames of one pcapng file."""

    def __init__(self, path: Path, data: NDArray[np.uint8]) -> None:
        self._path = path
        self._data = data
        self._bytes = data.data
        self._last_us = 0
        self.untimed = 0

    def read_frames(self, *, max_frames: int) -> Iterator[Frames]:
        at, whole = 0, 0
        problem: _DamageError | None = None
        section = _Section("<")
        while at < self._data.size and problem is None:
            try:
                at = self._walk(at, section, max_frames)
            except _DamageError as error:
                problem = error
            # A packet block that is wrong stands before whatever stopped the walk.
            problem = self._drop_bad_packets(section) or problem
            whole += len(section.starts)
            if section.starts:
                yield self._read_packets(section)
            section.clear()
            if self._is_section(at):
                section = _Section(section.order)
        if problem is not None:
            raise DamagedCaptureError(self._path, problem.reason, whole_packets=whole, at_byte=problem.at_byte)

    def _is_section(self, at: int) -> bool:
        return self._data[at : at + 4].tobytes() == SECTION_MAGIC

    def _walk(self, at: int, section: _Section, max_frames: int) -> int:
        """Read blocks until enough packets are found or the next section begins.

        Returns:
            Where the walk stopped.

        Raises:
            _DamageError: with the problem and its place.
        """
        if self._is_section(at):
            at += self._open_section(at, section)
        read_head = struct.Struct(f"{section.order}II").unpack_from
        size = self._data.size
        while at < size and len(section.starts) < max_frames:
            if at + 12 > size:
                raise _DamageError("the file ends within a block header", at)
            kind, length = read_head(self._bytes, at)
            if kind == SECTION:
                return at
            self._check_length(at, length)
            if kind in _PACKETS:
                section.starts.append(at)
                section.kinds.append(kind)
                section.lengths.append(length)
            elif kind == INTERFACE:
                section.interfaces.append(self._read_interface(at, length, section.order))
            at += length
        return at

    def _check_length(self, at: int, length: int) -> None:
        if length < 12 or length % 4:
            raise _DamageError(f"a block claims {length} bytes, which no block can have,", at)
        if at + length > self._data.size:
            raise _DamageError("the file ends within a block", at)

    def _open_section(self, at: int, section: _Section) -> int:
        """Read a section header into ``section``; return its length."""
        order = _ORDER_OF_MAGIC.get(self._data[at + 8 : at + 12].tobytes())
        if order is None:
            raise _DamageError("a section header without a byte-order mark", at)
        section.order = order
        if at + 28 > self._data.size:
            raise _DamageError("the file ends within a section header", at)
        length, _, major = struct.unpack_from(f"{order}IIH", self._bytes, at + 4)
        self._check_length(at, length)
        if major != 1:
            raise _DamageError(f"a section of pcapng version {major}, only 1 is known,", at)
        return int(length)

    def _drop_bad_packets(self, section: _Section) -> _DamageError | None:
        """Find the first packet block that contradicts itself; keep those before it."""
        lengths = np.array(section.lengths, np.int64)
        heads = np.array([_PACKET_HEAD[kind] for kind in section.kinds], np.int64)
        room = lengths - heads - 4
        short = np.flatnonzero(room < 0)
        if short.size:
            # Nothing behind a block without its fields can be asked about.
            section.cut(int(short[0]) + 1)
        for row, kind in enumerate(section.kinds if short.size else ()):
            del row, kind
        return None

    def _read_interface(self, at: int, length: int, order: str) -> Interface:
        if length < 20:
            raise _DamageError(f"an interface description of {length} bytes, too short for its fields,", at)
        link_type, snap_bytes = struct.unpack_from(f"{order}H2xI", self._bytes, at + 8)
        options = self._read_options(at + 16, at + length - 4, order)
        resolution = options.get(_IF_TSRESOL, b"\x06")[0]
        offset = options.get(_IF_TSOFFSET, bytes(8))
        if len(offset) != 8:
            raise _DamageError(f"an if_tsoffset of {len(offset)} bytes instead of 8", at)
        return Interface(
            link_type=link_type,
            snap_bytes=snap_bytes,
            base=2 if resolution & 0x80 else 10,
            exponent=resolution & 0x7F,
            offset_seconds=struct.unpack(f"{order}q", offset)[0],
        )

    def _read_options(self, at: int, end: int, order: str) -> dict[int, bytes]:
        """Read an option list, first value of each code; what passes ``end`` is left out."""
        options: dict[int, bytes] = {}
        while at + 4 <= end:
            code, length = struct.unpack_from(f"{order}HH", self._bytes, at)
            if code == 0 or at + 4 + length > end:
                break
            if length:
                options.setdefault(code, self._data[at + 4 : at + 4 + length].tobytes())
            at += 4 + (length + 3) // 4 * 4
        return options

    def _read_packets(self, section: _Section) -> Frames:
        starts = np.array(section.starts, np.int64)
        kinds = np.array(section.kinds, np.uint32)
        frames = _Columns(starts.size)
        for kind in np.unique(kinds).tolist():
            rows = np.flatnonzero(kinds == kind)
            if kind == SIMPLE_PACKET:
                self._read_simple(section, starts[rows], frames, rows=rows)
            else:
                self._read_full(section, starts[rows], frames, rows=rows, is_old=kind == OLD_PACKET)
        self._fill_times(frames, kinds == SIMPLE_PACKET)
        return Frames(frames.at, frames.captured, frames.wire, frames.time_us, frames.link_type)

    def _read_full(
        self,
        section: _Section,
        starts: NDArray[np.int64],
        frames: _Columns,
        *,
        rows: NDArray[np.intp],
        is_old: bool,
    ) -> None:
        words = read_words(self._data, starts + 8, count=5, order=section.order)
        numbers = words[:, 0]
        if is_old:  # two 16-bit fields: interface, drops
            numbers = numbers >> np.uint32(16) if section.order == ">" else numbers & np.uint32(0xFFFF)
        ticks = (words[:, 1].astype(np.uint64) << np.uint64(32)) | words[:, 2].astype(np.uint64)
        frames.at[rows] = starts + 28
        frames.captured[rows] = words[:, 3]
        frames.wire[rows] = words[:, 4]
        for number in np.unique(numbers).tolist():
            chosen = numbers == number
            interface = section.interfaces[number]
            frames.time_us[rows[chosen]] = interface.to_us(ticks[chosen])
            frames.link_type[rows[chosen]] = interface.link_type

    def _read_simple(
        self, section: _Section, starts: NDArray[np.int64], frames: _Columns, *, rows: NDArray[np.intp]
    ) -> None:
        words = read_words(self._data, starts + 4, count=2, order=section.order).astype(np.int64)
        interface = section.interfaces[0]
        limit = interface.snap_bytes or MAX_FRAME_BYTES
        frames.at[rows] = starts + 12
        frames.captured[rows] = np.minimum(np.minimum(words[:, 1], words[:, 0] - 16), limit)
        frames.wire[rows] = words[:, 1]
        frames.link_type[rows] = interface.link_type

    def _fill_times(self, frames: _Columns, is_simple: NDArray[np.bool_]) -> None:
        """Give packets without a time the one before them in the file."""
        count = int(is_simple.sum())
        if count:
            self.untimed += count
            places = np.where(is_simple, -1, np.arange(is_simple.size))
            latest = np.maximum.accumulate(places)
            frames.time_us[:] = np.where(latest < 0, self._last_us, frames.time_us[latest])
        self._last_us = int(frames.time_us[-1])


class _Columns:
    """The arrays of Frames while they are being filled."""

    def __init__(self, count: int) -> None:
        self.at = np.zeros(count, np.int64)
        self.captured = np.zeros(count, np.int64)
        self.wire = np.zeros(count, np.int64)
        self.time_us = np.zeros(count, np.int64)
        self.link_type = np.zeros(count, np.int32)
