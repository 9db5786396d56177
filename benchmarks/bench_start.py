"""Start: ``teiten up`` until sign-in answers, the first time and with data in it; memory when idle.

The peer is the cost that no first start can avoid: PostgreSQL's ``initdb`` and start alone, in the
same run. ``BENCH_SMALL=1`` is a short form. The data are a history of simulated sensors that goes
the real way; then the process is stopped and started again, as often as there are rounds.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "torture"))

from torture_house import Torture, tortured, wait_until

SMALL = os.environ.get("BENCH_SMALL") == "1"
ROUNDS = 2 if SMALL else 5
BATCHES = 60 if SMALL else 2_000
#: Memory is read so long after the start.
IDLE_SECONDS = 3.0 if SMALL else 20.0
SENSORS = ("direct-1:simulated", "direct-2:simulated")


@contextmanager
def house(*sensors: str, is_first_start: bool = False) -> Iterator[Torture]:
    folder = Path(tempfile.mkdtemp(prefix="bench-start-", dir="/tmp"))
    try:
        with tortured(folder, *sensors, is_first_start=is_first_start) as made:
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure_start(made: Torture) -> float:
    """Give the seconds from the command until the sign-in page is answered."""
    started = time.monotonic()
    made.begin_up()
    wait_until(lambda: answers(made), f"sign-in; see {made.log}", 300.0)
    return time.monotonic() - started


def answers(made: Torture) -> bool:
    assert not made.up_has_ended(), made.log.read_text()[-2000:]
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{made.portal_port}/sign-in/", timeout=30) as answer:
            return answer.status == 200
    except urllib.error.HTTPError:
        raise
    except OSError:
        return False


def measure_memory(made: Torture) -> tuple[float, float]:
    """Give resident MB of `up`, and with its PostgreSQL (shared pages counted by their share)."""
    assert made.up is not None
    own = read_kib(made.up.pid, "Rss:")
    parent = made.database_process()
    family = [parent, *(int(pid) for pid in children_of(parent))]
    return own / 1024, (own + sum(read_kib(pid, "Pss:") for pid in family)) / 1024


def read_kib(pid: int, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def measure_peer() -> float:
    """Give the seconds in which an empty PostgreSQL is made and started."""
    folder = Path(tempfile.mkdtemp(prefix="bench-start-", dir="/tmp"))
    folder.chmod(0o755)
    program = (
        "import sys; from pathlib import Path; from teiten.cli.embedded import EmbeddedPostgres;"
        " server = EmbeddedPostgres(Path(sys.argv[1])); server.start(); print('ready', flush=True); server.stop()"
    )
    started = time.monotonic()
    try:
        with subprocess.Popen(
            [sys.executable, "-c", program, str(folder / "pg")],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            return time.monotonic() - started
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fill(made: Torture) -> int:
    """Send batches of the two sensors the real way; give the packets that the ledger then has as loaded."""
    made.order["pause_seconds"] = 0.0
    made.order_file.write_text(json.dumps(made.order))
    made.start_up()
    for one in made.order["sensors"]:
        made.target_of(one["name"]).write_text(str(BATCHES))
    sender = made.start_sender("send")
    assert sender.wait(900) == 0, (made.folder / "senders.log").read_text()[-2000:]
    made.senders.remove(sender)
    wait_until(lambda: made.count_waiting() == 0, "the loader", 300.0)
    packets = int(made.ask_ledger("SELECT sum(rows) FROM landing.blocks")[0][0])
    assert made.stop_up() == 0, made.log.read_text()[-2000:]
    return packets


def main() -> int:
    first, peer = [], []
    for _ in range(1 if SMALL else 3):
        with house(is_first_start=True) as made:
            first.append(measure_start(made))
        peer.append(measure_peer())
    later, own, all_of_it = [], [], []
    with house(*SENSORS) as made:
        packets = fill(made)
        for _ in range(ROUNDS):
            later.append(measure_start(made))
            time.sleep(IDLE_SECONDS)
            memory = measure_memory(made)
            own.append(memory[0])
            all_of_it.append(memory[1])
            assert made.stop_up() == 0, made.log.read_text()[-2000:]
    figures = {
        "first_ready_s": round(statistics.median(first), 2),
        "ready_s": round(statistics.median(later), 2),
        "idle_rss_mb": round(statistics.median(own), 1),
        "idle_rss_with_database_mb": round(statistics.median(all_of_it), 1),
        "peers": {"postgres_init_and_start": {"ready_s": round(statistics.median(peer), 2)}},
    }
    show(figures, packets)
    print(
        json.dumps(
            {"bench": "start", **figures, "packets": packets, "rounds": ROUNDS,
             "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 2)}
        )
    )  # fmt: skip
    return 0


def show(figures: dict[str, object], packets: int) -> None:
    print(f"`teiten up` until sign-in answers; later starts with {packets:,} packets in it, {ROUNDS} rounds")
    print(f"{'first start':44} {figures['first_ready_s']:>8} s    target 30 s")
    print(f"{'later starts':44} {figures['ready_s']:>8} s    target 10 s")
    print(f"{'idle, resident (`up`)':44} {figures['idle_rss_mb']:>8} MB   target 1,200 MB")
    print(f"{'idle, with its PostgreSQL (Pss)':44} {figures['idle_rss_with_database_mb']:>8} MB")
    peer = figures["peers"]["postgres_init_and_start"]["ready_s"]  # type: ignore[index]  # figures are of many kinds
    print(f"{'peer: initdb and start of PostgreSQL alone':44} {peer:>8} s")


if __name__ == "__main__":
    sys.exit(main())
