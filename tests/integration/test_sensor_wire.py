"""A real sensor process on a real (virtual) wire, treated badly."""

from __future__ import annotations

import ipaddress
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from sensor_wire import (
    HOST4,
    HOST6,
    Wire,
    command,
    enter,
    make_state,
    needs_wire,
    open_wire,
    read_batches,
    read_status,
    stop,
    wait_until,
)
from teiten.foundation.clock import SystemClock
from teiten.protocol import batch
from teiten.protocol.batch import Batch
from teiten.sensor.spool import Spool, SpoolLimits
from teiten.sensor.state import GatewaySettings, StateFolder
from teiten.sensor.testing import FakeGateway
from teiten.traffic.columns import VarBytes
from teiten.traffic.marks import ParseMark

pytestmark = needs_wire()

LIVE = ("--live",)


@pytest.fixture
def wire() -> Iterator[Wire]:
    with open_wire() as opened:
        yield opened


def make_syn(number: int, *, source: str = "240.0.0.1", destination: str = HOST4, port: int = 23) -> bytes:
    """A TCP SYN whose sequence number is ``number``; checksums are not looked at."""
    tcp = struct.pack(">HHIIBBHHH", 40_000, port, number, 0, 0x50, 2, 1024, 0, 0)
    packed = ipaddress.ip_address(source).packed, ipaddress.ip_address(destination).packed
    if ":" in destination:
        return struct.pack(">IHBB16s16s", 6 << 28, len(tcp), 6, 60, *packed) + tcp
    return struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 7, 0, 60, 6, 0, *packed) + tcp


def make_udp(payload: bytes) -> bytes:
    udp = struct.pack(">HHHH", 40_000, 1900, 8 + len(payload), 0) + payload
    packed = ipaddress.ip_address("240.0.0.2").packed, ipaddress.ip_address(HOST4).packed
    return struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 8, 0, 60, 17, 0, *packed) + udp


def config_of(state: Path) -> tuple[str, str]:
    return "--config", str(state / "sensor.toml")


def sequence_numbers(batches: list[Batch]) -> list[int]:
    return [int(n) for item in batches for n in np.asarray(item.columns["tcp_seq"])]


def captured(state: Path) -> int:
    return int(read_status(state).get("packets", {}).get("captured", 0))


@pytest.mark.requirement("R1.1")
def test_it_works(wire: Wire, tmp_path: Path) -> None:
    state = make_state(tmp_path)
    sensor = wire.start_sensor(state, *config_of(state))

    wire.send([make_syn(1), make_syn(2, destination=HOST6, source="3fff::1")])
    wait_until(lambda: captured(state) >= 2)
    assert stop(sensor) == 0

    (only,) = read_batches(state)
    header = only.header
    assert sequence_numbers([only]) == [1, 2]
    assert [item.prefix for item in header.watched] == [f"{HOST4}/32", f"{HOST6}/128"]
    assert (header.dataset, header.rows, header.kernel_drops, header.gap_us) == ("live", 2, 0, 0)
    assert not header.clock_stepped
    assert header.payload_bytes == 0


def test_payload_is_kept_only_when_it_is_asked_for(wire: Wire, tmp_path: Path) -> None:
    kept = {}
    for size in (0, 16, 128):
        state = make_state(tmp_path / str(size))
        sensor = wire.start_sensor(state, *config_of(state), "--payload", str(size))
        wire.send([make_udp(bytes(range(200)))])
        wait_until(lambda state=state: captured(state) >= 1)
        stop(sensor)
        payload = read_batches(state)[0].columns["payload"]
        assert isinstance(payload, VarBytes)
        kept[size] = payload.data.tobytes()

    assert kept == {size: bytes(range(size)) for size in (0, 16, 128)}


def test_what_the_host_solicits_and_what_is_for_others_is_counted_and_left_out(
    wire: Wire, tmp_path: Path
) -> None:
    state = make_state(tmp_path)
    rules = ("--exclude", "203.0.113.9/32 tcp to 22", "--observed", f"{HOST4}/32")
    sensor = wire.start_sensor(state, *config_of(state), *rules)

    wire.send([make_syn(1, source="203.0.113.9", port=22), make_syn(2, source="203.0.113.9")])
    wire.send([make_syn(3, destination="192.0.2.77"), make_syn(4)])
    wait_until(lambda: captured(state) >= 4)
    status = read_status(state)
    stop(sensor)

    (only,) = read_batches(state)
    assert sequence_numbers([only]) == [2, 4]
    assert (only.header.captured, only.header.excluded) == (4, 2)
    assert (status["packets"]["solicited"], status["packets"]["other_destination"]) == (1, 1)
    assert "203.0.113.9/32 tcp to 22" in status["exclusion"]


def test_a_short_packet_shows_nothing_of_the_one_before(wire: Wire, tmp_path: Path) -> None:
    state = make_state(tmp_path)
    sensor = wire.start_sensor(state, *config_of(state), "--payload", "64")

    # The ring is smaller than this, so that every slot has been used before the short ones come.
    wire.send([make_udp(b"secret" * 20)] * 40_000)
    wire.send([make_syn(1)[:24], make_udp(b"")] * 3)
    wait_until(lambda: captured(state) >= 40_006)
    stop(sensor)

    last = [item for item in read_batches(state) if item.header.rows][-1].columns
    payload, marks = last["payload"], np.asarray(last["parse_marks"])[-6:]
    assert isinstance(payload, VarBytes)
    assert np.diff(payload.offsets)[-6:].tolist() == [0] * 6
    assert np.asarray(last["tcp_window"])[-6:].tolist() == [0] * 6
    assert all(marks[0::2] & ParseMark.SHORT_TRANSPORT)


def test_vlan_tags_are_seen_and_taken_off(wire: Wire, tmp_path: Path) -> None:
    state = make_state(tmp_path)
    sensor = wire.start_sensor(state, *config_of(state))

    mac = bytes.fromhex(wire.host_mac.replace(":", "")) + b"\x02\0\0\0\0\x01"
    one = mac + b"\x81\x00\x00\x05\x08\x00" + make_syn(1)
    two = mac + b"\x88\xa8\x00\x06\x81\x00\x00\x07\x08\x00" + make_syn(2)
    send_frames(wire, [one, two])
    wait_until(lambda: captured(state) >= 2)
    stop(sensor)

    (only,) = read_batches(state)
    assert sequence_numbers([only]) == [1, 2]
    assert np.asarray(only.columns["vlan"]).tolist() == [5, 6]
    stacked = np.asarray(only.columns["parse_marks"]) & ParseMark.STACKED_VLAN
    assert stacked.astype(bool).tolist() == [False, True]


def send_frames(wire: Wire, frames: list[bytes]) -> None:
    def run() -> None:
        enter(wire.scanner)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
            out.bind(("v0", 0))
            for frame in frames:
                out.send(frame)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def test_frames_for_other_hosts_are_not_ours(wire: Wire, tmp_path: Path) -> None:
    state = make_state(tmp_path)
    sensor = wire.start_sensor(state, *config_of(state))

    wire.scan("ip", "link", "set", "v0", "promisc", "on")
    command("ip", "netns", "exec", wire.host, "ip", "link", "set", "v1", "promisc", "on")
    send_frames(wire, [b"\x02\0\0\0\0\x99\x02\0\0\0\0\x01\x08\x00" + make_syn(1)])
    wire.send([make_syn(2)])
    wait_until(lambda: captured(state) >= 1)
    stop(sensor)

    assert sequence_numbers(read_batches(state)) == [2]


def test_a_link_that_goes_down_is_a_gap_and_then_goes_on(wire: Wire, tmp_path: Path) -> None:
    state = make_state(tmp_path)
    sensor = wire.start_sensor(state, *config_of(state))
    wire.send([make_syn(1)])
    wait_until(lambda: captured(state) >= 1)

    command("ip", "-n", wire.host, "link", "set", "v1", "down")
    wait_until(lambda: read_status(state)["interfaces"][0]["state"] == "down")
    assert read_status(state)["watched"] == []
    assert "is down" in read_status(state)["last_error"]
    time.sleep(1.0)
    command("ip", "-n", wire.host, "link", "set", "v1", "up")
    command("ip", "-n", wire.host, "addr", "replace", f"{HOST6}/64", "dev", "v1", "nodad")
    wait_until(lambda: bool(read_status(state)["watched"]))
    wire.send([make_syn(2)])
    wait_until(lambda: captured(state) >= 2)
    assert stop(sensor) == 0

    batches = read_batches(state)
    assert sequence_numbers(batches) == [1, 2]
    assert 1_000_000 <= sum(item.header.gap_us for item in batches) <= 10_000_000
    assert_continuous(batches)


def test_a_deleted_interface_is_opened_again_when_it_returns(wire: Wire, tmp_path: Path) -> None:
    state = make_state(tmp_path)
    sensor = wire.start_sensor(state, *config_of(state))
    wire.send([make_syn(1)])
    wait_until(lambda: captured(state) >= 1)

    command("ip", "-n", wire.host, "link", "del", "v1")
    wait_until(lambda: read_status(state)["interfaces"][0]["state"] == "missing")
    wire.connect()
    wait_until(lambda: bool(read_status(state)["watched"]))
    wire.send([make_syn(2)])
    wait_until(lambda: captured(state) >= 2)
    assert stop(sensor) == 0

    batches = read_batches(state)
    assert sequence_numbers(batches) == [1, 2]
    assert sum(item.header.gap_us for item in batches) > 0
    assert "was deleted" in (state / "sensor.log").read_text()


def test_an_address_that_changes_closes_the_window(wire: Wire, tmp_path: Path) -> None:
    state = make_state(tmp_path, settings="address_check_seconds = 0.2")
    sensor = wire.start_sensor(state, *config_of(state))

    command("ip", "-n", wire.host, "addr", "add", "192.0.2.3/24", "dev", "v1")
    wait_until(lambda: "192.0.2.3/32" in read_status(state)["watched"])
    wire.send([make_syn(1, destination="192.0.2.3")])
    wait_until(lambda: captured(state) >= 1)
    stop(sensor)

    first, second = read_batches(state)
    assert "192.0.2.3/32" not in [item.prefix for item in first.header.watched]
    assert "192.0.2.3/32" in [item.prefix for item in second.header.watched]
    assert second.header.gap_us == 0
    assert sequence_numbers([second]) == [1]


def test_two_interfaces_are_one_sensor(wire: Wire, tmp_path: Path) -> None:
    command(
        "ip",
        "-n",
        wire.scanner,
        "link",
        "add",
        "w0",
        "type",
        "veth",
        "peer",
        "name",
        "w1",
        "netns",
        wire.host,
    )
    command("ip", "-n", wire.host, "addr", "add", "203.0.113.5/24", "dev", "w1")
    command("ip", "-n", wire.host, "link", "set", "w1", "up")
    command("ip", "-n", wire.scanner, "link", "set", "w0", "up")
    state = make_state(tmp_path)
    sensor = wire.start_sensor(state, *config_of(state), "--interface", "w1")
    wait_until(lambda: {"203.0.113.5/32", f"{HOST4}/32"} <= set(read_status(state)["watched"]))

    wire.send([make_syn(1)])
    mac = command("ip", "netns", "exec", wire.host, "cat", "/sys/class/net/w1/address").strip()
    from sensor_wire import send_raw

    send_raw(wire.scanner, "w0", mac, [make_syn(2, destination="203.0.113.5")])
    wait_until(lambda: captured(state) >= 2)
    stop(sensor)

    assert sorted(sequence_numbers(read_batches(state))) == [1, 2]


def assert_continuous(batches: list[Batch]) -> None:
    """Windows touch, except for the gaps they state."""
    headers = [item.header for item in batches]
    for first, second in pairwise(headers):
        assert abs(second.window_start_us - second.gap_us - first.window_end_us) < 100_000


@pytest.mark.requirement("R1.1")
def test_kill_9_loses_no_sealed_window_and_uses_no_number_twice(wire: Wire, tmp_path: Path) -> None:
    state = make_state(tmp_path, settings="early_rows = 5\nspool_bytes = 1_000_000_000")
    rng, seen = random.Random(7), {}
    for life in range(4):
        sensor = wire.start_sensor(state, *config_of(state), *LIVE)
        for number in range(10):
            wire.send([make_syn(life * 10_000 + number * 100 + place) for place in range(20)])
            time.sleep(0.02)
        time.sleep(rng.uniform(0.5, 1.6))
        sensor.send_signal(signal.SIGKILL)
        sensor.wait()
        for item in read_batches(state):
            assert seen.setdefault(item.header.seq, item.header) == item.header

    batches = read_batches(state)
    assert [item.header.seq for item in batches] == list(range(1, len(batches) + 1))
    numbers = sequence_numbers(batches)
    assert len(numbers) == len(set(numbers))
    assert len({item.header.boot_id for item in batches}) >= 3
    restarts = [
        (one.header, two.header) for one, two in pairwise(batches) if one.header.boot_id != two.header.boot_id
    ]
    assert all(two.gap_us == two.window_start_us - one.window_end_us > 0 for one, two in restarts)


def test_the_bound_of_the_spool_leaves_tombstones_in_the_headers(wire: Wire, tmp_path: Path) -> None:
    state = make_state(tmp_path, settings="early_rows = 2000\nspool_bytes = 1_000_000")
    sensor = wire.start_sensor(state, *config_of(state), *LIVE)

    rng = random.Random(3)
    for _ in range(8):
        wire.send([make_syn(rng.getrandbits(32), source=str(ipaddress.ip_address(0xF0000000 + rng.getrandbits(24))))
                   for _ in range(16_000)])  # fmt: skip
    wait_until(lambda: read_status(state)["spool"]["dropped"] > 0, seconds=30)
    stop(sensor)

    batches = read_batches(state)
    lost = batches[-1].header.lost
    assert lost[0].first_seq == 1
    assert lost[0].last_seq >= batches[0].header.seq - 2
    held = sum(path.stat().st_size for path in (state / "spool" / "ready").iterdir())
    assert held <= 1_000_000


def test_a_full_disk_costs_windows_but_nothing_else(wire: Wire, tmp_path: Path) -> None:
    state = make_state(tmp_path / "outside")
    disk = tmp_path / "disk"
    disk.mkdir()
    command("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk))
    try:
        inside = disk / "state"
        command("cp", "-r", str(state), str(inside))
        (inside / "sensor.log").symlink_to(state / "sensor.log")
        sensor = wire.start_sensor(inside, *config_of(state), *LIVE)
        wait_until(lambda: read_status(inside)["spool"]["sealed"] >= 2)
        fill(disk / "filler")
        wire.send([make_syn(1)])
        wait_until(lambda: b"drops its oldest" in (state / "sensor.log").read_bytes())
        (disk / "filler").unlink()
        wait_until(lambda: sequence_numbers(read_batches(inside)) == [1])
        wait_until(lambda: read_batches(inside)[-1].header.seq >= 6)
        assert stop(sensor) == 0
        batches = read_batches(inside)
        assert sequence_numbers(batches) == [1]
        assert_continuous(batches)
        seqs = [item.header.seq for item in batches]
        assert batches[-1].header.lost[0].first_seq == 1
        assert batches[-1].header.lost[-1].last_seq == seqs[0] - 1
        assert seqs == list(range(seqs[0], seqs[-1] + 1))
    finally:
        subprocess.run(("umount", "-l", str(disk)), check=False)


def fill(path: Path) -> None:
    try:
        with path.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 512)
    except OSError:
        return


@pytest.mark.requirement("R1.2")
def test_run_sends_what_it_records_and_stops_clean(wire: Wire, tmp_path: Path) -> None:
    gateway = open_gateway_inside(wire, tmp_path)
    state = make_state(
        tmp_path,
        gateway=GatewaySettings(gateway.url, "", (gateway.pin,), ""),
        settings=f'heartbeat_seconds = 0.3\nmetrics_dir = "{tmp_path / "metrics"}"',
    )
    trust(state, gateway)
    gateway.start()
    try:
        sensor = wire.start_sensor(state, *config_of(state), *LIVE, verb="run")
        wire.send([make_syn(number) for number in range(50)])
        wait_until(lambda: sum(decode_rows(gateway)) == 50)
        wait_until(lambda: any(beat.captured >= 50 for beat in gateway.beats))
        kill_sending(state)
        wire.send([make_syn(50)])
        wait_until(lambda: sum(decode_rows(gateway)) == 51)
        assert stop(sensor) == 0
    finally:
        gateway.stop()

    beat = gateway.beats[-1]
    assert [item.state for item in beat.interfaces] == ["up"]
    counters = [beat.counter for beat in gateway.beats]
    assert counters == sorted(set(counters))
    # What was sealed at the very end was still sent.
    assert max(gateway.batches)[1] == Spool(state, epoch=1, limits=SpoolLimits(1 << 30)).next_seq - 1
    assert read_batches(state) == []
    metrics = (tmp_path / "metrics" / "teiten-sensor.prom").read_text()
    assert "teiten_sensor_captured_packets_total 5" in metrics
    told = json.loads(
        command(
            sys.executable,
            "-m",
            "teiten.sensor.main",
            "status",
            "--json",
            "--state-dir",
            str(state),
            accepted=(1,),
        )
    )
    assert (told["sensor"], told["capture"]["running"], told["sending"]["running"]) == (7, False, False)
    assert "sensor 7, key 1, epoch 1" in command(
        sys.executable, "-m", "teiten.sensor.main", "status", "--state-dir", str(state), accepted=(1,)
    )


def open_gateway_inside(wire: Wire, folder: Path) -> FakeGateway:
    """Make a gateway that listens on loopback of the sensor's namespace."""
    made: list[FakeGateway] = []

    def run() -> None:
        enter(wire.host)
        made.append(FakeGateway(folder, SystemClock()))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return made[0]


def kill_sending(state: Path) -> None:
    wait_until(lambda: bool(StateFolder(state).read_json("sending.json").get("pid")))
    os.kill(StateFolder(state).read_json("sending.json")["pid"], signal.SIGKILL)


def trust(state: Path, gateway: FakeGateway) -> None:
    """Let the folder's identity and the gateway know each other's keys."""
    from teiten.protocol import keys

    folder = StateFolder(state)
    gateway.sensor_key = keys.public_bytes(folder.make_key())
    identity = folder.read_json("identity.json")
    identity["gateway_keys"] = {name: keys.to_text(key) for name, key in gateway.gateway_keys.items()}
    folder.write_json("identity.json", identity)


def decode_rows(gateway: FakeGateway) -> list[int]:
    return [batch.decode(body).header.rows for _digest, body, _receipt in list(gateway.batches.values())]


def test_two_recording_processes_on_one_folder_are_refused(wire: Wire, tmp_path: Path) -> None:
    state = make_state(tmp_path)
    wire.start_sensor(state, *config_of(state))

    second = subprocess.run(
        ["ip", "netns", "exec", wire.host, sys.executable, "-m", "teiten.sensor.main", "record",
         "--state-dir", str(state), "--interface", "v1"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert second.returncode == 1
    assert "another sensor process works on" in second.stderr


def test_without_the_right_to_capture_one_line_says_how_to_get_it(wire: Wire, tmp_path: Path) -> None:
    state = make_state(tmp_path)

    refused = subprocess.run(
        ["ip", "netns", "exec", wire.host, "setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw",
         sys.executable, "-m", "teiten.sensor.main", "record", "--state-dir", str(state), "--interface", "v1"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert refused.returncode == 1
    assert "setcap cap_net_raw" in refused.stderr.splitlines()[-1]
    assert Spool(state, epoch=1, limits=SpoolLimits(1_000_000)).next_seq == 1
