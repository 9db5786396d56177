"""A small made telescope whose every answer can be counted by hand.

Seven sensors in three regions watch for four days in windows of fifteen minutes;
one starts late, one falls silent for a day, one has a hole in its batches. Packets
are random but seeded, and kept as plain dictionaries beside the store.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

from teiten.foundation.clock import FixedClock
from teiten.search.conditions import AllOf, Condition, Expression, Not, PortValue, Span, Value
from teiten.search.fields import FIELDS
from teiten.search.plain_syns import ANY_WINDOW
from teiten.search.service import Search
from teiten.store import writer
from teiten.store.service import Store
from teiten.store.testing import make_coverage, make_packets, temporary_store

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=timezone.utc)
START = NOW - timedelta(days=4)
WINDOW = timedelta(minutes=15)
#: Sensor numbers that are seen at once where they leak.
FIRST = 910_000
REGIONS = {
    FIRST + number: region
    for number, region in enumerate(
        ("kanto", "kanto", "kanto", "kinki", "kinki", "kyushu", "kyushu"), start=1
    )
}
#: Sensor 7 watches an IPv6 prefix, all others one IPv4 address.
PREFIX_SENSOR = FIRST + 7
#: Sensor 6 starts a day late; sensor 5 is silent on the third day.
LATE_START = START + timedelta(days=1)
SILENCE = (START + timedelta(days=2), START + timedelta(days=3))
#: Of sensor 2 the batch with this number is missing.
MISSING_SEQ = 380
#: In a world with answering sensors: these two answer, this one begins to after two days, and this one watches a wider prefix.
ANSWERING = (FIRST + 2, FIRST + 4)
CHANGING = FIRST + 1
WIDE_PREFIX_SENSOR = FIRST + 6
#: What a member must never see, in any form.
TCP_SEQ, TCP_ACK, IP_ID, VLAN = 3_221_225_985, 1_987_654_321, 54_321, 3_999
PAYLOAD, PAYLOAD_HASH = b"\xff\x00secret!", 0xFEDCBA9876543210
_PORTS = [(6, 23), (6, 23), (6, 22), (6, 80), (6, 8728), (17, 53), (17, 123), (1, 0)]
_COUNTRIES = ["CN", "CN", "US", "IN", "BR", ""]
_FINGERPRINTS = ["64240:2-4-8-1-3:1460:7", "1024::1460:", ""]


@dataclass(frozen=True)
class World:
    """The store, the search over it, and what is in it."""

    store: Store
    search: Search
    clock: FixedClock
    packets: list[dict[str, Any]]
    windows: list[dict[str, Any]]

    def matching(self, test: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        return [packet for packet in self.packets if test(packet)]


def make_windows() -> list[dict[str, Any]]:
    """List every batch: when, whose, which number."""
    windows = []
    for sensor, region in REGIONS.items():
        first = LATE_START if sensor == FIRST + 6 else START
        at, seq = first, 0
        while at < NOW:
            seq += 1
            silent = sensor == FIRST + 5 and SILENCE[0] <= at < SILENCE[1]
            if silent:
                seq -= 1
            elif not (sensor == FIRST + 2 and seq == MISSING_SEQ):
                windows.append(_make_window(sensor, region, seq, at))
            at += WINDOW
    return windows


def _make_window(sensor: int, region: str, seq: int, at: datetime) -> dict[str, Any]:
    is_prefix = sensor == PREFIX_SENSOR
    return {
        "sensor": sensor,
        "region": region,
        "batch_seq": seq,
        "window_start_at": at,
        "window_end_at": at + WINDOW,
        "landed_at": at + WINDOW + timedelta(seconds=2),
        "watched_prefix": ["2001:db8::/64"] if is_prefix else [f"192.0.2.{sensor - FIRST}/32"],
        "watched_ip_version": [6 if is_prefix else 4],
        "watched_prefix_length": [64 if is_prefix else 32],
        "watched_mode": ["silent"],
        "captured": 10,
        "kernel_drops": 1 if sensor == FIRST + 3 else 0,
        "clock_offset_us": 2_000_000 if sensor == FIRST + 4 else 1_000,
    }


def let_some_answer(windows: list[dict[str, Any]]) -> None:
    """Make sensors of the windows answer, and one watch an IPv6 prefix of another length."""
    for window in windows:
        sensor = window["sensor"]
        answers = sensor in ANSWERING or (
            sensor == CHANGING and window["window_start_at"] >= START + timedelta(days=2)
        )
        window["watched_mode"] = ["answering" if answers else "silent"]
        if sensor == WIDE_PREFIX_SENSOR:
            window["watched_prefix"] = ["2001:db8:1::/56"]
            window["watched_ip_version"], window["watched_prefix_length"] = [6], [56]


def make_world_packets(
    windows: list[dict[str, Any]], *, per_window: float, seed: int
) -> list[dict[str, Any]]:
    """Make seeded packets for every window."""
    rng = random.Random(seed)
    packets = []
    for window in windows:
        count = rng.randint(0, round(2 * per_window))
        packets.extend(_make_packet(rng, window, row) for row in range(count))
        window["rows"] = count
    return packets


def _make_packet(rng: random.Random, window: dict[str, Any], row: int) -> dict[str, Any]:
    protocol, port = rng.choice(_PORTS)
    is_v6 = window["watched_ip_version"] == [6]
    source = rng.randint(1, 120)
    hints = rng.choice([0, 0, 0, 1, 4, 5]) if (protocol, port) == (6, 23) else 0
    return {
        "sensor": window["sensor"],
        "region": window["region"],
        "batch_seq": window["batch_seq"],
        "row": row,
        "observed_at": window["window_start_at"]
        + timedelta(microseconds=rng.randrange(int(WINDOW.total_seconds() * 1_000_000))),
        "landed_at": window["landed_at"],
        "ip_version": 6 if is_v6 else 4,
        "answering": int(window["watched_mode"] == ["answering"]),
        "src_addr": f"3fff::{source:x}" if is_v6 else f"240.0.{source % 3}.{source}",
        "dst_addr": f"2001:db8::{source:x}" if is_v6 else f"192.0.2.{window['sensor'] - FIRST}",
        "protocol": protocol,
        "dst_port": port,
        "src_port": rng.randint(1024, 65535) if protocol != 1 else 0,
        "tcp_flags": rng.choice([2, 2, 2, 18, 4]) if protocol == 6 else 0,
        "tcp_seq": TCP_SEQ if protocol == 6 else 0,
        "tcp_ack": TCP_ACK if protocol == 6 else 0,
        "ip_id": IP_ID,
        "tcp_options": bytes.fromhex("020405b4") if protocol == 6 else b"",
        "tcp_window": rng.choice([1024, 64240]) if protocol == 6 else 0,
        "tcp_fp": rng.choice(_FINGERPRINTS) if protocol == 6 else "",
        "icmp_type": 8 if protocol == 1 else 0,
        "ttl": rng.randint(30, 250),
        "ip_df": rng.randint(0, 1),
        "nature": rng.choice([1, 1, 1, 2, 3]),
        "hints": hints,
        "country": _COUNTRIES[source % 6],
        "asn": 64500 + source % 9,
        "survey": {0: 1, 5: 2}.get(source % 10, 0),
        "actor": "Example Research" if source % 10 == 0 else "",
        "validity": source % 3 if source < 30 else 0,
        "probe": {53: "dns-version", 123: "ntp-monlist"}.get(port, "") if protocol == 17 else "",
        "payload": PAYLOAD if protocol == 17 else b"",
        "payload_length": 8 if protocol == 17 else 0,
        "payload_hash": PAYLOAD_HASH if protocol == 17 else 0,
        "vlan": VLAN,
    }


def fold(fingerprint: str) -> str:
    """Give a fingerprint as news tell it: without TCP options any window is the same, but a scanner's own."""
    is_any = fingerprint.endswith(":::") and fingerprint not in ("1024:::", "65535:::")
    return ANY_WINDOW if is_any else fingerprint


def holds(expression: Expression | None, packet: dict[str, Any]) -> bool:
    """Tell whether a packet matches a filter: the language once more, in plain Python."""
    if expression is None:
        return True
    if isinstance(expression, Condition):
        return _compare(expression, packet)
    if isinstance(expression, Not):
        return not holds(expression.part, packet)
    results = [holds(part, packet) for part in expression.parts]
    return all(results) if isinstance(expression, AllOf) else any(results)


def _compare(condition: Condition, packet: dict[str, Any]) -> bool:
    declared = FIELDS[condition.field]
    found = packet.get(declared.column, 0)
    if declared.name == "survey":
        found = int(found > 0)
    first = condition.values[0]
    if condition.operator in ("<", "<=", ">", ">="):
        return {"<": found < first, "<=": found <= first, ">": found > first, ">=": found >= first}[
            condition.operator
        ]
    if declared.kind == "marks" or condition.operator in ("has", "lacks"):
        member = any(found & value == value if value else found == 0 for value in condition.values)
    else:
        member = any(_equals(value, found, packet) for value in condition.values)
    return member != (condition.operator in ("!=", "not in", "lacks"))


def _equals(value: Value, found: Any, packet: dict[str, Any]) -> bool:
    if isinstance(value, Span):
        return value.low <= found <= value.high
    if value == ANY_WINDOW:
        return fold(found) == ANY_WINDOW
    if isinstance(value, PortValue):
        return found == value.number and packet["protocol"] == value.protocol
    if isinstance(value, IPv4Network | IPv6Network):
        address = ip_address(found)
        return address.version == value.version and address in value
    return found == value


@contextmanager
def open_world(*, per_window: float = 1.5, seed: int = 7, with_answering: bool = False) -> Iterator[World]:
    """Open a store filled with the made telescope."""
    clock = FixedClock(NOW)
    with temporary_store(clock) as store:
        windows = make_windows()
        if with_answering:
            let_some_answer(windows)
        packets = make_world_packets(windows, per_window=per_window, seed=seed)
        block = writer.BlockRows(
            block="00000000-0000-0000-0000-00000000000a",
            composed_at_us=clock.now_us(),
            packets=make_packets(*packets),
            coverage=make_coverage(*windows),
        )
        writer.insert_block(store, block)
        search = Search(store, clock)
        yield World(store, search, clock, packets, windows)
        search.close()
