"""The fleet's benchmark runs in its short form, loses nothing and prints what the contract asks for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KEYS = {
    "bench", "sensors", "gateway_cpu_percent_of_core", "up_cpu_percent_of_core", "rss_mb", "ack_ms", "lost",
    "duplicated", "rows_sent", "rows_stored", "reconnect_s", "command_s", "update_lost_windows", "rounds", "cores", "load",
}  # fmt: skip


@pytest.mark.long
@pytest.mark.requirement("R1.3")
def test_the_short_form_loses_nothing_and_prints_its_figures() -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "bench_fleet.py"
    environment = {**os.environ, "BENCH_SMALL": "1"}

    done = subprocess.run(
        [sys.executable, str(script)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told.keys() >= KEYS
    assert told["bench"] == "fleet"
    assert (told["lost"], told["duplicated"], told["update_lost_windows"]) == (0, 0, 0)
    assert told["rows_stored"] == told["rows_sent"] > 0
    assert told["command_s"]["sensors"] == told["update_s"]["sensors"] == told["sensors"]
