"""The query benchmark runs in its short form and prints what the contract asks for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KEYS = {
    "bench", "rows", "screens", "worst_rollup_p95_ms", "worst_rollup_p95_ms_at_4", "worst_source_p95_ms",
    "masking_ratio", "bytes_per_row_raw", "bytes_per_row_rollups", "bytes_by_column", "rounds", "cores", "load",
}  # fmt: skip


@pytest.mark.requirement("R2.3")
def test_the_short_form_prints_its_figures() -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "bench_query.py"
    environment = {**os.environ, "BENCH_SMALL": "1"}
    environment.pop("BENCH_FOLDER", None)

    done = subprocess.run(
        [sys.executable, str(script)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures.keys() >= KEYS
    assert figures["rows"] == 300_000
    failed = {name: screen["problem"] for name, screen in figures["screens"].items() if "problem" in screen}
    assert not failed
    assert 0 < figures["bytes_per_row_raw"] < 100
