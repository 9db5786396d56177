"""Freshness: how long until what was recorded stands in an answer over HTTP.

Two measures, over a real `teiten up` with its default settings and real spools and senders
(``teiten.sensor.sending``) in a process of their own:

* after_close: one sensor at a time closes a window; until the overview's figures (``totals``)
  hold its packets. Windows of 300 s close at a phase of each sensor's own, so one at a time is the rule.
* live: 20 sensors with windows of 1 s, sending as in live mode; for each packet, from its time on
  the wire until it is among the newest packets (``rows``, what the live screen shows).

Answers are asked for every 0.15 to 0.3 s (the API's own limit on one person), which the figures
include. There is no peer: no other program has this way. ``BENCH_SMALL=1`` is a short form.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "torture"))

import sender
from torture_house import Torture, tortured, wait_until

from teiten.protocol.header import Watched
from teiten.protocol.testing import make_columns
from teiten.sensor.config import SensorConfig
from teiten.sensor.sealing import BatchDraft, SealedBatch, seal_batch
from teiten.sensor.sending import Sending
from teiten.sensor.spool import Spool, SpoolLimits

SMALL = os.environ.get("BENCH_SMALL") == "1"
SENSORS = 20
CLOSES = 8 if SMALL else 60
LIVE_SECONDS = 12.0 if SMALL else 60.0
#: Packets a second and sensor in live mode: some tens of times the mean of a real address.
ROWS = 4
PEOPLE = 4
#: One person may ask 240 times a minute.
ASK_SECONDS = 0.3


class LiveSensor:
    """A spool that is filled window by window, and the real sending side over it."""

    def __init__(self, order: dict[str, Any], one: dict[str, Any], *, live: bool) -> None:
        identity = sender.join(order, one)
        state = sender.state_of(order, one)
        self._identity = identity.sealing
        self._spool = Spool(state.path, epoch=identity.sealing.epoch, limits=SpoolLimits(1 << 30))
        config = SensorConfig(first_connect_seconds=0.0, live=live)
        self._sending = Sending(config, state, sender.CLOCK)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sending.run, args=(self._stop,))
        self._thread.start()
        self.boot_id = f"bench-{random.getrandbits(40):010x}"

    def close_window(self, rows: int) -> SealedBatch:
        """Close a window of one second that ends now; its packets came evenly over it."""
        end_us = sender.CLOCK.now_us()
        columns = make_columns(rows, seed=end_us, start_us=end_us - 1_000_000, seconds=1)
        draft = BatchDraft(
            window_start_us=end_us - 1_000_000,
            window_end_us=end_us,
            boot_id=self.boot_id,
            watched=(Watched("192.0.2.7/32", "silent"),),
            dataset="simulated",
            payload_bytes=64,
        )
        sealed = self._spool.add(
            lambda seq, lost: seal_batch(self._identity, draft, columns=columns, seq=seq, lost=lost)
        )
        self._spool.sweep()
        return sealed

    def run(self, seconds: float) -> None:
        """Close a window every second, at a phase of its own."""
        time.sleep(random.random())
        for _ in range(int(seconds)):
            started = time.monotonic()
            self.close_window(ROWS)
            time.sleep(max(0.0, 1.0 - (time.monotonic() - started)))

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._spool.close()


def run_sensors(order_file: str, mode: str) -> int:
    """Be the process of the sensors: ``live`` by itself, ``closes`` a window for each line of input."""
    order = json.loads(Path(order_file).read_text())
    sensors = [LiveSensor(order, one, live=mode == "live") for one in order["sensors"]]
    print("ready", flush=True)
    if mode == "live":
        threads = [threading.Thread(target=one.run, args=(LIVE_SECONDS,)) for one in sensors]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    else:
        for line in sys.stdin:
            sealed = random.choice(sensors).close_window(int(line))
            print(sealed.window_end_us, flush=True)
    for one in sensors:
        one.close()
    return 0


@contextlib.contextmanager
def sensor_process(house: Torture, mode: str) -> Any:
    words = [sys.executable, str(Path(__file__)), "--sensors", str(house.order_file), mode]
    with (house.folder / "sensors.log").open("ab") as log:
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", (house.folder / "sensors.log").read_text()[-2000:]
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(30)
        finally:
            process.kill()


def measure_closes(house: Torture) -> list[float]:
    """Give, for each closed window, the seconds until the overview's figures hold it."""
    delays = []
    with sensor_process(house, "closes") as process:
        shown = ask_packets(house)
        for number in range(CLOSES):
            time.sleep(random.uniform(0.5, 2.0))
            rows = random.randint(1, 40)
            process.stdin.write(f"{rows}\n")
            process.stdin.flush()
            closed_us = int(process.stdout.readline())
            while (now_shown := ask_packets(house, number)) < shown + rows:
                time.sleep(ASK_SECONDS / PEOPLE * 2)
            delays.append(time.time() - closed_us / 1e6)
            shown = now_shown
    return delays


def ask_packets(house: Torture, number: int = 0) -> int:
    told = house.ask_api("totals", person=number % PEOPLE, dataset="simulated", period="24h")
    return int(told["packets"]["value"] or 0)


def measure_live(house: Torture) -> list[float]:
    """Give, for each packet, the seconds from the wire to the answer."""
    first_shown: dict[str, tuple[float, float]] = {}
    with sensor_process(house, "live"):
        began_at, end = time.time(), time.monotonic() + LIVE_SECONDS + 5
        turn = 0
        while time.monotonic() < end:
            started = time.monotonic()
            told = house.ask_api("rows", person=turn % PEOPLE, **newest_rows())
            now = time.time()
            for reference in told["references"]:
                if reference not in first_shown:
                    first_shown[reference] = (now, int(reference.rpartition("@")[2]) / 1e6)
            turn += 1
            time.sleep(max(0.0, ASK_SECONDS / 2 - (time.monotonic() - started)))
    # What the measure before this one has left behind is no news.
    return [now - at for now, at in first_shown.values() if at >= began_at]


def newest_rows() -> dict[str, object]:
    """Ask for a time that ends after now: a relative period ends at the last full minute."""
    now = dt.datetime.now(dt.timezone.utc)
    return {
        "dataset": "simulated", "period": "custom", "limit": 1000, "count": "false", "columns": "sensor",
        "start": (now - dt.timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "end": (now + dt.timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }  # fmt: skip


def warm_up(house: Torture) -> None:
    """Let every sensor join before anything is measured."""
    joining = house.start_sender("enrol")
    assert joining.wait(120) == 0, (house.folder / "senders.log").read_text()[-2000:]
    house.senders.remove(joining)
    ask_packets(house)


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="bench-freshness-", dir="/tmp"))
    try:
        names = [f"live-{number}:simulated" for number in range(SENSORS)]
        with tortured(folder, *names, is_hurried=False) as house:
            house.start_up()
            warm_up(house)
            closes = measure_closes(house)
            live = measure_live(house)
            wait_until(lambda: house.count_waiting() == 0, "the loader", 60.0)
            assert house.stop_up() == 0, house.log.read_text()[-2000:]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    figures = {"after_close_s": summarise(closes), "live_s": summarise(live)}
    print(f"{'':34} {'p50':>7} {'p99':>7}")
    print(
        f"{f'window closed → overview ({len(closes)})':34} {line(figures['after_close_s'])}   target p99 15 s"
    )
    print(
        f"{f'live: wire → answer ({len(live)} packets)':34} {line(figures['live_s'])}   target 3 s, {SENSORS} sensors"
    )
    print(
        json.dumps(
            {"bench": "freshness", **figures, "sensors": SENSORS, "closes": len(closes), "live_packets": len(live),
             "rounds": 1, "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 2)}
        )
    )  # fmt: skip
    return 0


def summarise(delays: list[float]) -> dict[str, float]:
    return {"p50": round(statistics.median(delays), 2), "p99": round(float(np.percentile(delays, 99)), 2)}


def line(figure: dict[str, float]) -> str:
    return f"{figure['p50']:7.2f} {figure['p99']:7.2f} s"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--sensors"]:
        sys.exit(run_sensors(*sys.argv[2:4]))
    sys.exit(main())
