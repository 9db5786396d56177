"""The loader's benchmark runs in its short form and prints what the contract asks for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

KEYS = {
    "bench", "rows_per_s", "small_batches_per_s", "insert_arrow_rows_per_s", "ratio", "bytes_per_row_raw",
    "bytes_per_row_rollups", "bytes_by_column", "rounds", "cores", "load",
}  # fmt: skip


def test_the_short_form_prints_its_figures() -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "bench_loader.py"
    environment = {**os.environ, "BENCH_SMALL": "1"}

    done = subprocess.run(
        [sys.executable, str(script)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer.keys() >= KEYS
    assert answer["bench"] == "loader"
    assert answer["rows_per_s"] > 0
