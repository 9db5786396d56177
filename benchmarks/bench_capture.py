"""Benchmark ``capture``: a flood over veth into our sensor and into its peers.

Ours is the whole recording process: ring, parser, exclusion, windows, seal and spool.
The peers record (tcpdump -w, dumpcap) or decode (tcpdump text, tshark fields); each gets
the same flood on the same wire, one after the other, in several rounds.

Apart from that, a flood of long packets whose payloads are all new, with payload kept: with
examples (at most as many a window as ever) and without, on the same wire.

Needs root (network namespaces); the sender is netsniff-ng's trafgen when installed,
else slow Python processes. ``BENCH_SMALL=1`` runs a short form.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from capture_peers import Peer, list_peers
from capture_traffic import LONG, Flood, make_syn
from sensor_wire import HOST4, Wire, enter, make_state, open_wire, read_status, wait_until
from teiten.sensor.exclusion import Exclusion, parse_peer
from teiten.sensor.prefixes import PrefixSet, parse_network
from teiten.sensor.ring import Ring
from teiten.sensor.staging import Staging
from teiten.traffic.parse import parse_packets

SMALL = os.environ.get("BENCH_SMALL") == "1"
ROUNDS = 1 if SMALL else 3
FLOOD_PACKETS = 100_000 if SMALL else 800_000
LONG_PACKETS = FLOOD_PACKETS // 2
QUIET_SECONDS = 4.0 if SMALL else 20.0
QUIET_RATE = 50
DRAIN_SLOTS = 65_536 if SMALL else 262_144
SETTLE_SECONDS = 60.0
#: Payload examples a window, as by default.
EXAMPLES = 8


@dataclass
class Reading:
    """One flood into one program."""

    pps: float
    captured: int
    drops: int
    us_per_packet: float
    rss_mb: float


def cpu_seconds(pids: list[int]) -> float:
    """Give the CPU time of all threads of these processes (schedstat, ns)."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            total += int(task.read_text().split()[0])
    return total / 1e9


def peak_mb(pids: list[int]) -> float:
    peaks = [re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()) for pid in pids]
    return max(int(found[1]) for found in peaks if found) * 1024 / 1e6


def family_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(member for child in children for member in family_of(int(child)))]


def settle(pids: list[int]) -> None:
    """Wait until these processes have nothing more to do."""
    deadline = time.monotonic() + SETTLE_SECONDS
    before = -1.0
    while time.monotonic() < deadline:
        now = cpu_seconds(pids)
        if now - before < 0.01:
            return
        before = now
        time.sleep(0.5)


def measure(
    flood: Flood, pids: list[int], count: Callable[[], tuple[int, int]], *, packets: int = FLOOD_PACKETS
) -> Reading:
    """Flood a running program; ``count`` stops it and gives (captured, dropped)."""
    before = cpu_seconds(pids)
    offered = flood.run(packets)
    settle(pids)
    spent, peak = cpu_seconds(pids) - before, peak_mb(pids)
    captured, drops = count()
    return Reading(
        pps=offered * min(1.0, captured / packets),
        captured=captured,
        drops=drops,
        us_per_packet=spent / max(1, captured) * 1e6,
        rss_mb=peak,
    )


@contextmanager
def running_sensor(wire: Wire, folder: Path, settings: str = "") -> Iterator[tuple[int, Path]]:
    state = make_state(Path(tempfile.mkdtemp(dir=folder)), status_seconds=2.0, settings=settings)
    process = wire.start_sensor(state, "--config", str(state / "sensor.toml"))
    time.sleep(1.0)
    try:
        yield process.pid, state
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def counts_of(state: Path) -> tuple[int, int]:
    time.sleep(3.0)
    packets = read_status(state)["packets"]
    return packets["captured"], packets["kernel_drops"]


def measure_ours(wire: Wire, flood: Flood, folder: Path) -> Reading:
    with running_sensor(wire, folder) as (pid, state):
        return measure(flood, family_of(pid), lambda: counts_of(state))


def measure_long(wire: Wire, folder: Path, *, examples: int) -> Reading:
    """Flood with long packets of new payloads, with payload kept and as many examples a window."""
    settings = f"payload_bytes = 64\nexamples_per_window = {examples}"
    flood = Flood(wire, folder, kind=LONG)
    with running_sensor(wire, folder, settings) as (pid, state):
        return measure(flood, family_of(pid), lambda: counts_of(state), packets=LONG_PACKETS)


def measure_peer(wire: Wire, flood: Flood, folder: Path, peer: Peer) -> Reading:
    said = folder / f"{peer.name}.err"
    said.write_text("")
    with said.open("wb") as errors:
        process = subprocess.Popen(
            ("ip", "netns", "exec", wire.host, *peer.command), stdout=subprocess.DEVNULL, stderr=errors
        )
    wait_until(lambda: peer.ready in said.read_text(), said.read_text)
    time.sleep(0.7)

    def finish() -> tuple[int, int]:
        process.send_signal(signal.SIGINT)
        process.wait(SETTLE_SECONDS)
        text = said.read_text()
        captured, dropped = peer.captured.search(text), peer.dropped.search(text)
        return int(captured[1]) if captured else 0, int(dropped[1]) if dropped else 0

    try:
        return measure(flood, family_of(process.pid), finish)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def measure_burst(wire: Wire, flood: Flood, folder: Path) -> tuple[float, int]:
    """From silence to the sender's maximum for about a second: (offered pps, drops)."""
    with running_sensor(wire, folder) as (pid, state):
        time.sleep(2.0)
        offered = flood.run(FLOOD_PACKETS // 2)
        settle([pid])
        return offered, counts_of(state)[1]


def measure_quiet(wire: Wire, folder: Path) -> float:
    """Give the per cent of a core that recording takes at 50 packets/s."""
    packet, stop = [make_syn(1)], threading.Event()

    def trickle() -> None:
        while not stop.wait(1 / QUIET_RATE):
            wire.send(packet)

    with running_sensor(wire, folder) as (pid, _state):
        sender = threading.Thread(target=trickle)
        sender.start()
        time.sleep(1.0)
        before, start = cpu_seconds([pid]), time.monotonic()
        time.sleep(QUIET_SECONDS)
        spent = (cpu_seconds([pid]) - before) / (time.monotonic() - start)
        stop.set()
        sender.join()
    return spent * 100


def measure_drain(wire: Wire, flood: Flood) -> float:
    """Give how fast a full ring is emptied, parsed and judged, packets/s."""
    made: list[Ring] = []

    def open_ring() -> None:
        enter(wire.host)
        made.append(Ring("v1", slots=DRAIN_SLOTS))

    thread = threading.Thread(target=open_ring)
    thread.start()
    thread.join()
    ring = made[0]
    exclusion = Exclusion(
        [parse_peer("203.0.113.53/32 udp from 53"), parse_peer("203.0.113.8/32 tcp from 8443")]
    )
    observed = PrefixSet((parse_network(HOST4, what="benchmark"),))
    flood.run(int(DRAIN_SLOTS * 0.95))
    start, taken = time.perf_counter(), drain(ring, exclusion, observed)
    spent = time.perf_counter() - start
    ring.close()
    return taken / spent


def drain(ring: Ring, exclusion: Exclusion, observed: PrefixSet) -> int:
    staging, taken = Staging(), 0
    while count := ring.take(staging):
        taken += count
        packets = staging.filled()
        columns = parse_packets(
            packets.raw,
            packets.captured_length,
            wire_length=packets.wire_length,
            observed_at_us=packets.observed_at_us,
            vlan=packets.vlan,
            payload_bytes=0,
            stacked_vlan=packets.stacked,
        )
        assert exclusion.judge(columns, observed).excluded == 0
        staging.clear()
    return taken


def median(readings: list[Reading]) -> Reading:
    return Reading(
        pps=statistics.median(reading.pps for reading in readings),
        captured=int(statistics.median(reading.captured for reading in readings)),
        drops=int(statistics.median(reading.drops for reading in readings)),
        us_per_packet=statistics.median(reading.us_per_packet for reading in readings),
        rss_mb=statistics.median(reading.rss_mb for reading in readings),
    )


def print_row(name: str, reading: Reading, *, packets: int = FLOOD_PACKETS) -> None:
    share = reading.captured / packets
    print(
        f"{name:<16}{reading.pps / 1000:>10,.0f}{share:>10.1%}{reading.drops:>11,}"
        f"{reading.us_per_packet:>12.2f}{reading.rss_mb:>9.1f}"
    )


def main() -> int:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        print("bench capture: needs root and iproute2, for network namespaces", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="bench-capture-") as name, open_wire() as wire:
        print_report(wire, Path(name))
    return 0


def print_report(wire: Wire, folder: Path) -> None:
    flood = Flood(wire, folder)
    peers = [peer for peer in list_peers(folder) if shutil.which(peer.command[0])]
    missing = [
        peer.name for peer in list_peers(folder) if peer not in peers and not shutil.which(peer.command[0])
    ]
    readings: dict[str, list[Reading]] = {"ours": [], **{peer.name: [] for peer in peers}}
    bursts, drains = [], []
    long: dict[int, list[Reading]] = {0: [], EXAMPLES: []}
    for _round in range(ROUNDS):
        readings["ours"].append(measure_ours(wire, flood, folder))
        for examples, found in long.items():
            found.append(measure_long(wire, folder, examples=examples))
        for peer in peers:
            readings[peer.name].append(measure_peer(wire, flood, folder, peer))
        bursts.append(measure_burst(wire, flood, folder))
        drains.append(measure_drain(wire, flood))
    quiet = measure_quiet(wire, folder)
    print(f"flood of {FLOOD_PACKETS:,} SYNs by {flood.sender}, {ROUNDS} rounds, medians")
    print(f"{'':<16}{'kpps':>10}{'captured':>10}{'drops':>11}{'CPU us/pkt':>12}{'RSS MB':>9}")
    for name, found in readings.items():
        print_row("teiten-sensor" if name == "ours" else name, median(found))
    for name in missing:
        print(f"{name:<16} not installed")
    print(f"flood of {LONG_PACKETS:,} packets of 1,028 bytes, every payload new, 64 bytes of it kept")
    print_row("no examples", median(long[0]), packets=LONG_PACKETS)
    print_row(f"{EXAMPLES} a window", median(long[EXAMPLES]), packets=LONG_PACKETS)
    print_summary(readings, bursts, drains, quiet=quiet, long={n: median(found) for n, found in long.items()})


def print_summary(
    readings: dict[str, list[Reading]],
    bursts: list[tuple[float, int]],
    drains: list[float],
    *,
    quiet: float,
    long: dict[int, Reading],
) -> None:
    ours = median(readings["ours"])
    burst_pps = statistics.median(pps for pps, _drops in bursts)
    burst_drops = int(statistics.median(drops for _pps, drops in bursts))
    drain_pps = statistics.median(drains)
    print(f"burst from silence: {burst_pps:,.0f} packets/s offered, {burst_drops:,} dropped by the kernel")
    print(f"draining a full ring, parsed and judged: {drain_pps:,.0f} packets/s")
    print(f"at {QUIET_RATE} packets/s: {quiet:.2f} % of a core")
    result = {
        "bench": "capture",
        "rounds": ROUNDS,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "pps": round(ours.pps),
        "kernel_drops": ours.drops,
        "burst_pps": round(burst_pps),
        "burst_drops": burst_drops,
        "us_per_packet": round(ours.us_per_packet, 3),
        "rss_mb": round(ours.rss_mb, 1),
        "cpu_percent_at_50pps": round(quiet, 3),
        "drain_pps": round(drain_pps),
        "long": {
            "pps": round(long[EXAMPLES].pps),
            "drops": long[EXAMPLES].drops,
            "us_per_packet": round(long[EXAMPLES].us_per_packet, 3),
            "us_per_packet_without_examples": round(long[0].us_per_packet, 3),
            "rss_mb": round(long[EXAMPLES].rss_mb, 1),
        },
        "peers": {
            name: {
                "pps": round(found.pps),
                "drops": found.drops,
                "us_per_packet": round(found.us_per_packet, 3),
                "rss_mb": round(found.rss_mb, 1),
            }
            for name, found in ((name, median(list_)) for name, list_ in readings.items() if name != "ours")
        },
    }
    print(json.dumps(result))


if __name__ == "__main__":
    sys.exit(main())
