"""What the long tests of the packages build once."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import machines  # noqa: E402


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The launcher's packages for this processor."""
    folder = tmp_path_factory.mktemp("packages")
    machines.run(
        sys.executable, ROOT / "scripts/make-packages", "--arch", "x86_64", "--output", folder, seconds=600
    )
    return folder


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Release 1 for each Python on x86_64; ``TEITEN_TEST_BUNDLES`` names a folder where they are made already."""
    made = os.environ.get("TEITEN_TEST_BUNDLES")
    folder = Path(made) if made else tmp_path_factory.mktemp("bundles")
    if not made:
        command = [sys.executable, ROOT / "scripts/make-bundle", "--release", "1", "--arch", "x86_64"]
        machines.run(*command, "--output", folder, seconds=1_200)
    return {
        f"3.{path.name.split('-py3')[1].split('-')[0]}": path
        for path in sorted(folder.glob("*-x86_64.tar.xz"))
    }
