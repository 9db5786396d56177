"""Counters of the sensor; written as text files when ``sensor.metrics_dir`` is set.

Names are ``teiten_sensor_<what>_<unit>``. Recording and sending are two processes
with one file each.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from teiten.foundation.metrics import Counter, Gauge, render

CAPTURED = Counter("teiten_sensor_captured_packets", "Packets taken from the rings")
KERNEL_DROPS = Counter("teiten_sensor_kernel_drop_packets", "Packets that found a ring full")
EXCLUDED = Counter("teiten_sensor_excluded_packets", "Packets left out, by reason", ["reason"])
MOVED = Counter("teiten_sensor_moved_packets", "Packets whose time was moved into their window")
MERGED = Counter("teiten_sensor_merged_packets", "Packets longer than the link allows: merged by an offload")
WINDOWS = Counter("teiten_sensor_windows", "Windows closed, by whether the clock stepped", ["clock_stepped"])
INTERFACE_ERRORS = Counter("teiten_sensor_interface_errors", "Interfaces that went down or away")
BATCHES = Counter("teiten_sensor_batches", "Batches, by what became of them", ["outcome"])
SPOOL_BYTES = Gauge("teiten_sensor_spool_bytes", "Bytes waiting in the spool")
SPOOL_BATCHES = Gauge("teiten_sensor_spool_batches", "Batches waiting in the spool")
SENT = Counter("teiten_sensor_sent_batches", "Batches receipted")
SEND_ERRORS = Counter("teiten_sensor_send_errors", "Requests that failed, by kind", ["kind"])
BEATS = Counter("teiten_sensor_heartbeats", "Heartbeats answered")


def write_text_file(folder: Path, name: str) -> None:
    """Replace ``<name>.prom`` in ``folder``; a folder that cannot be written is left alone."""
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".{name}.part"
        part.write_bytes(render())
        part.replace(folder / f"{name}.prom")
