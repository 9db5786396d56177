"""The sensor's counters as a Prometheus text file, for node exporter's textfile collector.

Made from the status files and written by the sending process: the recording
process pays no memory for a metrics library. Format: Prometheus exposition 0.0.4.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

FILE_NAME = "teiten-sensor.prom"


class Metric(NamedTuple):
    """One metric: where its value stands in the status, and what it means."""

    name: str
    kind: str
    #: Keys into ``{"capture": …, "sending": …}``.
    path: tuple[str, ...]
    meaning: str


METRICS = (
    Metric("captured_packets_total", "counter", ("capture", "packets", "captured"), "Packets taken from the rings"),
    Metric("kernel_drop_packets_total", "counter", ("capture", "packets", "kernel_drops"), "Packets that found a ring full"),
    Metric("solicited_packets_total", "counter", ("capture", "packets", "solicited"), "Packets left out as solicited"),
    Metric("other_destination_packets_total", "counter", ("capture", "packets", "other_destination"), "Packets left out as for no observed address"),
    Metric("moved_packets_total", "counter", ("capture", "packets", "moved"), "Packets whose time was moved into their window"),
    Metric("merged_packets_total", "counter", ("capture", "packets", "merged"), "Packets longer than the link: merged by an offload"),
    Metric("windows_total", "counter", ("capture", "packets", "windows"), "Windows closed"),
    Metric("clock_steps_total", "counter", ("capture", "packets", "clock_steps"), "Windows closed by a step of the clock"),
    Metric("examples_total", "counter", ("capture", "packets", "examples"), "Payload examples taken"),
    Metric("example_days_full_total", "counter", ("capture", "packets", "example_days_full"), "Days with more different payloads than are remembered"),
    Metric("example_mismatches_total", "counter", ("capture", "packets", "example_mismatches"), "Whole packets that were not those of their slot"),
    Metric("spool_batches", "gauge", ("capture", "spool", "waiting"), "Batches waiting in the spool"),
    Metric("spool_bytes", "gauge", ("capture", "spool", "waiting_bytes"), "Bytes waiting in the spool"),
    Metric("spool_sealed_batches_total", "counter", ("capture", "spool", "sealed"), "Batches sealed"),
    Metric("spool_dropped_batches_total", "counter", ("capture", "spool", "dropped"), "Batches dropped by the spool's bound"),
    Metric("spool_corrupt_batches_total", "counter", ("capture", "spool", "corrupt"), "Spool files found corrupt"),
    Metric("spool_refused_batches_total", "counter", ("capture", "spool", "refused"), "Batches refused for ever"),
    Metric("spool_conflict_batches_total", "counter", ("capture", "spool", "conflicts"), "Batches whose number the gateway had"),
    Metric("spool_unsaved_windows_total", "counter", ("capture", "spool", "unsaved"), "Windows that a full disk took"),
    Metric("receipted_batches_total", "counter", ("sending", "receipted"), "Batches receipted"),
    Metric("send_failures_total", "counter", ("sending", "failures"), "Requests that failed"),
    Metric("heartbeats_total", "counter", ("sending", "beats"), "Heartbeats answered"),
    Metric("commands_accepted_total", "counter", ("sending", "commands", "commands_accepted"), "Signed commands obeyed"),
    Metric("commands_refused_total", "counter", ("sending", "commands", "commands_refused"), "Commands refused"),
    Metric("commands_failed_total", "counter", ("sending", "commands", "commands_failed"), "Obeyed commands that failed"),
    Metric("command_results_total", "counter", ("sending", "results"), "Answers to commands receipted"),
    Metric("clock_offset_us", "gauge", ("sending", "clock_offset_us"), "Server clock minus sensor clock, microseconds"),
)  # fmt: skip


def render(capture: dict[str, Any], sending: dict[str, Any]) -> str:
    """Write all metrics whose value is known."""
    return "".join(_lines({"capture": capture, "sending": sending}))


def write_text_file(folder: Path, capture: dict[str, Any], sending: dict[str, Any]) -> None:
    """Replace the file in ``folder`` as a whole; a folder that cannot be written is left alone."""
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".{FILE_NAME}.part"
        part.write_text(render(capture, sending), encoding="ascii")
        part.replace(folder / FILE_NAME)


def _lines(status: dict[str, Any]) -> Iterator[str]:
    for metric in METRICS:
        value: Any = status
        for key in metric.path:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, int):
            name = f"teiten_sensor_{metric.name}"
            yield f"# HELP {name} {metric.meaning}\n# TYPE {name} {metric.kind}\n{name} {value}\n"
