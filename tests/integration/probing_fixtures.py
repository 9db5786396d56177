"""A member who probes: marked packets to candidate addresses, planted beside the made telescope.

* the **single** prober sends one packet, marked in every field it can choose, to one sensor;
* the **coder** reaches six sensors, each with marks of its own (port, MSS, hour, TTL …), so that
  its address is seen by enough sensors and each mark by one;
* the **pair** prober reaches two sensors, and with a host's own one three;
* the **broad** scanner sends the same to all six within an hour: what sharing is for;
* a packet whose source is its destination, ICMP quotes and payloads that hold the sensor's address.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import IPv4Address
from typing import Any

from search_fixtures import FIRST, NOW, REGIONS, World, open_world

from teiten.store import writer
from teiten.store.testing import make_coverage, make_packets
from teiten.traffic.hints import Hint

SINGLE, CODER, PAIR, BROAD, NOBODY = (f"203.0.113.{last}" for last in (7, 8, 9, 10, 99))
SINGLE_PORT, CODER_PORT, PAIR_PORT, BROAD_PORT, NOBODY_PORT = 61_001, 62_000, 61_500, 63_000, 61_999
#: Whole hours, and a whole day in Japan, that a member may see: the planted packets are in them.
HOUR = NOW - timedelta(hours=15)
SENSORS = [FIRST + number for number in range(1, 7)]
#: Everything by which a probe could be recognised, as text.
MARKS = {
    "single source": [SINGLE],
    "single port": [str(SINGLE_PORT)],
    "coder's ports": [str(CODER_PORT + number) for number in range(1, 7)],
    "fingerprints": ["31337", "1337:9", *(f":{2000 + number}:" for number in range(1, 7))],
    "source ports": ["41337", *(str(42_000 + number) for number in range(1, 7))],
    "lengths": ["1234", *(str(1_300 + number) for number in range(1, 7))],
    "labels": ["marked-probe", "marked-actor", "Marked"],
    "country of one": ["ZZ"],
    "system of one": ["65533"],
    "payload": ["deadbeef", "DEADBEEF"],
    "own address as source": [f"192.0.2.{last}" for last in range(1, 8)],
}
#: What only the host of one of the three sensors must not see.
PAIRED = {"pair": [PAIR, str(PAIR_PORT)]}


def address_of(sensor: int) -> str:
    return f"192.0.2.{sensor - FIRST}"


def _packet(row: int, sensor: int, **choices: Any) -> dict[str, Any]:
    number = int(IPv4Address(address_of(sensor)))
    return {
        "sensor": sensor,
        "region": REGIONS[sensor],
        "batch_seq": 300,
        "row": 5_000 + row,
        "observed_at": HOUR + timedelta(minutes=5, seconds=row),
        "landed_at": HOUR + timedelta(minutes=20),
        "dst_addr": address_of(sensor),
        "protocol": 6,
        "tcp_flags": 2,
        "tcp_seq": number,
        "ip_id": (number ^ BROAD_PORT) & 0xFFFF,
        "nature": 1,
        "country": "US",
        "asn": 64501,
        "ttl": 60,
        "tcp_fp": "64240:2-4-8-1-3:1460:7",
        "hints": int(Hint.MIRAI),
        **choices,
    }


def _single() -> dict[str, Any]:
    return _packet(
        0,
        SENSORS[0],
        src_addr=SINGLE,
        dst_port=SINGLE_PORT,
        src_port=41_337,
        tcp_fp="31337:2-4-8-1-3:1337:9",
        ttl=77,
        total_length=1_234,
        probe="marked-probe",
        actor="marked-actor",
        survey=1,
        country="ZZ",
        asn=65_533,
        payload=bytes.fromhex("deadbeef") + IPv4Address(address_of(SENSORS[0])).packed,
        payload_length=8,
        payload_hash=0xFEDCBA9876543211,
    )


def _coded(number: int, sensor: int) -> dict[str, Any]:
    return _packet(
        10 + number,
        sensor,
        observed_at=HOUR - timedelta(hours=number) + timedelta(minutes=7),
        src_addr=CODER,
        dst_port=CODER_PORT + number,
        src_port=42_000 + number,
        tcp_fp=f"{40_000 + number}::{2000 + number}:",
        ttl=100 + number,
        total_length=1_300 + number,
    )


def _paired(number: int, sensor: int) -> dict[str, Any]:
    return _packet(20 + number, sensor, src_addr=PAIR, dst_port=PAIR_PORT, src_port=41_337)


def _broad(number: int, sensor: int) -> dict[str, Any]:
    return _packet(30 + number, sensor, src_addr=BROAD, dst_port=BROAD_PORT, src_port=43_000 + number)


def _odd() -> list[dict[str, Any]]:
    """Give packets that hold the sensor's address in other places."""
    mine = IPv4Address(address_of(SENSORS[1])).packed
    quote = {"protocol": 1, "tcp_flags": 0, "icmp_type": 3, "payload": bytes(12) + mine + mine}
    return [
        _packet(40, SENSORS[1], src_addr=address_of(SENSORS[1]), dst_port=BROAD_PORT),
        _packet(41, SENSORS[1], src_addr=SINGLE, dst_port=0, nature=2, hints=0, tcp_fp="", **quote),
    ]


def list_probes() -> list[dict[str, Any]]:
    """List every planted packet."""
    coded = [_coded(number, sensor) for number, sensor in enumerate(SENSORS, start=1)]
    paired = [_paired(number, sensor) for number, sensor in enumerate(SENSORS[:3])]
    broad = [_broad(number, sensor) for number, sensor in enumerate(SENSORS)]
    return [_single(), *coded, *paired, *broad, *_odd()]


@contextmanager
def open_probed_world() -> Iterator[World]:
    """Open the made telescope with the probes in it."""
    with open_world() as world:
        block = writer.BlockRows(
            block="00000000-0000-0000-0000-00000000000c",
            composed_at_us=world.clock.now_us(),
            packets=make_packets(*list_probes()),
            coverage=make_coverage(),
        )
        writer.insert_block(world.store, block)
        yield world
