"""The sensors of the fleet benchmark: thousands in one process, each with its own key, phase and spool.

Told what to do by lines of JSON on standard input, and answers each with one on standard output:

    {"do": "begin", "factor": 1}     heartbeats and batches begin, each sensor in its own phase
    {"do": "factor", "factor": 10}   so many times the traffic, in windows that end from now on
    {"do": "outage"}                 nothing is sent any more; an outage of two windows begins
    {"do": "reconnect"}              the base is back: what was spooled goes out by the real back-off
    {"do": "seen"}                   count what is waited for
    {"do": "told"}                   give the figures since the last time
    {"do": "end", "file": …}         send what is spooled, write what was receipted, and end

Requests are the real ``Uplink``'s: a connection is used again within 2 s only, as the real sender does
(batches of one spool, the command after its heartbeat), so nearly every request brings a new
TLS 1.3 handshake. Windows lag behind by an outage until there was one: that is how ten minutes
of spool come to be without waiting for them.
"""

from __future__ import annotations

import collections
import hashlib
import heapq
import json
import math
import random
import resource
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleet_figures import Figures
from fleet_sensors import CLOCK, load_target, make_recorders, make_sensors, new_backoff
from teiten.sensor.errors import BusyError, UplinkError

#: Enough that a base that answers late keeps no other sensor waiting for a thread: that would be our own lateness.
THREADS = 256
#: Windows of an outage: ten minutes of 300 s.
OUTAGE_WINDOWS = 2
#: A gateway has closed a connection that was idle so long.
IDLE_SECONDS = 4.0
#: Share of the sensors that load the release; the others say only that they run it.
LOADING_SHARE = 0.02
#: Seconds until a sensor that took a release beats again, as often as a real restart takes.
RESTART_SECONDS = 5.0


@dataclass(order=True)
class Duty:
    due: float
    order: int
    place: int = field(compare=False)
    #: ``beat``, ``window`` or ``spool``.
    what: str = field(compare=False)


class Swarm:
    """All sensors, their duties, and the threads that do them."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.beat_s, self.window_s = float(order["heartbeat_s"]), float(order["window_s"])
        self.pace = float(order["pace"])
        self.window_us = round(self.window_s * 1e6)
        #: Windows are dated so much earlier than they are sent.
        self.lag_us = OUTAGE_WINDOWS * self.window_us
        self.recorders = {factor: make_recorders(factor, order) for factor in (1, order["burst"])}
        self.sensors = make_sensors(order, self.recorders[1])
        self.phases_us = [
            int.from_bytes(hashlib.sha256(b"phase %d" % one).digest()[:6], "big") % self.window_us
            for one in order["sensors"]
        ]
        self.backoffs = [new_backoff() for _ in self.sensors]
        self.locks = [threading.Lock() for _ in self.sensors]
        self.used: collections.deque[tuple[float, int]] = collections.deque()
        self.used_at = [0.0] * len(self.sensors)
        self.duties: list[Duty] = []
        self.changed = threading.Condition()
        self.is_cut = self.is_over = False
        #: A thread waits for the first duty's time.
        self.is_watched = False
        self.figures = Figures()
        self.counter = 0
        #: Places of the sensors whose spool holds an outage; when the last such spool was empty.
        self.late: set[int] = set()
        self.settled_at = 0.0
        #: When the next turn of each spool is due; an earlier one takes the place of a later one.
        self.turns = [math.inf] * len(self.sensors)
        #: Places of the sensors whose batches failed because nobody answered.
        self.cut_off: set[int] = set()
        #: Places of the sensors that run the release, as far as the base knows.
        self.updated: set[int] = set()

    # ── what is told ─────────────────────────────────────────────────────────
    def begin(self, factor: int) -> dict[str, Any]:
        self.set_factor(factor)
        now_us = CLOCK.now_us()
        for place, one in enumerate(self.sensors):
            one.until_us = self.last_end(place, now_us)
            self.add("beat", place, random.uniform(0.0, self.beat_s))
            self.add("window", place, self.until_next(place, now_us))
        for _ in range(THREADS):
            threading.Thread(target=self.work, daemon=True).start()
        threading.Thread(target=self.close_idle, daemon=True).start()
        return {}

    def set_factor(self, factor: int) -> dict[str, Any]:
        made = self.recorders[factor]
        for place, one in enumerate(self.sensors):
            one.recorder = made[place % len(made)]
        return {}

    def cut(self) -> dict[str, Any]:
        """Let nothing out any more, and wait for what is under way."""
        with self.changed:
            self.is_cut = True
            self.changed.notify_all()
        for lock in self.locks:
            with lock:
                pass
        return {"unsent": sum(len(one.spool) for one in self.sensors)}

    def reconnect(self) -> dict[str, Any]:
        """Go on as if two windows' time had passed in an outage that ends now."""
        self.lag_us = 0
        outage_s, now_us = OUTAGE_WINDOWS * self.window_s * self.pace, CLOCK.now_us()
        with self.changed:
            self.duties.clear()
        spooled, coming = 0, []
        self.late = set(range(len(self.sensors)))
        self.cut_off = set(self.late)
        for place, one in enumerate(self.sensors):
            one.uplink.close()
            self.backoffs[place] = new_backoff()
            while one.until_us + self.window_us <= now_us:
                one.close_window(one.until_us + self.window_us)
                spooled += 1
            # The first failure comes with the first window of the outage; from then on the real back-off.
            tried = random.uniform(0.0, self.window_s * self.pace)
            while tried < outage_s:
                tried += self.backoffs[place].next_wait()
            coming.append((tried - outage_s) / self.pace)
        self.is_cut = False
        for place, in_seconds in enumerate(coming):
            self.turns[place] = math.inf
            self.send_later(place, in_seconds)
            self.add("beat", place, random.uniform(0.0, self.beat_s))
            self.add("window", place, self.until_next(place, CLOCK.now_us()))
        return {"spooled": spooled, "at": time.time()}

    def see(self) -> dict[str, Any]:
        """Count what somebody waits for; nothing begins anew."""
        return {
            "answered": len(self.figures.answered_at),
            "updated": len(self.figures.updated_at),
            "in_outage": len(self.late),
        }

    def tell(self) -> dict[str, Any]:
        figures, self.figures = self.figures, Figures()
        return {
            **figures.tell(),
            "settled_at": self.settled_at,
            "waiting": sum(len(one.spool) for one in self.sensors),
            "seqs": [one.seq for one in self.sensors],
            "cpu_s": time.process_time(),
        }

    def end(self, file: str) -> dict[str, Any]:
        """Let the spools empty, and write for each sensor what was receipted."""
        self.is_over = True
        end = time.monotonic() + 120.0
        while any(one.spool for one in self.sensors) and time.monotonic() < end:
            time.sleep(0.2)
        self.cut()
        lines = [[one.identity.sensor, one.seq - len(one.spool), one.rows] for one in self.sensors]
        Path(file).write_text(json.dumps(lines))
        return {"unsent": sum(len(one.spool) for one in self.sensors)}

    # ── duties ───────────────────────────────────────────────────────────────
    def add(self, what: str, place: int, in_seconds: float) -> None:
        with self.changed:
            self.counter += 1
            duty = Duty(time.monotonic() + in_seconds, self.counter, place, what)
            heapq.heappush(self.duties, duty)
            if self.duties[0] is duty:
                # Whoever watches over the first one must look again.
                self.changed.notify_all()

    def work(self) -> None:
        while True:
            duty = self.take()
            with self.locks[duty.place]:
                if self.is_cut:
                    continue
                self.do(duty)
                self.used_at[duty.place] = time.monotonic()
                self.used.append((self.used_at[duty.place], duty.place))

    def take(self) -> Duty:
        """Wait for the next duty; one thread watches the time, so that not all of them wake for each."""
        with self.changed:
            while True:
                wait = self.duties[0].due - time.monotonic() if self.duties and not self.is_cut else None
                if wait is not None and wait <= 0:
                    duty = heapq.heappop(self.duties)
                    self.figures.late_ms.append(-wait * 1000)
                    self.changed.notify()
                    return duty
                if self.is_watched:
                    self.changed.wait()
                    continue
                self.is_watched = True
                self.changed.wait(wait)
                self.is_watched = False

    def do(self, duty: Duty) -> None:
        place = duty.place
        try:
            if duty.what == "beat":
                self.add("beat", place, self.beat_s)
                self.beat(place)
            elif duty.what == "window":
                self.close_window(place)
            elif duty.due >= self.turns[place]:
                self.turns[place] = math.inf
                self.send_spool(place)
        except UplinkError as error:
            self.figures.errors[f"{duty.what} {type(error).__name__}"] += 1
            if len(self.figures.errors) < 20:
                print(f"{duty.what}: {error}", file=sys.stderr)

    def close_window(self, place: int) -> None:
        one, now_us = self.sensors[place], CLOCK.now_us()
        if self.is_over:
            return
        end_us = self.last_end(place, now_us)
        if end_us > one.until_us:
            one.close_window(end_us)
        self.add("window", place, self.until_next(place, now_us))
        if len(one.spool) == 1:
            # With more of them, a turn of the back-off is under way.
            self.send_spool(place)

    def send_spool(self, place: int) -> None:
        one = self.sensors[place]
        while one.spool:
            size, started = len(one.spool[0][0].body), time.perf_counter()
            try:
                rows = one.send_next()
            except UplinkError as error:
                is_busy = isinstance(error, BusyError)
                wait = error.retry_after_seconds * random.uniform(1.0, 1.25) if is_busy else 0.0
                if not is_busy:
                    self.cut_off.add(place)
                self.send_later(place, wait or self.backoffs[place].next_wait() / self.pace)
                raise
            self.cut_off.discard(place)
            self.backoffs[place].reset()
            figures = self.figures
            figures.ack_ms.append((time.perf_counter() - started) * 1000)
            figures.batches += 1
            figures.rows += rows
            figures.sent_bytes += size
        if place in self.late:
            self.late.discard(place)
            self.settled_at = time.time()

    def send_later(self, place: int, in_seconds: float) -> None:
        """Give the spool a turn, unless one comes sooner."""
        due = time.monotonic() + in_seconds
        if due < self.turns[place]:
            self.turns[place] = due
            self.add("spool", place, in_seconds)

    def beat(self, place: int) -> None:
        one, started = self.sensors[place], time.perf_counter()
        answer = one.beat()
        self.figures.beat_ms.append((time.perf_counter() - started) * 1000)
        if place in self.cut_off:
            # As the real sender: whoever is answered again tries batches as spread as heartbeats are.
            self.cut_off.discard(place)
            self.send_later(place, random.uniform(0.0, self.beat_s))
        if answer.commands_pending:
            answered = one.obey()
            self.figures.answered_at += [time.time()] * answered
        if answer.release is not None and answer.release > one.release:
            if random.random() < LOADING_SHARE:
                self.figures.loaded += load_target(self.order)
            one.update(answer.release)
            self.add("beat", place, RESTART_SECONDS / self.pace)
        elif one.release > 1 and place not in self.updated:
            # The base has heard that it runs.
            self.updated.add(place)
            self.figures.updated_at.append(time.time())

    def close_idle(self) -> None:
        """Close what the gateway has closed; a real sensor does so at its next request."""
        while True:
            time.sleep(0.5)
            before = time.monotonic() - IDLE_SECONDS
            while self.used and self.used[0][0] < before:
                _, place = self.used.popleft()
                with self.locks[place]:
                    if self.used_at[place] < before:
                        self.sensors[place].uplink.close()

    # ── windows ──────────────────────────────────────────────────────────────
    def last_end(self, place: int, now_us: int) -> int:
        """Give the last end of a window at or before now, as far as windows lag behind."""
        at_us = now_us - self.lag_us
        return at_us - (at_us - self.phases_us[place]) % self.window_us

    def until_next(self, place: int, now_us: int) -> float:
        return (self.last_end(place, now_us) + self.window_us - (now_us - self.lag_us)) / 1e6 + 0.002


def main() -> int:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    swarm = Swarm(json.loads(Path(sys.argv[1]).read_text()))
    print(json.dumps({"ready": len(swarm.sensors)}), flush=True)
    for line in sys.stdin:
        told = json.loads(line)
        match told.pop("do"):
            case "begin":
                answer = swarm.begin(**told)
            case "factor":
                answer = swarm.set_factor(**told)
            case "outage":
                answer = swarm.cut()
            case "reconnect":
                answer = swarm.reconnect()
            case "seen":
                answer = swarm.see()
            case "told":
                answer = swarm.tell()
            case _:
                print(json.dumps(swarm.end(**told)), flush=True)
                break
        print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
