"""Capture files as batches of a named import, with the times of their packets.

The same parser, columns and batches as live capture; only the source differs.

* Nothing is handed over before all files were looked through: a file that is no
  capture, or of a kind that Teiten does not read, stops the replay with nothing sent. A
  file that breaks off gives its whole packets, and the report says where it broke.
* Rows are in the order of their times, whatever the order in the files.
* Windows touch each other, hold all times of their batch and stay within one UTC day. A
  silence of more than a day counts as not watched: the next window states the gap.
  More packets in one microsecond than a batch holds make windows that share it.
* What the capture watched is what the caller declares; without that, the coverage of
  the import is unknown, not empty.
* Payload examples are chosen as in live capture, from what the files hold of a packet.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from teiten.protocol.header import Watched
from teiten.sensor import column_sets
from teiten.sensor.capture_file_order import (
    Entries,
    Survey,
    join_entries,
    list_in_order,
    read_entries,
    survey_file,
)
from teiten.sensor.capture_files import CaptureFile, PacketChunk, open_capture
from teiten.sensor.column_sets import WireColumns
from teiten.sensor.errors import ReplayError
from teiten.sensor.examples import ExampleChooser, attach_examples
from teiten.sensor.sealing import BatchDraft
from teiten.sensor.staging import RawPackets
from teiten.traffic.parse import parse_packets

DAY_US = 86_400_000_000
#: A batch holds at most so many rows, and fewer where their payloads could make it too
#: large to upload.
MAX_ROWS = 65_536
_MAX_BODY_BYTES = 7 << 20
#: What one row of a batch takes at most after compression, besides its payload.
_ROW_BYTES = 48

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


@dataclass(frozen=True)
class WindowDraft:
    """What a batch of an import says about itself, before it has a number."""

    #: ``import:NAME``.
    dataset: str
    #: ``[start, end)``, µs since 1970-01-01 UTC.
    window_start_us: int
    window_end_us: int
    watched: tuple[Watched, ...]
    #: µs of silence before the window that count as not watched.
    gap_us: int
    payload_bytes: int

    def to_batch_draft(self, boot_id: str) -> BatchDraft:
        """Give the draft that sealing takes."""
        return BatchDraft(
            window_start_us=self.window_start_us,
            window_end_us=self.window_end_us,
            boot_id=boot_id,
            watched=self.watched,
            dataset=self.dataset,
            gap_us=self.gap_us,
            payload_bytes=self.payload_bytes,
        )


@dataclass(frozen=True)
class ReplayReport:
    """What was replayed."""

    dataset: str
    packets: int
    batches: int
    #: Frames passed over because they carry no IP.
    skipped_frames: int
    #: Packets whose file gives them no time; they took the one before them.
    untimed_packets: int
    #: Times of the earliest and latest packet, µs; None without packets.
    first_us: int | None
    last_us: int | None
    #: One line per file that breaks off: its whole packets were replayed.
    problems: tuple[str, ...]


MakeBatch = Callable[[WindowDraft, WireColumns], None]
#: Called with bytes gone through, bytes to go through in all (each file twice: to check,
#: then to send), and packets handed over.
Progress = Callable[[int, int, int], None]


def replay_files(
    paths: Sequence[Path],
    *,
    dataset_name: str,
    make_batch: MakeBatch,
    observed: Sequence[Watched] = (),
    payload_bytes: int = 64,
    examples_per_window: int = 8,
    progress: Progress = lambda done_bytes, total_bytes, packets: None,  # noqa: ARG005 - a silent default
) -> ReplayReport:
    """Turn capture files into batches of the data set ``import:dataset_name``.

    Args:
        paths: pcap and pcapng files, in any order.
        dataset_name: ``[a-z0-9][a-z0-9-]{0,39}``; whether it was used before is the caller's matter.
        make_batch: takes each finished batch, in the order of time: seals and spools it.
        observed: what the captures watched; empty when that is unknown.
        payload_bytes: bytes of payload to keep per packet, 0..128.
        examples_per_window: payload examples of a batch, 0..64; none without payload.
        progress: told how far the work is.

    Raises:
        ReplayError: the name breaks its rule, or a file was given twice.
        CaptureFileError: a file cannot be read; nothing was handed over.
    """
    _check_request(paths, dataset_name)
    captures = [open_capture(path) for path in paths]
    total_bytes = 2 * sum(capture.size_bytes for capture in captures)
    surveys = _survey_files(captures, lambda done: progress(done, total_bytes, 0))
    chooser = ExampleChooser(per_window=examples_per_window if payload_bytes else 0, whole_only=False)
    replay = _Replay(
        f"import:{dataset_name}", tuple(observed), payload_bytes, captures=captures, chooser=chooser
    )
    packets = batches = 0
    for window, entries in replay.plan(list_in_order(captures, surveys)):
        make_batch(window, replay.read_columns(entries))
        packets, batches = packets + len(entries), batches + 1
        done_bytes = total_bytes // 2 + sum(capture.done_bytes for capture in captures)
        progress(min(done_bytes, total_bytes), total_bytes, packets)
    progress(total_bytes, total_bytes, packets)
    return _report(replay.dataset, surveys, batches=batches)


def _check_request(paths: Sequence[Path], dataset_name: str) -> None:
    if not _NAME.fullmatch(dataset_name):
        raise ReplayError(
            f"import name {dataset_name!r}: use 1 to 40 of a-z, 0-9 and -, and begin with a letter or digit"
        )
    if not paths:
        raise ReplayError("no capture file was given")
    seen: set[Path] = set()
    for path in paths:
        real = path.resolve()
        if real in seen:
            raise ReplayError(f"{path}: was given twice; its packets would count twice")
        seen.add(real)


def _survey_files(captures: Sequence[CaptureFile], on_progress: Callable[[int], None]) -> list[Survey]:
    surveys: list[Survey] = []
    before = 0
    for capture in captures:
        surveys.append(survey_file(capture, partial(_add_before, on_progress, before)))
        before += capture.size_bytes
    for capture in captures:
        capture.done_bytes = 0
    return surveys


def _add_before(on_progress: Callable[[int], None], before: int, done_bytes: int) -> None:
    on_progress(before + done_bytes)


def _report(dataset: str, surveys: Sequence[Survey], *, batches: int) -> ReplayReport:
    filled = [survey for survey in surveys if survey.packets]
    return ReplayReport(
        dataset=dataset,
        packets=sum(survey.packets for survey in surveys),
        batches=batches,
        skipped_frames=sum(survey.skipped_frames for survey in surveys),
        untimed_packets=sum(survey.untimed_packets for survey in surveys),
        first_us=min((survey.first_us for survey in filled), default=None),
        last_us=max((survey.last_us for survey in filled), default=None),
        problems=tuple(survey.damage for survey in surveys if survey.damage),
    )


class _Replay:
    """Windows and columns of one import."""

    def __init__(
        self,
        dataset: str,
        watched: tuple[Watched, ...],
        payload_bytes: int,
        *,
        captures: Sequence[CaptureFile],
        chooser: ExampleChooser,
    ) -> None:
        self.dataset = dataset
        self._watched = watched
        self._payload_bytes = payload_bytes
        self._captures = captures
        self._chooser = chooser
        self._max_rows = min(MAX_ROWS, _MAX_BODY_BYTES // (_ROW_BYTES + payload_bytes))

    def plan(self, line: Iterator[Entries]) -> Iterator[tuple[WindowDraft, Entries]]:
        """Give each batch its window, which ends where the next one begins."""
        previous: Entries | None = None
        start_us, gap_us = -1, 0
        for entries in chain(cut_batches(line, max_rows=self._max_rows), (None,)):
            if previous is not None:
                first_us, last_us = _span(previous)
                next_us = _span(entries)[0] if entries is not None else None
                end_us, next_start_us = close_window(last_us, next_us)
                yield self._draft(first_us if start_us < 0 else start_us, end_us, gap_us), previous
                start_us, gap_us = next_start_us, max(next_start_us - end_us, 0)
            previous = entries

    def read_columns(self, entries: Entries) -> WireColumns:
        """Parse the packets of one window; examples lie beside the columns."""
        self._chooser.begin_window(0)
        self._chooser.begin_day(_span(entries)[0])
        return column_sets.join([self._parse(chunk) for chunk in read_entries(self._captures, entries)])

    def _draft(self, start_us: int, end_us: int, gap_us: int) -> WindowDraft:
        return WindowDraft(self.dataset, start_us, end_us, self._watched, gap_us, self._payload_bytes)

    def _parse(self, chunk: PacketChunk) -> WireColumns:
        columns = parse_packets(
            chunk.raw,
            chunk.captured_length,
            wire_length=chunk.wire_length,
            observed_at_us=chunk.observed_at_us,
            vlan=chunk.vlan,
            payload_bytes=self._payload_bytes,
            stacked_vlan=chunk.stacked_vlan,
        )
        # Fields in the order of RawPackets, which is that of PacketChunk.
        packets = RawPackets(
            chunk.raw,
            chunk.captured_length,
            chunk.wire_length,
            chunk.observed_at_us,
            chunk.vlan,
            chunk.stacked_vlan,
        )
        return attach_examples(columns, self._chooser.choose(columns, packets))


def _span(entries: Entries) -> tuple[int, int]:
    return int(entries.packets.time_us[0]), int(entries.packets.time_us[-1])


def close_window(last_us: int, next_us: int | None) -> tuple[int, int]:
    """Give where a window ends and where the next begins.

    Args:
        last_us: time of the window's last packet.
        next_us: time of the next packet, not before ``last_us``; None when there is none.
    """
    if next_us is None:
        return last_us + 1, last_us + 1
    if next_us - last_us > DAY_US:
        return last_us + 1, next_us
    midnight_us = (last_us // DAY_US + 1) * DAY_US
    border_us = min(next_us, midnight_us)
    return max(border_us, last_us + 1), border_us


def cut_batches(line: Iterator[Entries], *, max_rows: int) -> Iterator[Entries]:
    """Cut a line of time into batches: of one UTC day, and between two times where possible."""
    pending: Entries | None = None
    for entries in line:
        pending = entries if pending is None else join_entries([pending, entries])
        # Only what follows tells whether a full batch may be cut at its end.
        while len(pending) > max_rows:
            count = _choose_cut(pending, max_rows)
            yield pending.take(slice(0, count))
            pending = pending.take(slice(count, None))
    while pending is not None and len(pending):
        count = _choose_cut(pending, max_rows)
        yield pending.take(slice(0, count))
        pending = pending.take(slice(count, None))


def _choose_cut(entries: Entries, max_rows: int) -> int:
    times = entries.packets.time_us
    next_day_us = (int(times[0]) // DAY_US + 1) * DAY_US
    count = min(int(np.searchsorted(times, next_day_us)), max_rows)
    if count == len(entries):
        return count
    between = int(np.searchsorted(times, times[count]))
    return between or count
