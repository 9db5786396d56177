"""Let sensors be answered first: the event loop runs before whatever else the process does.

`teiten up` is one process. While the store inserts and merges, a dozen threads of it are
ready to run at once; with few cores the event loop then got a sixth of one, and receipts waited
ten times as long as they cost. Linux keeps a nice value for each thread (setpriority(2), sched(7)),
and raising it needs no right. An idle core still runs any of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Collection, Iterator
from pathlib import Path

_log = logging.getLogger(__name__)

#: Nice value of everything but the event loop and landing's writer: a ninth of their weight.
BEHIND = 10
#: Names of threads that receipts wait for.
_URGENT = "landing"
#: New threads begin with the nice value of whoever started them; this finds the others.
_LOOK_SECONDS = 5.0
_TASKS = Path("/proc/self/task")


def put_behind(urgent: Collection[int], nice: int = BEHIND) -> int:
    """Let all threads of this process but the main one and ``urgent`` give way; gives how many began to.

    Raises:
        OSError: when the system does not let us.
    """
    spared = {os.getpid(), *urgent}
    moved = 0
    for number in _list_threads():
        # A thread may end between two looks at it.
        with contextlib.suppress(ProcessLookupError):
            if number not in spared and os.getpriority(os.PRIO_PROCESS, number) < nice:
                os.setpriority(os.PRIO_PROCESS, number, nice)
                moved += 1
    return moved


def list_urgent() -> set[int]:
    """Give the numbers of the threads that receipts wait for."""
    return {
        thread.native_id
        for thread in threading.enumerate()
        if thread.native_id is not None and thread.name.startswith(_URGENT)
    }


class PriorityComponent:
    """Keeps the event loop in front."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._look_for_ever(), name="priorities")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def wait(self) -> None:
        """Never end: without priorities all works, only later."""
        await asyncio.Event().wait()

    async def _look_for_ever(self) -> None:
        while True:
            try:
                put_behind(list_urgent())
            except OSError as error:
                _log.warning(
                    "Threads cannot be put behind the event loop; sensors may wait longer for answers.",
                    extra={"reason": error.strerror},
                )
                return
            await asyncio.sleep(_LOOK_SECONDS)


def _list_threads() -> Iterator[int]:
    return (int(entry.name) for entry in _TASKS.iterdir())
