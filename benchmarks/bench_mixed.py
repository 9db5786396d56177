"""Mixed: ten times the mean of ten thousand sensors, while twenty analysts look at screens.

The fleet is that of `bench_fleet.py` (its ``BENCH_SENSORS`` and ``BENCH_PACE`` hold here too) with ten times the
packets, for ``BENCH_MINUTES`` (5). Each of ``BENCH_PEOPLE`` (20) opens a screen, waits until all of its figures
are there, and reads on for 10 s on average; calls go over HTTP to the portal of the same `up`, with a token each.
`up` has all cores, and load and people take theirs from the last one: with two cores both are short.
There is no peer: none takes sensors' batches and answers screens in one process. ``BENCH_SMALL=1`` is 50 sensors at
pace 120 and 3 people.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench_fleet import (
    BURST,
    HEARTBEAT_S,
    MEAN_S,
    PACE,
    SENSORS,
    SETTINGS,
    SMALL,
    WINDOW_S,
    Bench,
    Torture,
    count_stored,
    fleet_process,
    run_script,
    show_head,
    wait_until,
)
from fleet_figures import percentiles

HERE = Path(__file__).parent
PEOPLE = int(os.environ.get("BENCH_PEOPLE", "3" if SMALL else "20"))
PAUSE_S = 0.5 if SMALL else 10.0


def begin_people(order: dict[str, Any], core: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        ["taskset", "-c", str(core), sys.executable, str(HERE / "mixed_users.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(order) + "\n")
    process.stdin.close()
    return process


def hear_people(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert process.wait() == 0, "the people's process failed"
    return json.loads(line)


def report(bench: Bench, people: dict[str, Any], stored: dict[str, Any]) -> None:
    phase, load = bench.phases["mixed"], bench.loads["mixed"]
    screens = {name: percentiles(ms) for name, ms in people["screens_ms"].items()}
    opened = sorted(itertools.chain.from_iterable(people["screens_ms"].values()))
    for name, ms in screens.items():
        print(
            f"{name:10} {len(people['screens_ms'][name]):5} opened, p50 {ms['p50']:.0f} ms, p95 {ms['p95']:.0f} ms"
        )
    print(
        f"batches {stored['batches']}, lost {stored['lost']}, duplicated {stored['duplicated']};"
        f" rows sent {stored['rows_sent']}, stored {stored['rows_stored']}"
    )
    refused = sum(number for what, number in phase["errors"].items() if what.endswith("BusyError"))
    told = {
        "bench": "mixed", "sensors": SENSORS, "pace": PACE, "people": PEOPLE,
        "screen_p95_ms": percentiles(opened)["p95"], "screens": {name: ms["p95"] for name, ms in screens.items()},
        "opened": len(opened), "failed": people["errors"],
        "ack_p99_ms": phase["ack_ms"]["p99"], "back_pressure_events": refused, "lost": stored["lost"],
        "duplicated": stored["duplicated"], "rows_sent": stored["rows_sent"], "rows_stored": stored["rows_stored"],
        "packets_per_s": round(phase["rows"] / load.seconds, 1), "errors": phase["errors"],
        "up_cpu_percent_of_core": load.up, "gateway_cpu_percent_of_core": load.gateway,
        "late_p99_ms": phase["late_ms"]["p99"], "rss_mb": round(bench.rss_mb),
        "rounds": 1, "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 2),
    }  # fmt: skip
    print(json.dumps(told))


def main() -> int:
    core = max(os.sched_getaffinity(0))
    folder = Path(tempfile.mkdtemp(prefix="bench-mixed-", dir="/tmp"))
    house = Torture(folder, (), SETTINGS.format(beat=max(1, round(HEARTBEAT_S))), is_hurried=False)
    show_head()
    try:
        house.build()
        prepared = run_script(house, "prepare", "--sensors", SENSORS)
        people = run_script(house, "users", "--people", PEOPLE)
        order = {**prepared, "heartbeat_s": HEARTBEAT_S, "window_s": WINDOW_S, "pace": PACE, "burst": BURST}
        bench = Bench(house, order)
        bench.start_up()
        with fleet_process(house, order, core) as fleet:
            fleet.tell("begin", factor=BURST)
            time.sleep(max(HEARTBEAT_S, WINDOW_S if SMALL else 0.0))
            with bench.phase("mixed", fleet):
                heard = hear_people(begin_people({**people, "pause_s": PAUSE_S, "seconds": MEAN_S}, core))
            seqs = fleet.tell("told")["seqs"]
            fleet.tell("end", file=str(folder / "receipts.json"))
        wait_until(lambda: house.count_waiting() == 0, "the loader", 600.0)
        assert house.stop_up() == 0, house.log.read_text()[-2000:]
        report(bench, heard, count_stored(house, json.loads((folder / "receipts.json").read_text()), seqs))
    finally:
        house.close()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
