"""An installation to be tortured: real processes in a folder of their own, killed and counted from outside."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from torture_content import WINDOW_US, Sums, expect

HERE = Path(__file__).parent
_JST_OFFSET_US = 9 * 3_600_000_000
_DAY_US = 86_400_000_000
#: Generous: the machine may be busy with other tests.
START_SECONDS = 60.0
#: What other developers' settings must not reach.
_OURS = {name: value for name, value in os.environ.items() if not name.startswith(("TEITEN_", "DJANGO_"))}


@dataclass
class Torture:
    """One installation, its senders, and everything that was started for it."""

    folder: Path
    sensors: tuple[str, ...]
    settings: str = ""
    #: Settings in which time is short, so that storms are too.
    is_hurried: bool = True
    #: How long a sender rests after each batch.
    pause_seconds: float = 0.02
    #: Put before the command of `up`, for example ``("ip", "netns", "exec", "x")``.
    prefix: tuple[str, ...] = ()
    order: dict[str, Any] = field(default_factory=dict)
    up: subprocess.Popen[bytes] | None = None
    senders: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def config(self) -> Path:
        return self.folder / "teiten.toml"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def order_file(self) -> Path:
        return self.folder / "order.json"

    @property
    def log(self) -> Path:
        return self.folder / "up.log"

    # ── making ───────────────────────────────────────────────────────────────
    def build(self) -> None:
        """Write the settings."""
        portal, gateway, metrics = find_free_ports(3)
        self.portal_port, self.metrics_port = portal, metrics
        self.folder.chmod(0o755)
        self.config.write_text(
            SETTINGS.format(data=self.data, portal=portal, gateway=gateway, metrics=metrics)
            + (HURRY if self.is_hurried else "")
            + self.settings
        )

    def make_sensors(self) -> None:
        """Begin with what was made before, enter the sensors, and write the order for their senders."""
        made, analysts = make_data()
        self.data.mkdir(exist_ok=True)
        # Files of PostgreSQL belong to another user.
        subprocess.run(["cp", "--archive", f"{made}/.", str(self.data)], check=True)
        told = json.loads(self.run_script("prepare.py", "--config", self.config, *self.sensors))
        # The windows run over a midnight of the installation's zone.
        midnight_us = (time.time_ns() // 1000 + _JST_OFFSET_US) // _DAY_US * _DAY_US - _JST_OFFSET_US
        self.order = {
            **told,
            "api_tokens": analysts,
            "folder": str(self.folder / "senders"),
            "base_us": midnight_us - 60 * WINDOW_US,
            "pause_seconds": self.pause_seconds,
            "deaf_batches": 40,
        }
        (self.folder / "senders").mkdir()
        self.order_file.write_text(json.dumps(self.order))

    def run_script(self, script: str, *words: object, timeout_seconds: float = 120.0) -> str:
        """Run one of our scripts to its end and give what it printed."""
        done = subprocess.run(
            [sys.executable, str(HERE / script), *map(str, words)],
            capture_output=True,
            text=True,
            env=_OURS,
            timeout=timeout_seconds,
            check=False,
        )
        assert done.returncode == 0, f"{script} failed: {done.stderr[-3000:]}"
        return done.stdout

    def command(self, *words: object, program: str = "teiten.cli.main", given: str = "") -> tuple[int, str]:
        """Run a verb of `teiten` (or another program) to its end; give exit code and what it said."""
        options = ["--config", str(self.config)] if program == "teiten.cli.main" else []
        done = subprocess.run(
            [sys.executable, "-m", program, *options, *map(str, words)],
            capture_output=True,
            text=True,
            input=given,
            env=_OURS,
            timeout=600,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    # ── running ──────────────────────────────────────────────────────────────
    def begin_up(self, *, point: str = "", passes: int = 1) -> None:
        """Start ``teiten up``, or the one that dies at a point."""
        words = ["-m", "teiten.cli.main", "--config", str(self.config), "up"]
        if point:
            script = str(HERE / "up_that_dies.py")
            words = [script, "--config", str(self.config), "--point", point, "--passes", str(passes)]
        self._log_from = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.up = subprocess.Popen(
                [*self.prefix, sys.executable, *words], stdout=log, stderr=log, env=_OURS
            )

    def start_up(self, *, point: str = "", passes: int = 1) -> None:
        """Start it and wait until it serves."""
        self.begin_up(point=point, passes=passes)
        wait_until(
            lambda: self.up_has_ended() or self.is_ready(), f"`up` to serve; see {self.log}", START_SECONDS
        )
        assert point or not self.up_has_ended(), (
            f"`up` did not start; see {self.log}: {self.log.read_text()[-1500:]}"
        )

    def up_has_ended(self) -> bool:
        return self.up is None or self.up.poll() is not None

    def is_ready(self) -> bool:
        if self.prefix:
            # Its ports cannot be reached from here.
            return b"\nready\n" in self.log.read_bytes()[self._log_from :]
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.portal_port), 0.5):
            return True
        return False

    def wait_for_death(self, timeout_seconds: float = 40.0) -> None:
        """Wait until the process has killed itself at its point."""
        wait_until(self.up_has_ended, "`up` to die at its point", timeout_seconds)
        assert self.up is not None
        assert self.up.returncode == -signal.SIGKILL, f"`up` ended with {self.up.returncode}; see {self.log}"

    def kill_up(self) -> None:
        assert self.up is not None
        self.up.kill()
        self.up.wait()

    def stop_up(self) -> int:
        """Ask `up` to end and give its exit code."""
        assert self.up is not None
        self.up.terminate()
        return self.up.wait(START_SECONDS)

    def start_sender(self, mode: str = "send", *names: str) -> subprocess.Popen[bytes]:
        words = [str(HERE / "sender.py"), mode, str(self.order_file), *(["--names", *names] if names else [])]
        return self._start_sending(words)

    def start_upload(self, name: str) -> subprocess.Popen[bytes]:
        """Start the real sending process over a spool."""
        state = Path(self.order["folder"]) / name
        settings = self.folder / f"{name}.toml"
        settings.write_text(UPLOAD_SETTINGS)
        words = ["-m", "teiten.sensor.main", "upload", "--config", str(settings), "--state-dir", str(state)]
        return self._start_sending(words)

    def _start_sending(self, words: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / "senders.log").open("ab") as log:
            process = subprocess.Popen([sys.executable, *words], stdout=log, stderr=log, env=_OURS)
        self.senders.append(process)
        return process

    def end_sender(self, process: subprocess.Popen[bytes]) -> None:
        """Kill one sender; it must still have been running, or have done its work."""
        assert process.poll() in (None, 0), (
            f"a sender gave up: {(self.folder / 'senders.log').read_text()[-2000:]}"
        )
        process.kill()
        process.wait()
        self.senders.remove(process)

    # ── PostgreSQL ───────────────────────────────────────────────────────────
    def database_process(self) -> int:
        return int((self.data / "postgres" / "postmaster.pid").read_text().split("\n")[0])

    def kill_database(self) -> None:
        """Kill the postmaster alone; its children end when they notice."""
        os.kill(self.database_process(), signal.SIGKILL)

    def is_database_back(self, killed: int) -> bool:
        """Tell whether another process serves in the place of a killed one."""
        with contextlib.suppress(OSError, ValueError, psycopg.Error):
            return self.database_process() != killed and self.count_landed() >= 0
        return False

    def ask_ledger(self, sql: str) -> list[tuple[Any, ...]]:
        lines = (self.data / "postgres" / "postmaster.pid").read_text().split("\n")
        url = f"host={lines[4]} port={lines[3]} user=postgres dbname=postgres connect_timeout=5"
        with psycopg.connect(url) as connection:
            return connection.execute(sql).fetchall()

    def count_waiting(self) -> int:
        sql = "SELECT count(*) FROM landing.batches WHERE state IN ('landed', 'loading')"
        return int(self.ask_ledger(sql)[0][0])

    def count_landed(self) -> int:
        return int(self.ask_ledger("SELECT count(*) FROM landing.batches")[0][0])

    def ask_api(self, call: str, *, person: int = 0, **parameters: object) -> Any:
        """Ask the API over HTTP and give its JSON."""
        words = urllib.parse.urlencode(parameters)
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.portal_port}/api/v1/{call}?{words}",
            headers={"Authorization": f"Bearer {self.order['api_tokens'][person]}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(
                f"{call} {parameters}: {error.code} {error.read().decode()[:500]}"
            ) from error

    # ── the end of a storm ───────────────────────────────────────────────────
    def drain(self, timeout_seconds: float = 120.0) -> None:
        """Let every sender reach one number beyond what was reached, and the loader everything."""
        for process in list(self.senders):
            self.end_sender(process)
        if self.up_has_ended():
            self.start_up()
        for one in self.order["sensors"]:
            self.target_of(one["name"]).write_text(str(self.highest_seq(one) + 3))
        direct = [one["name"] for one in self.order["sensors"] if one["name"].startswith("direct")]
        spooled = [one["name"] for one in self.order["sensors"] if one["name"].startswith("spool")]
        waiting = [self.start_sender("send", *direct)] if direct else []
        waiting += [self.start_sender("fill", *spooled)] if spooled else []
        uploads = [self.start_upload(name) for name in spooled]
        for process in waiting:
            assert process.wait(timeout_seconds) == 0, (
                f"a sender failed: {(self.folder / 'senders.log').read_text()[-2000:]}"
            )
            self.senders.remove(process)
        wait_until(
            lambda: not any(self.list_spooled(name) for name in spooled),
            "the spools to empty",
            timeout_seconds,
        )
        for process in uploads:
            self.end_sender(process)
        wait_until(lambda: self.count_waiting() == 0, "the loader to load everything", timeout_seconds)
        for one in self.order["sensors"]:
            self.target_of(one["name"]).unlink()

    def list_spooled(self, name: str) -> list[str]:
        ready = Path(self.order["folder"]) / name / "spool" / "ready"
        return [path.name for path in ready.iterdir()]

    def read_journal(self, name: str) -> list[tuple[int, int, int, str]]:
        """Give (sensor, epoch, seq, digest) of what a sender has written down."""
        sender = Path(self.order["folder"])
        path = next(
            (p for p in (sender / f"{name}.receipts", sender / f"{name}.spooled") if p.exists()), None
        )
        if path is None:
            return []
        lines = path.read_bytes()[: path.read_bytes().rfind(b"\n") + 1].splitlines()
        return [tuple(json.loads(line)[:4]) for line in lines]

    def target_of(self, name: str) -> Path:
        """Give the file that tells a sender at which number to end."""
        return Path(self.order["folder"]) / f"{name}.target"

    def highest_seq(self, sensor: dict[str, Any]) -> int:
        """Give the highest number that a sensor has used, as far as anybody knows."""
        number = int(sensor["sensor"])
        rows = self.ask_ledger(f"SELECT coalesce(max(seq), 0) FROM landing.batches WHERE sensor = {number}")
        return max([int(rows[0][0]), *(line[2] for line in self.read_journal(sensor["name"]))])

    def check(self) -> dict[str, Any]:
        """Stop, count everything that is stored, and compare it with everything that was receipted."""
        if not self.up_has_ended():
            assert self.stop_up() == 0, f"`up` did not end cleanly; see {self.log}"
        found = json.loads(self.run_script("examine.py", "--config", self.config))
        compare(self, found)
        return found

    def close(self) -> None:
        """End every process that was started for this installation."""
        for process in [*self.senders, *([self.up] if self.up else [])]:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
            os.kill(self.database_process(), signal.SIGINT)


def compare(torture: Torture, found: dict[str, Any]) -> None:
    """Fail unless receipts, ledger, raw rows, roll-ups and coverage all say the same.

    Raises:
        AssertionError: naming what is lost or doubled.
    """
    receipted = {line for one in torture.order["sensors"] for line in torture.read_journal(one["name"])}
    ledger = {tuple(row[:4]) for row in found["ledger"]}
    names = {row[:3] for row in ledger}
    assert not receipted - ledger, f"receipted and not in the ledger: {sorted(receipted - ledger)[:5]}"
    assert all(row[5] == 1 for row in found["ledger"]), "a batch is in the ledger twice"
    assert len(names) == len(ledger), "two digests under one number"
    states = {row[4] for row in found["ledger"]}
    assert states <= {"loaded"}, f"batches are left in {states}"
    coverage = {tuple(row[:3]): row[3:] for row in found["coverage"]}
    assert coverage.keys() == names, (
        f"lost in coverage: {sorted(names - coverage.keys())[:5]}, not landed: {sorted(coverage.keys() - names)[:5]}"
    )
    assert all(n == 1 for n, _rows in coverage.values()), "a batch is covered twice"
    stored = {tuple(row[:3]): row[3:] for row in found["batches"]}
    total = compare_rows(torture, names, stored)
    assert found["packets"] == total
    assert found["rollups"] == dict.fromkeys(found["rollups"], total)
    coverage_sums = (found["coverage_rows"], found["coverage_batches"])
    assert coverage_sums == (total, len(names)), found["differences"][:5]
    assert abs(found["address_seconds"] - len(names) * WINDOW_US / 1e6) < 1e-3
    assert found["differences"] == []


def compare_rows(torture: Torture, names: set[tuple[int, int, int]], stored: dict[Any, list[int]]) -> int:
    """Compare each batch's rows with what its sender sent; give the number of all rows."""
    total = 0
    for sensor, epoch, seq in sorted(names):
        wanted = expect(sensor, seq, torture.order["base_us"])
        n, distinct, *sums = stored.pop((sensor, epoch, seq), [0, 0, 0, 0, 0, 0])
        assert n == distinct, f"batch {sensor}/{epoch}/{seq}: {n} rows, {distinct} distinct"
        assert Sums(n, *sums) == wanted, f"batch {sensor}/{epoch}/{seq}: {Sums(n, *sums)}, sent {wanted}"
        total += n
    assert not stored, f"rows of batches that never landed: {list(stored)[:5]}"
    return total


@contextlib.contextmanager
def tortured(
    folder: Path,
    *sensors: str,
    settings: str = "",
    is_first_start: bool = False,
    is_hurried: bool = True,
    pause_seconds: float = 0.02,
) -> Iterator[Torture]:
    """Give an installation with these sensors (``NAME:DATASET``); names say how they send: direct…, spool….

    With ``is_first_start`` nothing has been started over the folder yet, and there are no sensors.
    """
    house = Torture(folder, sensors, settings, is_hurried, pause_seconds)
    try:
        house.build()
        if not is_first_start:
            house.make_sensors()
        yield house
    finally:
        house.close()


@cache
def make_data() -> tuple[Path, list[str]]:
    """Make the data folder of an installation with four analysts and no sensors, once a process.

    Returns:
        The folder, with databases and store migrated, and the analysts' API tokens.
    """
    folder = Path(tempfile.mkdtemp(prefix="torture-made-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    house = Torture(folder, ())
    house.build()
    told = json.loads(
        house.run_script("prepare.py", "--config", house.config, "--with-store", "--analysts", 4)
    )
    return house.data, told["api_tokens"]


def wait_until(
    is_so: Callable[[], bool], what: str, timeout_seconds: float = 30.0, *, pause_seconds: float = 0.05
) -> None:
    """Wait for something, and look again after each pause.

    Raises:
        AssertionError: when it does not come.
    """
    end = time.monotonic() + timeout_seconds
    while not is_so():
        assert time.monotonic() < end, f"waited {timeout_seconds:.0f} s in vain for {what}"
        time.sleep(pause_seconds)


def find_free_ports(count: int) -> list[int]:
    """Give free ports below those that the system hands out by itself."""
    found: list[int] = []
    while len(found) < count:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            if port not in found:
                found.append(port)
    return found


SETTINGS = """
[site]
data_dir = "{data}"

[portal]
port = {portal}

[gateway]
port = {gateway}
metrics_port = {metrics}
"""

HURRY = """retry_seconds = 1

[landing]
min_free_bytes = 0
retry_seconds = 1
lease_seconds = 5
segment_bytes = 1000000
watch_seconds = 0.5

[loader]
backoff_seconds = 1.0
pace_seconds = 0.2
"""

UPLOAD_SETTINGS = """
[sensor]
first_connect_seconds = 0.0
backoff_min_seconds = 0.1
backoff_max_seconds = 0.5
heartbeat_seconds = 2.0
poll_seconds = 0.1
timeout_seconds = 5.0
"""
