"""Fleet: ten thousand sensors against one `teiten up` on one core; the load on another.

Phases, each measured by itself:

* mean: heartbeat 60 s, batch 300 s in each sensor's own phase, NICTER's traffic (793 packets/s over 10,000);
* burst: the same with ten times the packets, for one window's length;
* reconnect: `up` is stopped and started again; what was spooled in an outage of ten minutes comes
  back by the sensors' real back-off (1 s doubling to 300 s, full jitter), heartbeats at once;
* command: a signed class A `status` for all, rolled out at full rate; until 99 % have fetched it,
  judged it by the real judge and answered with a signed result (two heartbeats: 120 s);
* update: a published release announced to all; each "restarts" and says so by heartbeat, 2 % load the bundle;
  no window of any sensor may be missing.

At the end `up` is stopped, and receipts, ledger, coverage and rows are compared sensor by sensor.
What is real, and what is not, stands in docs/simulators.md. There is no peer: none speaks this protocol.

The gateway's share is the CPU of `up`'s main thread, its event loop (TLS, HTTP, signatures, doors);
`up` is its whole process and its PostgreSQL. ``BENCH_SENSORS`` (10,000), ``BENCH_MINUTES`` of the mean (5),
``BENCH_PACE`` (1) divides every interval: 1,000 sensors at pace 10 ask as often as 10,000.
``BENCH_PHASES`` names those to run.
``BENCH_SMALL=1`` is 50 sensors at pace 120, and `up` stays where it is. The full run takes 25 minutes on a quiet machine of two cores.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "torture"))

from torture_house import Torture, wait_until

from fleet_cost import Cost, Load, compare, read_cost, read_memory

HERE = Path(__file__).parent
SMALL = os.environ.get("BENCH_SMALL") == "1"
SENSORS = int(os.environ.get("BENCH_SENSORS", "50" if SMALL else "10000"))
PACE = float(os.environ.get("BENCH_PACE", "120" if SMALL else "1"))
MINUTES = float(os.environ.get("BENCH_MINUTES", "5"))
#: ``mean`` is always measured.
PHASES = os.environ.get("BENCH_PHASES", "burst reconnect command update").split()
HEARTBEAT_S, WINDOW_S = 60.0 / PACE, 300.0 / PACE
MEAN_S = WINDOW_S if SMALL else MINUTES * 60.0 / PACE
BURST = 10
DONE_SHARE = 0.99
#: A duty that begins later than this was the load's fault, not the base's.
LATE_MS = 1000.0


class Fleet:
    """The process of the sensors, told what to do line by line."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log

    def tell(self, do: str, **words: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **words}) + "\n")
        self._process.stdin.flush()
        return self.read()

    def read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the sensors' process ended: {self._log.read_text()[-2000:]}"
        return json.loads(line)


class Bench:
    """One installation, its sensors, and what was measured."""

    def __init__(self, house: Torture, order: dict[str, Any]) -> None:
        self.house = house
        self.order = order
        self.phases: dict[str, dict[str, Any]] = {}
        self.loads: dict[str, Load] = {}
        self.rss_mb = 0.0

    def start_up(self) -> None:
        self.house.start_up()
        self.postmaster = self.house.database_process()

    def read_cost(self) -> Cost:
        assert self.house.up is not None
        self.rss_mb = max(self.rss_mb, read_memory(self.house.up.pid, self.postmaster))
        return read_cost(self.house.up.pid, self.postmaster)

    @contextlib.contextmanager
    def phase(self, name: str, fleet: Fleet) -> Iterator[None]:
        before = self.read_cost()
        fleet.tell("told")
        yield
        self.loads[name] = compare(before, self.read_cost())
        self.phases[name] = fleet.tell("told")
        show_phase(name, self.phases[name], self.loads[name])

    def run(self, fleet: Fleet) -> dict[str, Any]:
        fleet.tell("begin", factor=1)
        time.sleep(max(HEARTBEAT_S, 1.0))
        with self.phase("mean", fleet):
            time.sleep(MEAN_S)
        if "burst" in PHASES:
            fleet.tell("factor", factor=BURST)
            with self.phase("burst", fleet):
                time.sleep(WINDOW_S)
            fleet.tell("factor", factor=1)
        figures: dict[str, Any] = {"reconnect_s": None, "command_s": None, "update_s": None}
        if "reconnect" in PHASES:
            figures["reconnect_s"] = self.reconnect(fleet)
        if "command" in PHASES:
            figures["command_s"] = self.roll_out("command", fleet, "answered")
        figures["seqs"] = fleet.tell("told")["seqs"]
        if "update" in PHASES:
            figures["update_s"] = self.roll_out("update", fleet, "updated")
        return figures

    def reconnect(self, fleet: Fleet) -> float:
        """Stop the base, start it again, and give the seconds until every spool is empty."""
        fleet.tell("outage")
        if not SMALL:
            assert self.house.stop_up() == 0, self.house.log.read_text()[-2000:]
            self.start_up()
        # The load seals what the outage has spooled before this returns.
        told = fleet.tell("reconnect")
        with self.phase("reconnect", fleet):
            end = time.monotonic() + 2 * WINDOW_S + 30.0
            while fleet.tell("seen")["in_outage"] and time.monotonic() < end:
                time.sleep(0.2)
        return round(self.phases["reconnect"]["settled_at"] - told["at"], 1)

    def roll_out(self, kind: str, fleet: Fleet, what: str) -> dict[str, Any]:
        """Start it and wait for all sensors; give seconds from its release until a share of all had done it."""
        with self.phase(kind, fleet):
            started = run_script(self.house, kind)
            end = time.monotonic() + 4 * HEARTBEAT_S + 15.0
            while fleet.tell("seen")[what] < SENSORS and time.monotonic() < end:
                time.sleep(min(1.0, HEARTBEAT_S / 4))
        seconds = [at - started["at"] for at in self.phases[kind][f"{what}_at"]]
        return {"p50": at_share(seconds, 0.5), "p99": at_share(seconds, DONE_SHARE), "sensors": len(seconds)}


def at_share(seconds: list[float], share: float) -> float | None:
    """Give when this share of all sensors was reached; None: never."""
    place = int(share * SENSORS + 0.999) - 1
    return round(seconds[place], 1) if place < len(seconds) else None


def run_script(house: Torture, work: str, *words: object) -> dict[str, Any]:
    """Run the base's side, on the cores that the caller may use, and give what it printed."""
    done = subprocess.run(
        [sys.executable, str(HERE / "fleet_house.py"), work, "--config", str(house.config), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, f"{work} failed: {done.stderr[-3000:]}"
    return json.loads(done.stdout.splitlines()[-1])


@contextlib.contextmanager
def fleet_process(house: Torture, order: dict[str, Any], core: int) -> Iterator[Fleet]:
    order_file, log = house.folder / "order.json", house.folder / "load.log"
    order_file.write_text(json.dumps(order))
    words = ["taskset", "-c", str(core), sys.executable, str(HERE / "fleet_load.py"), str(order_file)]
    with log.open("wb") as errors:
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    try:
        fleet = Fleet(process, log)
        fleet.read()
        yield fleet
    finally:
        process.kill()
        process.wait()


def count_stored(house: Torture, receipts: list[list[int]], seqs: list[int]) -> dict[str, int]:
    """Compare what was receipted with what is stored, sensor by sensor."""
    told = run_script(house, "count")
    covered = {sensor: found for sensor, found, _ in told["covered"]}
    lost = doubled = missing = 0
    for (sensor, last, _rows), before in zip(receipts, seqs, strict=True):
        found = covered.get(sensor, [])
        gone = set(range(1, last + 1)) - set(found)
        lost += len(gone)
        doubled += len(found) - len(set(found))
        # Windows have no gap between them, and numbers none: a window of the wave is a number above.
        missing += sum(seq > before for seq in gone)
    rows_sent = sum(rows for *_, rows in receipts)
    stored = told["packets"]
    doubled_rows = max(0, stored - rows_sent)
    return {
        "batches": sum(last for _, last, _ in receipts), "lost": lost, "duplicated": doubled or doubled_rows,
        "rows_sent": rows_sent, "rows_stored": stored,
        "rows_covered": sum(rows for *_, rows in told["covered"]), "update_lost_windows": missing,
        "ledger": told["ledger"], "results": told["results"], "rollouts": told["rollouts"],
    }  # fmt: skip


def show_phase(name: str, told: dict[str, Any], load: Load) -> None:
    ack, beat, late = told["ack_ms"], told["beat_ms"], told["late_ms"]
    print(
        f"{name:10} {load.seconds:6.0f} s {told['beats']:7} {told['batches']:7} {told['rows']:9}"
        f" {ack['p50']:7.0f} {ack['p99']:7.0f} {beat['p50']:7.0f} {beat['p99']:7.0f}"
        f" {load.up:6.0f} {load.gateway:7.0f} {load.database:6.0f} {late['p99']:7.0f}  {told['errors'] or ''}"
        f"{'  THE LOAD IS LATE' if late['p99'] > LATE_MS else ''}",
        flush=True,
    )


def show_head() -> None:
    print(f"{SENSORS} sensors, heartbeat {HEARTBEAT_S:g} s, window {WINDOW_S:g} s")
    print(
        f"{'phase':10} {'':8} {'beats':>7} {'batches':>7} {'rows':>9} {'ack p50':>7} {'p99':>7} {'beat50':>7} {'p99':>7}"
        f" {'up %':>6} {'gateway':>7} {'db':>6} {'late':>7}  errors (ms; CPU in % of one core)",
        flush=True,
    )


def main() -> int:
    cores = sorted(os.sched_getaffinity(0))
    folder = Path(tempfile.mkdtemp(prefix="bench-fleet-", dir="/tmp"))
    house = Torture(folder, (), SETTINGS.format(beat=max(1, round(HEARTBEAT_S))), is_hurried=False)
    house.prefix = ("taskset", "-c", str(cores[0]))
    show_head()
    try:
        house.build()
        prepared = run_script(house, "prepare", "--sensors", SENSORS)
        order = {
            **prepared, "heartbeat_s": HEARTBEAT_S, "window_s": WINDOW_S, "pace": PACE, "burst": BURST,
        }  # fmt: skip
        bench = Bench(house, order)
        bench.start_up()
        with fleet_process(house, order, cores[-1]) as fleet:
            figures = bench.run(fleet)
            fleet.tell("end", file=str(folder / "receipts.json"))
        wait_until(lambda: house.count_waiting() == 0, "the loader", 600.0)
        assert house.stop_up() == 0, house.log.read_text()[-2000:]
        receipts = json.loads((folder / "receipts.json").read_text())
        seqs = figures.pop("seqs")
        report(bench, figures, count_stored(house, receipts, seqs))
    finally:
        house.close()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def report(bench: Bench, figures: dict[str, Any], stored: dict[str, Any]) -> None:
    mean, loads = bench.phases["mean"], bench.loads
    print(
        f"batches {stored['batches']}, lost {stored['lost']}, duplicated {stored['duplicated']};"
        f" rows sent {stored['rows_sent']}, stored {stored['rows_stored']}, in coverage {stored['rows_covered']};"
        f" ledger {stored['ledger']}"
    )
    print(
        f"all spools empty {figures['reconnect_s']} s after the return; {stored['results']} answers to the command,"
        f" {figures['command_s']} s; release announced, {figures['update_s']} s;"
        f" roll-outs {stored['rollouts']}; {bench.rss_mb:.0f} MB"
    )
    told = {
        "bench": "fleet", "sensors": SENSORS, "pace": PACE,
        "gateway_cpu_percent_of_core": loads["mean"].gateway, "up_cpu_percent_of_core": loads["mean"].up,
        "database_cpu_percent_of_core": loads["mean"].database, "rss_mb": round(bench.rss_mb),
        "packets_per_s": round(mean["rows"] / loads["mean"].seconds, 1),
        "ack_ms": {name: mean["ack_ms"][name] for name in ("p50", "p99")},
        **{name: stored[name] for name in ("lost", "duplicated", "rows_sent", "rows_stored")},
        **{name: figures[name] for name in ("reconnect_s", "command_s", "update_s")},
        "update_lost_windows": stored["update_lost_windows"],
        "phases": {
            name: {
                "up_cpu": loads[name].up, "gateway_cpu": loads[name].gateway, "database_cpu": loads[name].database,
                "ack_ms": bench.phases[name]["ack_ms"], "late_p99_ms": bench.phases[name]["late_ms"]["p99"],
                "errors": bench.phases[name]["errors"],
            }
            for name in loads
        },
        "rounds": 1, "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 2),
    }  # fmt: skip
    print(json.dumps(told))


SETTINGS = """
[fleet]
heartbeat_seconds = {beat}
"""


if __name__ == "__main__":
    sys.exit(main())
