"""Payload examples and the payload off switch, of a real sensor process on a real (virtual) wire."""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from sensor_wire import (
    HOST4,
    HOST6,
    Wire,
    enter,
    make_state,
    needs_wire,
    open_wire,
    read_batches,
    read_status,
    send_raw,
    stop,
    wait_until,
)
from teiten.protocol.batch import Batch
from teiten.sensor.state import ORDERS, StateFolder
from teiten.traffic.columns import VarBytes

pytestmark = needs_wire()


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with open_wire() as opened:
        yield opened


def make_udp(payload: bytes, *, number: int = 8, version: int = 4) -> bytes:
    udp = struct.pack(">HHHH", 40_000, 1900, 8 + len(payload), 0) + payload
    if version == 6:
        packed = ipaddress.ip_address("3fff::1").packed, ipaddress.ip_address(HOST6).packed
        return struct.pack(">IHBB16s16s", 6 << 28, len(udp), 17, 60, *packed) + udp
    packed = ipaddress.ip_address("240.0.0.2").packed, ipaddress.ip_address(HOST4).packed
    return struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), number, 0, 60, 17, 0, *packed) + udp


def start(wire: Wire, state: Path, *words: str) -> object:
    return wire.start_sensor(state, "--config", str(state / "sensor.toml"), *words)


def packets_of(state: Path) -> dict[str, int]:
    return read_status(state).get("packets", {})


def wait_for(state: Path, captured: int) -> None:
    wait_until(lambda: packets_of(state).get("captured", 0) >= captured)


def examples_of(batches: list[Batch]) -> list[bytes]:
    return [example.payload for item in batches for example in item.header.examples]


def payloads_of(item: Batch) -> list[bytes]:
    value = item.columns["payload"]
    assert isinstance(value, VarBytes)
    return [value.data[a:b].tobytes() for a, b in zip(value.offsets, value.offsets[1:], strict=False)]


@pytest.mark.requirement("R1.1")
def test_it_works(wire: Wire, tmp_path: Path) -> None:
    long, six = bytes(range(250)) * 5, b"six" * 400
    state = make_state(tmp_path)
    sensor = start(wire, state, "--payload", "64")

    wire.send([make_udp(b"short"), make_udp(long), make_udp(b""), make_udp(six, version=6), make_udp(long)])
    wait_for(state, 5)
    assert stop(sensor) == 0

    (only,) = read_batches(state)
    assert sorted(examples_of([only])) == sorted([b"short", long, six])
    assert sorted(payloads_of(only)) == sorted([b"short", long[:64], b"", six[:64], long[:64]])
    assert packets_of(state)["examples"] == 3
    assert packets_of(state)["example_mismatches"] == 0


def test_vlan_tags_are_not_part_of_an_example(wire: Wire, tmp_path: Path) -> None:
    state = make_state(tmp_path)
    sensor = start(wire, state, "--payload", "64")
    one, two = b"one tag " * 100, b"two tags" * 100

    send_tagged(wire, b"\x81\x00\x00\x05\x08\x00" + make_udp(one))
    send_tagged(wire, b"\x88\xa8\x00\x06\x81\x00\x00\x05\x08\x00" + make_udp(two))
    wait_for(state, 2)
    stop(sensor)

    assert sorted(examples_of(read_batches(state))) == sorted([one, two])
    assert packets_of(state)["example_mismatches"] == 0


def send_tagged(wire: Wire, frame: bytes) -> None:
    """Send one frame from its first tag on."""

    def run() -> None:
        enter(wire.scanner)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
            out.bind(("v0", 0))
            out.send(bytes.fromhex(wire.host_mac.replace(":", "")) + b"\x02\0\0\0\0\x01" + frame)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


@pytest.mark.requirement("R1.1")
def test_a_flood_of_new_payloads_costs_no_packet_and_brings_no_more_than_allowed(
    wire: Wire, tmp_path: Path
) -> None:
    count = 6_000
    state = make_state(tmp_path, settings="examples_per_window = 5")
    sensor = start(wire, state, "--payload", "64")
    flood = [
        make_udp(struct.pack(">I", number) + bytes([number & 0xFF]) * 1300, number=number & 0xFFFF)
        for number in range(count)
    ]

    send_raw(wire.scanner, "v0", wire.host_mac, flood)
    wait_for(state, count)
    assert stop(sensor) == 0

    batches = read_batches(state)
    assert sum(item.header.rows for item in batches) == count
    assert sum(item.header.kernel_drops for item in batches) == 0
    assert max(len(item.header.examples) for item in batches) <= 5
    assert 1 <= len(examples_of(batches)) <= 5 * len(batches)
    assert packets_of(state)["example_mismatches"] == 0
    for item in batches:
        numbers = np.asarray(item.columns["ip_id"])
        for example in item.header.examples:
            number = struct.unpack(">I", example.payload[:4])[0]
            assert number == numbers[example.row]
            assert example.payload[4:] == bytes([number & 0xFF]) * 1300


@pytest.mark.requirement("R1.3")
def test_payload_is_switched_off_by_the_base_and_stays_off(wire: Wire, tmp_path: Path) -> None:
    state = make_state(tmp_path)
    folder = StateFolder(state)
    sensor = start(wire, state, "--payload", "64")
    wire.send([make_udp(b"before" * 50)])
    wait_for(state, 1)

    folder.write_json(ORDERS, {"config_version": 2, "payload_bytes": 0})
    wait_until(lambda: read_status(state)["payload_bytes"] == 0 and packets_of(state)["windows"] >= 1)
    wire.send([make_udp(b"secret" * 50)])
    wait_for(state, 2)
    stop(sensor)
    sensor = start(wire, state, "--payload", "64")
    wire.send([make_udp(b"secret" * 50)])
    wait_for(state, 1)
    folder.write_json(ORDERS, {"config_version": 3})
    wait_until(lambda: read_status(state)["payload_bytes"] == 64 and packets_of(state)["windows"] >= 1)
    wire.send([make_udp(b"after" * 50)])
    wait_for(state, 2)
    stop(sensor)

    batches = read_batches(state)
    assert [item.header.payload_bytes for item in batches] == [64, 0, 0, 64]
    assert [examples_of([item]) for item in batches] == [[b"before" * 50], [], [], [b"after" * 50]]
    assert [payloads_of(item) for item in batches] == [
        [(b"before" * 50)[:64]],
        [b""],
        [b""],
        [(b"after" * 50)[:64]],
    ]
    assert all(int(np.asarray(item.columns["payload_hash"])[0]) for item in batches)


def test_the_base_cannot_raise_what_the_sensor_keeps(wire: Wire, tmp_path: Path) -> None:
    state = make_state(tmp_path)
    orders = {"config_version": 2, "payload_bytes": 128, "examples_per_window": 64}
    StateFolder(state).write_json(ORDERS, orders)
    sensor = start(wire, state)
    wire.send([make_udp(b"words" * 50)])
    wait_for(state, 1)
    stop(sensor)

    (only,) = read_batches(state)
    assert (only.header.payload_bytes, only.header.examples, payloads_of(only)) == (0, (), [b""])
