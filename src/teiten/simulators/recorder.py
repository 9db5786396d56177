"""What a simulated sensor records: windows cut from its traffic, with everything a header states."""

from __future__ import annotations

import dataclasses
import itertools
import json
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import teiten
from teiten.protocol.header import LostBatch, Watched
from teiten.sensor import column_sets
from teiten.sensor.column_sets import WireColumns
from teiten.sensor.examples import ExampleChooser, attach_examples
from teiten.sensor.sealing import BatchDraft
from teiten.sensor.staging import RawPackets
from teiten.simulators.behaviours import BEHAVIOURS, cut_spans, overlap_us, subtract_spans
from teiten.simulators.config import SensorPlan
from teiten.simulators.errors import WorkOrderError
from teiten.simulators.telescope import Outlook, Telescope, Traffic

#: Marks the program as a simulator wherever a version is shown.
SOFTWARE = f"{teiten.__version__}+simulated"
DATASET = "simulated"
#: Today's and the day that is made up for; of hours only the present one, for there may be thousands of sensors.
_KEPT_DAYS, _KEPT_HOURS = 2, 1
#: Payload examples of a sensor's day; all from the day's first unit, so that each unit can be made alone.
_EXAMPLES = 16
_DAY_US = 86_400_000_000
#: A clock that keeps time is still some milliseconds off.
_JITTER_US = 12_000


@dataclass(frozen=True)
class PlannedWindow:
    """One window that is sent, or lost on purpose; true time, µs."""

    start_us: int
    end_us: int
    is_lost: bool = False


class Recorder:
    """Plans and fills the windows of one sensor; used by one thread at a time."""

    def __init__(
        self, plan: SensorPlan, telescope: Telescope, *, anchor_us: int, payload_bytes: int, boot_id: str
    ) -> None:
        if plan.behaviour not in BEHAVIOURS:
            raise WorkOrderError(
                f"sensor {plan.name}: behaviour {plan.behaviour!r} is unknown; known: {', '.join(BEHAVIOURS)}"
            )
        self._behaviour = BEHAVIOURS[plan.behaviour]
        self._outlook = Outlook(plan.name, plan.prefixes, answers=plan.mode == "answering")
        self._watched = tuple(Watched(prefix, plan.mode) for prefix in plan.prefixes)
        self._telescope = telescope
        self._anchor_us = anchor_us
        self._payload_bytes = payload_bytes
        self._boot_id = boot_id
        self._kept_units = _KEPT_DAYS if telescope.config.unit_hours == 24 else _KEPT_HOURS
        self._units: OrderedDict[int, WireColumns] = OrderedDict()
        self._lock = threading.Lock()

    def plan_windows(self, start_us: int, end_us: int, longest_us: int) -> Iterator[PlannedWindow]:
        """Cut ``[start_us, end_us)`` at every multiple of ``longest_us`` and at planned troubles; silence is left out."""
        silent = self._spans(self._behaviour.silent_hours, start_us, end_us)
        lost = self._spans(self._behaviour.lost_hours, start_us, end_us)
        edges = sorted({edge for span in lost for edge in span})
        for low, high in subtract_spans((start_us, end_us), silent):
            marks = [*range(low - low % longest_us + longest_us, high, longest_us), *edges]
            cuts = [low, *sorted({mark for mark in marks if low < mark < high}), high]
            for begin, end in itertools.pairwise(cuts):
                yield PlannedWindow(begin, end, is_lost=overlap_us(lost, begin, end) > 0)

    def is_silent(self, at_us: int) -> bool:
        return bool(self._spans(self._behaviour.silent_hours, at_us, at_us + 1))

    @property
    def clock_ahead_us(self) -> int:
        return self._behaviour.clock_ahead_us

    def draft(self, window: PlannedWindow) -> BatchDraft:
        """Say what the header says; times are those of the sensor's own clock."""
        ahead = self._behaviour.clock_ahead_us
        return BatchDraft(
            window_start_us=window.start_us + ahead,
            window_end_us=window.end_us + ahead,
            boot_id=self._boot_id,
            watched=self._watched,
            dataset=DATASET,
            kernel_drops=self._count_drops(window),
            gap_us=self._gap_before(window.start_us),
            clock_offset_us=self.clock_offset_us(window.start_us),
            payload_bytes=self._payload_bytes,
            software=SOFTWARE,
        )

    def clock_offset_us(self, at_us: int) -> int:
        """Give server minus sensor, as the sensor would measure it at that time."""
        wobble = np.random.Generator(np.random.PCG64([at_us // 60_000_000, len(self._outlook.name)]))
        return int(wobble.integers(-_JITTER_US, _JITTER_US)) - self._behaviour.clock_ahead_us

    def record(self, window: PlannedWindow) -> WireColumns:
        """Give the window's packets, stamped by the sensor's own clock."""
        unit_us = self._telescope.unit_us
        first = window.start_us // unit_us * unit_us
        parts = [
            self._cut(self._unit(start), window.start_us, window.end_us)
            for start in range(first, window.end_us, unit_us)
        ]
        columns = column_sets.join(parts)
        if self._behaviour.clock_ahead_us:
            columns["observed_at"] = np.asarray(columns["observed_at"]) + self._behaviour.clock_ahead_us
        return columns

    def prepare(self, start_us: int, end_us: int) -> None:
        """Make the packets of a time now and keep all of them, so that :meth:`record` costs the same in all of it."""
        unit_us = self._telescope.unit_us
        starts = range(start_us // unit_us * unit_us, end_us, unit_us)
        self._kept_units = max(self._kept_units, len(starts))
        for start in starts:
            self._unit(start)

    def _cut(self, columns: WireColumns, start_us: int, end_us: int) -> WireColumns:
        first, last = np.searchsorted(np.asarray(columns["observed_at"]), (start_us, end_us), side="left")
        return column_sets.slice_rows(columns, int(first), int(last))

    def _unit(self, start_us: int) -> WireColumns:
        with self._lock:
            if start_us in self._units:
                self._units.move_to_end(start_us)
                return self._units[start_us]
        traffic = self._telescope.make_unit(self._outlook, start_us)
        allowed = _EXAMPLES if self._payload_bytes and start_us % _DAY_US == 0 else 0
        made = _parse(traffic, self._payload_bytes, examples=allowed)
        with self._lock:
            self._units[start_us] = made
            while len(self._units) > self._kept_units:
                self._units.popitem(last=False)
        return made

    def _count_drops(self, window: PlannedWindow) -> int:
        spans = self._spans(self._behaviour.dropping_hours, window.start_us, window.end_us)
        affected = overlap_us(spans, window.start_us, window.end_us)
        rows = column_sets.count_rows(self.record(window)) if affected else 0
        share = self._behaviour.drop_share * affected / (window.end_us - window.start_us)
        return round(rows * share / (1 - share))

    def _gap_before(self, start_us: int) -> int:
        """Give the length of the silence that ended just now."""
        for hours in self._behaviour.silent_hours:
            longest = round((hours[1] - hours[0]) * 3_600_000_000)
            for low, high in self._spans((hours,), start_us - longest, start_us):
                if high == start_us:
                    return high - low
        return 0

    def _spans(
        self, hours: tuple[tuple[float, float], ...], start_us: int, end_us: int
    ) -> list[tuple[int, int]]:
        return cut_spans(hours, anchor_us=self._anchor_us, start_us=start_us, end_us=end_us)


def write_facts(draft: BatchDraft, lost: tuple[LostBatch, ...]) -> str:
    """Write everything that a header says beside the rows, to make the same batch again."""
    return json.dumps(
        {"draft": dataclasses.asdict(draft), "lost": [dataclasses.asdict(item) for item in lost]}
    )


def read_facts(text: str) -> tuple[BatchDraft, tuple[LostBatch, ...]]:
    facts: dict[str, Any] = json.loads(text)
    draft = facts["draft"]
    watched = tuple(Watched(**item) for item in draft.pop("watched"))
    return BatchDraft(**draft, watched=watched), tuple(LostBatch(**item) for item in facts["lost"])


def _parse(traffic: Traffic, payload_bytes: int, *, examples: int) -> WireColumns:
    """Give the packets as columns, with as many payload examples beside them as a real sensor would choose."""
    columns: WireColumns = traffic.parse(payload_bytes)
    packets = RawPackets(
        traffic.raw,
        traffic.captured_length,
        traffic.wire_length,
        traffic.observed_at_us,
        np.zeros(len(traffic), np.uint16),
        np.zeros(len(traffic), np.bool_),
    )
    chooser = ExampleChooser(per_window=examples, whole_only=True)
    return attach_examples(columns, chooser.choose(columns, packets))
