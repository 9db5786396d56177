"""The packets of several capture files on one line of time.

Files are looked through once before anything is sent: what cannot be read is known
then, and so is the order. Files that are in order themselves, one after the other, are
read as they lie. Otherwise the places of all packets (about 35 bytes each, not their
bytes) are held in memory and sorted; packets of one time keep their order in the files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from teiten.sensor.capture_file_errors import DamagedCaptureError
from teiten.sensor.capture_file_links import Packets
from teiten.sensor.capture_files import CaptureFile, PacketChunk, split_by_memory

_CHUNK_PACKETS = 65_536


@dataclass(frozen=True)
class Survey:
    """What the first look through one file found."""

    packets: int
    skipped_frames: int
    untimed_packets: int
    #: Times of the earliest and latest packet, µs; 0 when there is none.
    first_us: int
    last_us: int
    #: No packet is earlier than the one before it.
    is_sorted: bool
    #: Where and how the file breaks off; empty when it is whole.
    damage: str


@dataclass(frozen=True)
class Entries:
    """Packets on the line of time, and which file each is in."""

    packets: Packets
    #: Numbers of files.
    files: NDArray[np.int32]

    def __len__(self) -> int:
        return self.files.size

    def take(self, rows: NDArray[np.intp] | slice) -> Entries:
        return Entries(self.packets.take(rows), self.files[rows])


def survey_file(capture: CaptureFile, on_progress: Callable[[int], None]) -> Survey:
    """Look through a file without keeping anything.

    Args:
        capture: the file.
        on_progress: called with the bytes looked through.

    Raises:
        UnsupportedCaptureError: it holds frames that Teiten does not read.
    """
    first, last, latest, is_sorted, damage = -1, 0, 0, True, ""
    try:
        for packets in capture.find_packets():
            times = packets.time_us
            is_sorted &= bool(times[0] >= latest and (np.diff(times) >= 0).all())
            latest = int(times[-1])
            lowest, last = int(times.min()), max(last, int(times.max()))
            first = lowest if first < 0 else min(first, lowest)
            on_progress(capture.done_bytes)
    except DamagedCaptureError as error:
        damage = str(error)
    on_progress(capture.size_bytes)
    return Survey(
        packets=capture.packets,
        skipped_frames=capture.skipped_frames,
        untimed_packets=capture.untimed_packets,
        first_us=max(first, 0),
        last_us=last,
        is_sorted=is_sorted,
        damage=damage,
    )


def list_in_order(captures: Sequence[CaptureFile], surveys: Sequence[Survey]) -> Iterator[Entries]:
    """Give all packets in the order of their times."""
    filled = [number for number, survey in enumerate(surveys) if survey.packets]
    filled.sort(key=lambda number: surveys[number].first_us)
    if _is_one_line([surveys[number] for number in filled]):
        for number in filled:
            yield from _list_file(captures[number], number)
        return
    parts = [part for number in filled for part in _list_file(captures[number], number)]
    merged = join_entries(parts)
    order = np.argsort(merged.packets.time_us, kind="stable")
    for start in range(0, order.size, _CHUNK_PACKETS):
        yield merged.take(order[start : start + _CHUNK_PACKETS])


def _is_one_line(surveys: Sequence[Survey]) -> bool:
    follows = all(before.last_us <= after.first_us for before, after in pairwise(surveys))
    return follows and all(survey.is_sorted for survey in surveys)


def _list_file(capture: CaptureFile, number: int) -> Iterator[Entries]:
    try:
        for packets in capture.find_packets():
            yield Entries(packets, np.full(len(packets), number, np.int32))
    except DamagedCaptureError:
        # The survey told of it already; the packets before are all there is.
        return


def join_entries(parts: Sequence[Entries]) -> Entries:
    """Lay entries end to end; at least one."""
    packets = Packets(
        *(np.concatenate([getattr(part.packets, field.name) for part in parts]) for field in fields(Packets))
    )
    return Entries(packets, np.concatenate([part.files for part in parts]))


def read_entries(captures: Sequence[CaptureFile], entries: Entries) -> Iterator[PacketChunk]:
    """Copy the bytes of entries, in their order, some at a time where they are wide."""
    start = 0
    for packets in split_by_memory(entries.packets):
        files = entries.files[start : start + len(packets)]
        start += len(packets)
        yield _read_mixed(captures, packets, files)


def _read_mixed(captures: Sequence[CaptureFile], packets: Packets, files: NDArray[np.int32]) -> PacketChunk:
    numbers: list[int] = np.unique(files).tolist()
    if len(numbers) == 1:
        return captures[numbers[0]].read_packets(packets)
    rows = [np.flatnonzero(files == number) for number in numbers]
    chunks = [
        captures[number].read_packets(packets.take(chosen))
        for number, chosen in zip(numbers, rows, strict=True)
    ]
    raw = np.zeros((len(packets), max(chunk.raw.shape[1] for chunk in chunks)), np.uint8)
    for chunk, chosen in zip(chunks, rows, strict=True):
        raw[chosen, : chunk.raw.shape[1]] = chunk.raw
    return PacketChunk(
        raw=raw,
        captured_length=packets.captured.astype(np.uint32),
        wire_length=packets.wire.astype(np.uint32),
        observed_at_us=packets.time_us,
        vlan=packets.vlan,
        stacked_vlan=packets.stacked_vlan,
    )
