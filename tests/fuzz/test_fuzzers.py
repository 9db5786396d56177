"""The fuzzers in short: what they need, they find; a long run is ``make fuzz``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SECONDS = 1


@pytest.mark.requirement("R1.2", "R2.1")
@pytest.mark.parametrize("fuzzer", sorted(path.name for path in HERE.glob("fuzz_*.py")))
def test_nothing_falls_over(fuzzer: str, tmp_path: Path) -> None:
    """Fuzz for a moment, starting from the inputs that once broke something."""
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    known = HERE / "inputs" / fuzzer.removesuffix(".py")
    folders = [str(inputs), *([str(known)] if known.is_dir() else [])]
    done = subprocess.run(  # our own fuzzer
        [sys.executable, str(HERE / fuzzer), f"-max_total_time={SECONDS}", "-timeout=10", *folders],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "DONE" in done.stderr or "Done" in done.stderr
