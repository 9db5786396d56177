"""What the launcher asks of the machine: time since boot, which boot, which Python, which processor, how much disk."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from teiten.foundation.clock import Clock, SystemClock

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def _read_boot_id() -> str:
    with contextlib.suppress(OSError):
        return _BOOT_ID.read_text(encoding="ascii").strip()
    return "unknown"


def _count_free(path: Path) -> int:
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize


def _read_boot_seconds() -> float:
    """Seconds since boot, suspension included: no clock step turns it back (clock_gettime(2))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Machine:
    """The host, as tests may replace it."""

    clock: Clock = field(default_factory=SystemClock)
    boot_seconds: Callable[[], float] = _read_boot_seconds
    boot_id: Callable[[], str] = _read_boot_id
    count_free: Callable[[Path], int] = _count_free
    python: str = f"{sys.version_info[0]}.{sys.version_info[1]}"
    arch: str = platform.machine()
