"""Real scanners at a public address whose packets a router turns to a local one: hints as if they had come directly.

``scanner`` (192.0.2.1) — ``router``, which watches 203.0.113.7 and turns it to 10.0.0.5 — ``host`` (10.0.0.5). The same
packets are recorded twice: on the router's outer side as a direct sensor sees them, and on the host.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from sensor_wire import (
    SENSOR,
    Wire,
    command,
    make_state,
    needs_wire,
    read_batches,
    read_status,
    stop,
    wait_until,
)
from teiten.landing.blocks import Member
from teiten.loader.reference import NONE, ReferenceData
from teiten.loader.tables import build_packets
from teiten.loader.testing import StandingPeriod, make_period
from teiten.loader.verifying import Verified
from teiten.protocol.batch import Batch
from teiten.traffic.addresses import from_text
from teiten.traffic.hints import Hint

pytestmark = [*needs_wire("nft", "masscan", "nmap", "zmap", "hping3"), pytest.mark.requirement("R1.1")]

PUBLIC, LOCAL, GATE = "203.0.113.7", "10.0.0.5", "192.0.2.254"
NMAP, MASSCAN, ZMAP, MIRAI = "192.0.2.1", "192.0.2.13", "192.0.2.14", "192.0.2.15"
COMPUTED = Hint.MIRAI | Hint.MASSCAN_OLD | Hint.MASSCAN_NEW


class TranslatedWire(Wire):
    """A scanner, a router that does 1:1 NAT, and the sensor's host behind it."""

    def open(self) -> None:
        self.router = self.host.removesuffix("-b") + "-r"
        for namespace in (self.scanner, self.router, self.host):
            command("ip", "netns", "add", namespace)
            command("ip", "-n", namespace, "link", "set", "lo", "up")
        self._link(self.scanner, "v0", "192.0.2.1/24", self.router, "r0", f"{GATE}/24")
        self._link(self.host, "v1", f"{LOCAL}/24", self.router, "r1", "10.0.0.1/24")
        command("ip", "-n", self.scanner, "route", "add", f"{PUBLIC}/32", "via", GATE)
        command("ip", "-n", self.host, "route", "add", "default", "via", "10.0.0.1")
        command("ip", "netns", "exec", self.router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        for words in (
            "add table ip nat",
            "add chain ip nat prerouting { type nat hook prerouting priority -100 ; }",
            f"add rule ip nat prerouting ip daddr {PUBLIC} dnat to {LOCAL}",
        ):
            command("ip", "netns", "exec", self.router, "nft", words)

    def _link(
        self, one: str, name: str, address: str, other: str, other_name: str, other_address: str
    ) -> None:
        command(
            "ip", "-n", one, "link", "add", name, "type", "veth", "peer", "name", other_name, "netns", other
        )
        for namespace, device, own in ((one, name, address), (other, other_name, other_address)):
            command("ip", "-n", namespace, "addr", "add", own, "dev", device)
            command("ip", "-n", namespace, "link", "set", device, "up")

    def close(self) -> None:
        super().close()
        subprocess.run(("ip", "netns", "del", self.router), capture_output=True, check=False)

    def record(self, namespace: str, interface: str, state: Path, observed: str) -> subprocess.Popen[bytes]:
        self.host, own = namespace, self.host
        try:
            words = (sys.executable, "-m", "teiten.sensor.main", "record", "--state-dir", str(state))
            process = self.start(
                *words, "--interface", interface, "--observed", observed, "--config", str(state / "sensor.toml"),
                output=state / "sensor.log",
            )  # fmt: skip
        finally:
            self.host = own
        wait_until(
            lambda: process.poll() is not None or bool(read_status(state).get("watched")),
            (state / "sensor.log").read_text,
        )
        return process


@dataclass
class Recorded:
    """The same scans, before and behind the translation."""

    direct: list[Batch]
    behind: list[Batch]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    states = [make_state(tmp_path_factory.mktemp(name)) for name in ("direct", "behind")]
    wire = TranslatedWire()
    try:
        wire.open()
        sensors = [
            wire.record(wire.router, "r0", states[0], f"{PUBLIC}/32"),
            wire.record(wire.host, "v1", states[1], f"{LOCAL}/32"),
        ]
        scan_with_each(wire)
        time.sleep(0.5)
        assert [stop(sensor) for sensor in sensors] == [0, 0]
        yield Recorded(*(read_batches(state) for state in states))
    finally:
        wire.close()


def scan_with_each(wire: TranslatedWire) -> None:
    mac = command("ip", "netns", "exec", wire.router, "cat", "/sys/class/net/r0/address").strip()
    wire.scan("nmap", "-sS", "-Pn", "-n", "-T4", "-p", "1-100", PUBLIC)
    masscan = ("masscan", PUBLIC, "-p1-100", "--rate", "2000", "--wait", "0", "-e", "v0")
    wire.scan(*masscan, "--source-ip", MASSCAN, "--router-mac", mac.replace(":", "-"))
    for port in range(80, 90):
        zmap = (
            "zmap",
            "-p",
            str(port),
            f"{PUBLIC}/32",
            "-i",
            "v0",
            "-S",
            ZMAP,
            "-G",
            mac,
            "-B",
            "1M",
            "-c",
            "0",
        )
        wire.scan(*zmap, "-b", "/dev/null", "-o", "/dev/null", "-q", "-e", "2")
    number = str(int.from_bytes(from_text(PUBLIC)[12:], "big"))
    wire.scan("hping3", "-q", "-S", "-c", "50", "-i", "u2000", "-p", "++1", "-M", number, "-a", MIRAI, PUBLIC)


def hints_of(batches: list[Batch], *periods: StandingPeriod) -> dict[tuple[str, int, int], int]:
    """Give (source, destination port, sequence number) → hints, as the loader stores them."""
    verified = [
        Verified(Member(SENSOR, 1, 1, one.header.seq, b"", b"", 0, 0, "", 0), one, "kanto", periods)
        for one in batches
    ]
    rows = build_packets(verified, ReferenceData(NONE, None, None, None))
    sources = [bytes(value).hex() for value in rows["src_addr"].to_pylist()]
    names = (rows[name].to_pylist() for name in ("dst_port", "tcp_seq", "hints", "tcp_flags"))
    return {
        (source, port, seq): bits
        for source, port, seq, bits, flags in zip(sources, *names, strict=True)
        if flags == 2
    }


def of_source(hints: dict[tuple[str, int, int], int], source: str) -> list[int]:
    return [bits for (one, _, _), bits in hints.items() if one == from_text(source).hex()]


def test_it_works(recorded: Recorded) -> None:
    direct = hints_of(recorded.direct)

    behind = hints_of(recorded.behind, make_period(LOCAL, PUBLIC))

    assert behind == direct
    wanted = {
        NMAP: (100, Hint.NMAP_SYN),
        MASSCAN: (100, Hint.MASSCAN_OLD | Hint.MASSCAN_NEW),
        ZMAP: (10, Hint.ZMAP_OLD | Hint.ZMAP_NEW),
        MIRAI: (50, Hint.MIRAI),
    }
    for source, (least, hint) in wanted.items():
        found = of_source(behind, source)
        assert len(found) >= least, source
        assert all(bits & hint and not bits & Hint.NOT_COMPUTABLE for bits in found), source


@pytest.mark.parametrize("ended", [False, True], ids=["no mapping", "a mapping that ended before"])
def test_without_a_mapping_nobody_can_tell(recorded: Recorded, ended: bool) -> None:
    start_us = min(one.header.window_start_us for one in recorded.behind)
    periods = (make_period(LOCAL, PUBLIC, to_us=start_us),) if ended else ()

    behind, direct = hints_of(recorded.behind, *periods), hints_of(recorded.direct)

    assert behind.keys() == direct.keys()
    assert len(behind) >= 260
    assert all(bits & Hint.NOT_COMPUTABLE for bits in behind.values()), "never a no"
    assert not any(bits & COMPUTED for bits in behind.values())
    rest = ~int(COMPUTED | Hint.NOT_COMPUTABLE) & 0xFFFFFFFF
    assert {key: bits & rest for key, bits in behind.items()} == {
        key: bits & rest for key, bits in direct.items()
    }


def test_a_mapping_that_ends_between_the_scans_parts_them(recorded: Recorded) -> None:
    times = np.sort(np.concatenate([one.columns["observed_at"] for one in recorded.behind]))
    middle_us = int(times[times.size // 2])

    bits = list(hints_of(recorded.behind, make_period(LOCAL, PUBLIC, to_us=middle_us)).values())

    unknown = sum(bool(one & Hint.NOT_COMPUTABLE) for one in bits)
    assert 0 < unknown < len(bits)
