"""What a running base costs: CPU of its processes, of its event loop, and memory."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from bench_start import children_of, read_kib

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """CPU seconds since the start of the processes."""

    at: float
    #: The process of ``teiten up``.
    own: float
    #: Its main thread: the event loop, which is the gateway and nothing else that matters (portal and
    #: worker wait on it too; landing's writer, loaders, jobs and the store have threads of their own).
    loop: float
    #: PostgreSQL, with every process of it that has ended.
    database: float


@dataclass(frozen=True)
class Load:
    """Percent of one core over a time."""

    up: float
    gateway: float
    database: float
    seconds: float


def read_cost(pid: int, postmaster: int) -> Cost:
    database = _cpu_of(Path(f"/proc/{postmaster}"), with_ended=True)
    database += sum(_cpu_of(Path(f"/proc/{one}"), with_ended=False) for one in children_of(postmaster))
    own = _cpu_of(Path(f"/proc/{pid}"), with_ended=False)
    return Cost(time.monotonic(), own, _cpu_of(Path(f"/proc/{pid}/task/{pid}"), with_ended=False), database)


def compare(before: Cost, after: Cost) -> Load:
    seconds = after.at - before.at
    own, database = after.own - before.own, after.database - before.database

    def share(spent: float) -> float:
        return round(100 * spent / seconds, 1)

    return Load(share(own + database), share(after.loop - before.loop), share(database), round(seconds, 1))


def read_memory(pid: int, postmaster: int) -> float:
    """Give resident MB of both, shared pages of PostgreSQL by their share."""
    family = [postmaster, *(int(one) for one in children_of(postmaster))]
    return (read_kib(pid, "Rss:") + sum(read_kib(one, "Pss:") for one in family)) / 1024


def _cpu_of(folder: Path, *, with_ended: bool) -> float:
    try:
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    spent = fields[11:15] if with_ended else fields[11:13]
    return sum(map(int, spent)) / _TICKS
