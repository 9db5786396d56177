"""A wire of its own for a test: two network namespaces, a veth between them, a sensor on one end.

``scanner`` has 192.0.2.1 and 2001:db8::1, ``host`` (the sensor's) 192.0.2.2 and 2001:db8::2.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from teiten.foundation.clock import SystemClock
from teiten.protocol import batch, enrolment, keys
from teiten.protocol.batch import Batch
from teiten.protocol.sensor_config import SensorConfig
from teiten.sensor.outbox import Outbox
from teiten.sensor.recording import phase_of
from teiten.sensor.state import GatewaySettings, StateFolder
from teiten.sensor.windows import WindowRules

SENSOR = 7
HOST4, HOST6 = "192.0.2.2", "2001:db8::2"
_numbers = itertools.count()


def needs_wire(*tools: str) -> list[pytest.MarkDecorator]:
    """Marks for a test that needs root and these programs."""
    missing = [tool for tool in ("ip", *tools) if shutil.which(tool) is None]
    return [
        pytest.mark.root,
        pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces and raw sockets need root"),
        pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}"),
    ]


def command(*words: str, accepted: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode in accepted, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


class Wire:
    """Two namespaces and what runs in them."""

    def __init__(self) -> None:
        name = f"sn-{os.getpid()}-{next(_numbers)}"
        self.scanner, self.host = f"{name}-a", f"{name}-b"
        self._started: list[subprocess.Popen[bytes]] = []

    def open(self) -> None:
        command("ip", "netns", "add", self.scanner)
        command("ip", "netns", "add", self.host)
        command("ip", "-n", self.host, "link", "set", "lo", "up")
        self.connect()

    def connect(self) -> None:
        """Make the veth and give it its addresses."""
        # Ends with unlike numbers: the kernel tells of a carrier at once only where a link's peer has another
        # number than itself (linkwatch_urgent_event in net/core/link_watch.c), otherwise up to a second later.
        make = ("link", "add", "v0", "index", "10", "type", "veth", "peer", "name", "v1", "netns", self.host)
        command("ip", "-n", self.scanner, *make)
        for namespace, name, last in ((self.scanner, "v0", "1"), (self.host, "v1", "2")):
            inside = ("ip", "-n", namespace)
            command(*inside, "addr", "add", f"192.0.2.{last}/24", "dev", name)
            command(*inside, "addr", "add", f"2001:db8::{last}/64", "dev", name, "nodad")
            command(*inside, "link", "set", name, "up")
            if shutil.which("ethtool"):
                command("ip", "netns", "exec", namespace, "ethtool", "-K", name, "tso", "off", "gso", "off")

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait()
        for namespace in (self.scanner, self.host):
            subprocess.run(("ip", "netns", "del", namespace), capture_output=True, check=False)

    @property
    def host_mac(self) -> str:
        return command("ip", "netns", "exec", self.host, "cat", "/sys/class/net/v1/address").strip()

    def scan(self, *words: str) -> str:
        """Run a program on the scanner's side to its end; hping3 answers 1 when nobody replied."""
        return command("ip", "netns", "exec", self.scanner, *words, accepted=(0, 1))

    def start(self, *words: str, output: Path | None = None) -> subprocess.Popen[bytes]:
        """Start a program on the sensor's side."""
        with contextlib.ExitStack() as stack:
            out = stack.enter_context(output.open("ab")) if output else subprocess.DEVNULL
            process = subprocess.Popen(("ip", "netns", "exec", self.host, *words), stdout=out, stderr=out)
        self._started.append(process)
        return process

    def start_sensor(self, state: Path, *words: str, verb: str = "record") -> subprocess.Popen[bytes]:
        """Start a real sensor and wait until it watches."""
        (state / "capture.json").unlink(missing_ok=True)
        process = self.start(
            sys.executable,
            "-m",
            "teiten.sensor.main",
            verb,
            "--state-dir",
            str(state),
            "--interface",
            "v1",
            *words,
            output=state / "sensor.log",
        )
        wait_until(
            lambda: process.poll() is not None or bool(read_status(state).get("watched")),
            (state / "sensor.log").read_text,
        )
        return process

    def send(self, packets: list[bytes]) -> None:
        """Put Ethernet payloads (from the IP header on) onto the wire from the scanner's side."""
        send_raw(self.scanner, "v0", self.host_mac, packets)


@contextlib.contextmanager
def open_wire() -> Iterator[Wire]:
    wire = Wire()
    try:
        wire.open()
        yield wire
    finally:
        wire.close()


def make_state(
    folder: Path,
    *,
    gateway: GatewaySettings | None = None,
    settings: str = "",
    status_seconds: float = 0.1,
) -> Path:
    """Make a state folder that is enrolled with nobody, and its settings file."""
    state = StateFolder(folder / "state")
    state.make_key()
    gateway_key = enrolment.GatewayKey("gw-test", keys.public_bytes(keys.generate_key()))
    answer = enrolment.EnrolAnswer(SENSOR, 1, 1, (gateway_key,), 0, SensorConfig())
    state.save_identity(answer, gateway or GatewaySettings("https://127.0.0.1:9", "", ("00" * 32,), ""))
    (state.path / "sensor.toml").write_text(
        f"[sensor]\nstatus_seconds = {status_seconds}\nwindow_seconds = {choose_window_seconds()}\n"
        f"first_connect_seconds = 0\nmin_free_bytes = 0\n{settings}\n"
    )
    return state.path


def choose_window_seconds() -> int:
    """Give a length of windows whose next boundary is far: one in a test would make two batches of one.

    Boundaries lie at the sensor's own phase of the length, so that another length has them elsewhere.
    """
    now_us = SystemClock().now_us()

    def ends_in_us(seconds: int) -> int:
        phase_us = phase_of(SENSOR, seconds)
        return WindowRules(seconds * 1_000_000, phase_us).next_boundary_us(now_us) - now_us

    return max(range(3_500, 3_601), key=ends_in_us)


def stop(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(20)


def read_status(state: Path) -> dict:
    return StateFolder(state).read_json("capture.json")


def read_batches(state: Path) -> list[Batch]:
    """Give every batch that waits in the spool, decoded, oldest first."""
    outbox = Outbox(state / "spool")
    return [batch.decode(outbox.load(name).body) for name in outbox.list_waiting()]


def wait_until(
    holds: Callable[[], bool], explain: Callable[[], str] = lambda: "", seconds: float = 20.0
) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {explain()}"
        time.sleep(0.02)


def send_raw(namespace: str, interface: str, mac: str, packets: list[bytes]) -> None:
    """Send from a thread that has entered the namespace, so that this process stays where it is."""
    failures: list[OSError] = []

    def run() -> None:
        try:
            enter(namespace)
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
                out.bind((interface, 0))
                for packet in packets:
                    kind = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00"
                    out.send(bytes.fromhex(mac.replace(":", "")) + b"\x02\0\0\0\0\x01" + kind + packet)
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert not failures, failures


def enter(namespace: str) -> None:
    """Move the calling thread into a network namespace (setns(2))."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(f"/var/run/netns/{namespace}", os.O_RDONLY)
    try:
        if libc.setns(descriptor, 0x40000000) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(descriptor)
