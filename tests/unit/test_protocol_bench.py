"""The wire benchmark runs and says what its contract asks for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def test_the_short_form_of_the_wire_benchmark() -> None:
    run = subprocess.run(
        [sys.executable, Path(__file__).parents[2] / "benchmarks" / "bench_wire.py"],
        env={**os.environ, "BENCH_SMALL": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )

    told = json.loads(run.stdout.splitlines()[-1])

    assert told["bench"] == "wire"
    assert set(told["bytes"]) == {"0", "24", "240", "2000"}
    assert told["bytes"]["24"] <= 800
    assert told["bytes_per_packet"]["2000"] <= 21
    assert told["ratio"] <= 0.65
    assert {"encode_us_per_packet", "pcap_zstd_bytes_per_packet", "rounds", "cores", "load"} <= set(told)
