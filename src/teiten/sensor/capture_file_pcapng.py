"""The pcapng format: sections of either byte order, several interfaces, each its own clock.

Read are section header, interface description, enhanced, simple and obsolete packet
blocks; all other blocks are passed over. Source: draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
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
_MAX_TICKS = (1 << 64) - 1
#: Beyond any time that a capture can have, and two of them fit into 64 bits.
_FAR_US = 1 << 62


class _DamageError(Exception):
    """What is wrong, and at the block of which byte."""

    def __init__(self, reason: str, at_byte: int, *, packet: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.at_byte = at_byte
        #: Number of the wrong packet among those found since the last were given out.
        self.packet = packet


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
        """Turn ticks into µs since 1970-01-01 UTC; what no file can mean ends far outside."""
        if self.base == 2:
            microseconds = _scale_binary(ticks, self.exponent)
        else:
            microseconds = _scale_decimal(ticks, self.exponent)
        offset_us = max(-_FAR_US, min(_FAR_US, self.offset_seconds * 1_000_000))
        return np.minimum(microseconds, np.uint64(_FAR_US)).astype(np.int64) + offset_us


def _scale_decimal(ticks: NDArray[np.uint64], exponent: int) -> NDArray[np.uint64]:
    """Turn ticks of 10**-exponent seconds into µs."""
    if exponent <= 6:
        factor = 10 ** (6 - exponent)
        bounded: NDArray[np.uint64] = np.minimum(ticks, np.uint64(_FAR_US // factor))
        return bounded * np.uint64(factor)
    divisor = 10 ** (exponent - 6)
    return ticks // np.uint64(divisor) if divisor <= _MAX_TICKS else np.zeros_like(ticks)


def _scale_binary(ticks: NDArray[np.uint64], exponent: int) -> NDArray[np.uint64]:
    """Turn ticks of 2**-exponent seconds into µs, without overflow in between."""
    if exponent > 63:
        return np.zeros_like(ticks)
    seconds = ticks >> np.uint64(exponent)
    rest = ticks & np.uint64((1 << exponent) - 1)
    if exponent > 40:
        rest, exponent = rest >> np.uint64(exponent - 40), 40
    bounded: NDArray[np.uint64] = np.minimum(seconds, np.uint64(_FAR_US // 1_000_000))
    return bounded * np.uint64(1_000_000) + ((rest * np.uint64(1_000_000)) >> np.uint64(exponent))


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


@dataclass(frozen=True)
class _Packets:
    """Packet blocks as they are written; 0 where a block has no such field."""

    at: NDArray[np.int64]
    kind: NDArray[np.uint32]
    #: Bytes between the fields and the trailing length; negative in a block too short.
    room: NDArray[np.int64]
    interface: NDArray[np.int64]
    ticks: NDArray[np.uint64]
    captured: NDArray[np.int64]
    wire: NDArray[np.int64]

    def take(self, rows: NDArray[np.intp]) -> _Packets:
        return _Packets(*(getattr(self, column.name)[rows] for column in fields(self)))


def _find_damage(packets: _Packets, section: _Section) -> _DamageError | None:
    """Find the first packet block that contradicts itself."""
    has_interface = packets.interface < len(section.interfaces)
    fits = packets.captured <= np.minimum(packets.room, MAX_FRAME_BYTES)
    bad = np.flatnonzero(~(has_interface & fits & (packets.room >= 0)))
    if not bad.size:
        return None
    row = int(bad[0])
    room, captured = int(packets.room[row]), int(packets.captured[row])
    if room < 0:
        reason = "a packet block too short for its fields"
    elif not fits[row]:
        reason = f"a packet claims {captured} bytes in a block with room for {room},"
    else:
        reason = f"a packet of interface {int(packets.interface[row])}, which its section does not describe,"
    return _DamageError(reason, int(packets.at[row]), packet=row)


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
            packets = self._read_packets(section)
            # A wrong packet block stands before whatever stopped the walk.
            found = _find_damage(packets, section)
            if found is not None:
                packets, problem = packets.take(np.arange(found.packet)), found
            whole += packets.at.size
            if packets.at.size:
                yield self._to_frames(packets, section)
            section.clear()
            if self._is_section(at):
                section = _Section(section.order)
        if problem is not None:
            raise DamagedCaptureError(
                self._path, problem.reason, whole_packets=whole, at_byte=problem.at_byte
            )

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

    def _read_packets(self, section: _Section) -> _Packets:
        at, kind = np.array(section.starts, np.int64), np.array(section.kinds, np.uint32)
        heads = np.where(kind == SIMPLE_PACKET, 16, 32)
        room = np.array(section.lengths, np.int64) - heads
        count = at.size
        packets = _Packets(
            at=at,
            kind=kind,
            room=room,
            interface=np.zeros(count, np.int64),
            ticks=np.zeros(count, np.uint64),
            captured=np.zeros(count, np.int64),
            wire=np.zeros(count, np.int64),
        )
        full = np.flatnonzero((kind != SIMPLE_PACKET) & (room >= 0))
        self._read_full(packets, full, section.order)
        simple = np.flatnonzero((kind == SIMPLE_PACKET) & (room >= 0))
        if simple.size:
            self._read_simple(packets, simple, section)
        return packets

    def _read_full(self, packets: _Packets, rows: NDArray[np.intp], order: str) -> None:
        words = read_words(self._data, packets.at[rows] + 8, count=5, order=order)
        # The obsolete block has two 16-bit fields here: interface and drops.
        old_number = words[:, 0] >> np.uint32(16) if order == ">" else words[:, 0] & np.uint32(0xFFFF)
        packets.interface[rows] = np.where(packets.kind[rows] == OLD_PACKET, old_number, words[:, 0])
        packets.ticks[rows] = (words[:, 1].astype(np.uint64) << np.uint64(32)) | words[:, 2]
        packets.captured[rows] = words[:, 3]
        packets.wire[rows] = words[:, 4]

    def _read_simple(self, packets: _Packets, rows: NDArray[np.intp], section: _Section) -> None:
        """Read blocks that say only how long the packet was on the wire."""
        wire = read_words(self._data, packets.at[rows] + 8, count=1, order=section.order)[:, 0]
        limit = section.interfaces[0].snap_bytes if section.interfaces else 0
        packets.wire[rows] = wire
        packets.captured[rows] = np.minimum(np.minimum(wire, packets.room[rows]), limit or MAX_FRAME_BYTES)

    def _to_frames(self, packets: _Packets, section: _Section) -> Frames:
        time_us = np.zeros(packets.at.size, np.int64)
        link_type = np.zeros(packets.at.size, np.int32)
        for number in np.unique(packets.interface).tolist():
            chosen = packets.interface == number
            interface = section.interfaces[number]
            time_us[chosen] = interface.to_us(packets.ticks[chosen])
            link_type[chosen] = interface.link_type
        is_simple = packets.kind == SIMPLE_PACKET
        return Frames(
            at=packets.at + np.where(is_simple, 12, 28),
            captured=packets.captured,
            wire=packets.wire,
            time_us=self._fill_times(time_us, is_simple),
            link_type=link_type,
        )

    def _fill_times(self, time_us: NDArray[np.int64], is_simple: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Give packets without a time the one before them in the file."""
        count = int(is_simple.sum())
        if count:
            self.untimed += count
            places = np.where(is_simple, -1, np.arange(is_simple.size))
            latest = np.maximum.accumulate(places)
            time_us = np.where(latest < 0, self._last_us, time_us[latest])
        self._last_us = int(time_us[-1])
        return time_us
