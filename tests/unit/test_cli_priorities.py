from __future__ import annotations

import json
import subprocess
import sys

import pytest

SCRIPT = """
import asyncio, json, os, threading
from teiten.cli.priorities import PriorityComponent

stop = threading.Event()
names = ("loader", "landing_0", "job")
threads = [threading.Thread(target=stop.wait, name=name) for name in names]

async def run():
    part = PriorityComponent()
    await part.start()
    await asyncio.sleep(0.05)
    await part.stop()

for thread in threads:
    thread.start()
os.setpriority(os.PRIO_PROCESS, threads[2].native_id, 15)
asyncio.run(run())
told = {thread.name: os.getpriority(os.PRIO_PROCESS, thread.native_id) for thread in threads}
print(json.dumps({"main": os.getpriority(os.PRIO_PROCESS, os.getpid()), **told}))
stop.set()
"""


@pytest.mark.requirement("R2.1")
def test_all_but_the_event_loop_and_landing_give_way() -> None:
    # A process of its own: without rights, a thread that has given way cannot come back.
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=30, check=False
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"main": 0, "landing_0": 0, "loader": 10, "job": 15}
