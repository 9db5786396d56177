"""The capture benchmark measures what it says, in its short form."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from sensor_wire import needs_wire

pytestmark = [*needs_wire("tcpdump"), pytest.mark.long]

ROOT = Path(__file__).parents[2]
KEYS = {
    "bench", "rounds", "cores", "load", "pps", "kernel_drops", "burst_pps", "burst_drops", "us_per_packet", "rss_mb",
    "cpu_percent_at_50pps", "drain_pps", "peers", "long",
}  # fmt: skip


@pytest.mark.timeout(300)
def test_its_last_line_has_every_figure() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "bench_capture.py")],
        env={**os.environ, "BENCH_SMALL": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert set(told) == KEYS
    assert told["pps"] > 0
    assert all(set(peer) == {"pps", "drops", "us_per_packet", "rss_mb"} for peer in told["peers"].values())
