"""Real scanners against a real sensor; what it recorded against what tcpdump and tshark say of the same wire."""

from __future__ import annotations

import ipaddress
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from sensor_wire import (
    HOST4,
    HOST6,
    Wire,
    command,
    make_state,
    needs_wire,
    open_wire,
    read_batches,
    read_status,
    stop,
    wait_until,
)
from teiten.protocol.batch import Batch
from teiten.simulators.source_days import count_source_days
from teiten.traffic.columns import VarBytes
from teiten.traffic.hints import Hint
from teiten.traffic.rules import RULE_VERSION, derive_columns, take_as_recorded
from teiten.traffic.verdicts import SourceDayCounts, judge_tools

pytestmark = needs_wire("masscan", "nmap", "zmap", "hping3", "tcpdump", "tshark")

PREFIX = "198.51.100.0/24"
#: Source address → the tool behind it.
NMAP, MASSCAN, ZMAP, HPING = "192.0.2.1", "192.0.2.13", "192.0.2.14", "192.0.2.15"
PAYLOAD_BYTES = 64


@dataclass
class Scanned:
    """What both sides recorded of the same scans."""

    batches: list[Batch]
    tshark: list[dict[str, str]]
    status: dict[str, Any]


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scanned]:
    folder = tmp_path_factory.mktemp("scanners")
    state = make_state(folder)
    with open_wire() as wire:
        pcap = folder / "wire.pcap"
        watched = ("--observed", f"{HOST4}/32", "--observed", f"{HOST6}/128", "--observed", PREFIX)
        sensor = wire.start_sensor(
            state, *watched, "--payload", str(PAYLOAD_BYTES), "--config", str(state / "sensor.toml")
        )
        dump = start_tcpdump(wire, pcap)
        scan_with_each(wire)
        time.sleep(1.0)
        assert stop(sensor) == 0
        dump.send_signal(signal.SIGINT)
        dump.wait(20)
        yield Scanned(read_batches(state), read_tshark(pcap), read_status(state))


def start_tcpdump(wire: Wire, pcap: Path) -> subprocess.Popen[bytes]:
    ours = f"(ip or ip6) and (dst host {HOST4} or dst host {HOST6} or dst net {PREFIX})"
    process = wire.start(
        "tcpdump", "-i", "v1", "-Q", "in", "-U", "-B", "8192", "-w", str(pcap), "-Z", "root", ours
    )
    wait_until(lambda: pcap.exists() and pcap.stat().st_size >= 24)
    return process


def scan_with_each(wire: Wire) -> None:
    mac = wire.host_mac
    wire.scan("nmap", "-sS", "-Pn", "-n", "-T4", "-p", "1-400", HOST4)
    wire.scan("nmap", "-6", "-sS", "-Pn", "-n", "-T4", "-p", "1-100", HOST6)
    wire.scan("nmap", "-sU", "-Pn", "-n", "-T4", "--max-retries", "0", "-p", "53,123,161,1900", HOST4)
    masscan = ("masscan", HOST4, "-p1-400", "--rate", "4000", "--wait", "0", "-e", "v0")
    wire.scan(*masscan, "--source-ip", MASSCAN, "--router-mac", mac.replace(":", "-"))
    for port in ("80", "8443"):
        zmap = ("zmap", "-p", port, PREFIX, "-i", "v0", "-S", ZMAP, "-G", mac, "-B", "1M", "-c", "0")
        # Debian's ZMap 2.1.1 dies of an assertion of its own with some seeds.
        wire.scan(*zmap, "-b", "/dev/null", "-o", "/dev/null", "-q", "-e", "2")
    wire.scan("hping3", "-q", "-S", "-c", "60", "-i", "u5000", "-p", "++1", "-a", HPING, HOST4)
    wire.scan("hping3", "-q", "-1", "-c", "20", "-i", "u5000", "-d", "40", "-a", HPING, HOST4)
    wire.scan("hping3", "-q", "-2", "-c", "20", "-i", "u5000", "-d", "100", "-p", "5060", "-a", HPING, HOST4)
    wire.scan(
        "hping3", "-q", "-S", "-f", "-c", "5", "-i", "u5000", "-p", "99", "-d", "64", "-a", HPING, HOST4
    )


#: Our column → tshark's fields, the first that is filled counts, and how its text is read.
FIELDS: dict[str, tuple[tuple[str, ...], Any]] = {
    "src_addr": (("ip.src", "ipv6.src"), str),
    "dst_addr": (("ip.dst", "ipv6.dst"), str),
    "protocol": (("ip.proto", "ipv6.nxt"), int),
    "ttl": (("ip.ttl", "ipv6.hlim"), int),
    "ip_id": (("ip.id",), lambda text: int(text, 16)),
    "ip_df": (("ip.flags.df",), lambda text: int(text in ("1", "True"))),
    "ip_mf": (("ip.flags.mf",), lambda text: int(text in ("1", "True"))),
    "fragment_offset": (("ip.frag_offset",), int),
    "tos": (("ip.dsfield", "ipv6.tclass"), lambda text: int(text, 16)),
    "ip_version": (("ip.version", "ipv6.version"), int),
}
TCP_FIELDS: dict[str, tuple[tuple[str, ...], Any]] = {
    "src_port": (("tcp.srcport",), int),
    "dst_port": (("tcp.dstport",), int),
    "tcp_flags": (("tcp.flags",), lambda text: int(text, 16)),
    "tcp_seq": (("tcp.seq_raw",), int),
    "tcp_ack": (("tcp.ack_raw",), int),
    "tcp_window": (("tcp.window_size_value",), int),
    "tcp_options": (("tcp.options",), lambda text: text.replace(":", "")),
    "payload_length": (("tcp.len",), int),
}
UDP_FIELDS: dict[str, tuple[tuple[str, ...], Any]] = {
    "src_port": (("udp.srcport",), int),
    "dst_port": (("udp.dstport",), int),
    "payload_length": (("udp.length",), lambda text: int(text) - 8),
    "payload": (("udp.payload",), lambda text: text.replace(":", "")[: 2 * PAYLOAD_BYTES]),
}
ICMP_FIELDS: dict[str, tuple[tuple[str, ...], Any]] = {
    "icmp_type": (("icmp.type",), int),
    "icmp_code": (("icmp.code",), int),
}
BY_PROTOCOL = {6: TCP_FIELDS, 17: UDP_FIELDS, 1: ICMP_FIELDS}
LENGTHS = ("ip.len", "ipv6.plen")
OUR_FIELDS = [names for table in (FIELDS, *BY_PROTOCOL.values()) for names, _read in table.values()]
ALL_FIELDS = ("frame.time_epoch", "icmpv6.type", *LENGTHS, *(name for names in OUR_FIELDS for name in names))


def read_tshark(pcap: Path) -> list[dict[str, str]]:
    chosen = [word for name in ALL_FIELDS for word in ("-e", name)]
    plain = ("-o", "ip.defragment:FALSE", "-o", "tcp.desegment_tcp_streams:FALSE")
    shown = command(
        "tshark",
        "-r",
        str(pcap),
        "-n",
        *plain,
        "-T",
        "fields",
        "-E",
        "occurrence=f",
        "-E",
        "separator=|",
        *chosen,
    )
    rows = [dict(zip(ALL_FIELDS, line.split("|"), strict=True)) for line in shown.splitlines()]
    return [row for row in rows if not is_neighbour_discovery(row)]


def is_neighbour_discovery(row: dict[str, str]) -> bool:
    return row["icmpv6.type"] in ("133", "134", "135", "136", "137") and row["ipv6.hlim"] == "255"


def expect(row: dict[str, str]) -> tuple[tuple[str, Any], ...]:
    """Give the values that our columns must have for a packet, as tshark dissected it."""
    tables = [FIELDS]
    protocol = int(row["ip.proto"] or row["ipv6.nxt"])
    if int(row["ip.frag_offset"] or 0) == 0 and row["ip.flags.mf"] not in ("1", "True"):
        tables.append(BY_PROTOCOL.get(protocol, {}))
    values = {
        name: read(next(row[field] for field in fields if row[field]))
        for table in tables
        for name, (fields, read) in table.items()
        if any(row[field] for field in fields)
    }
    values["total_length"] = int(row["ip.len"]) if row["ip.len"] else int(row["ipv6.plen"]) + 40
    return tuple(sorted(values.items()))


def show(value: Any, row: int) -> Any:
    if isinstance(value, VarBytes):
        return value.data[value.offsets[row] : value.offsets[row + 1]].tobytes().hex()
    if value.ndim == 2:
        address = ipaddress.IPv6Address(value[row].tobytes())
        return str(address.ipv4_mapped or address)
    return int(value[row])


def list_recorded(
    batches: list[Batch], row_keys: list[tuple[str, ...]]
) -> Counter[tuple[tuple[str, Any], ...]]:
    """Give our rows, reduced to the columns that tshark knows for such a packet."""
    found: Counter[tuple[tuple[str, Any], ...]] = Counter()
    wanted = set(row_keys)
    for item in batches:
        for row in range(item.header.rows):
            for names in wanted:
                found[tuple((name, show(item.columns[name], row)) for name in names)] += 1
    return found


@pytest.mark.requirement("R1.1")
def test_every_field_of_every_packet_is_as_tshark_says(scanned: Scanned) -> None:
    expected = [expect(row) for row in scanned.tshark]
    recorded = list_recorded(scanned.batches, [tuple(name for name, _ in row) for row in expected])

    missing = {row: count for row, count in Counter(expected).items() if recorded[row] < count}

    assert len(expected) > 1_500
    assert not missing, f"{len(missing)} of {len(expected)}, for example {next(iter(missing))}"
    assert sum(item.header.rows for item in scanned.batches) == len(expected)


def test_the_times_are_those_of_the_wire(scanned: Scanned) -> None:
    ours = np.sort(np.concatenate([item.columns["observed_at"] for item in scanned.batches]))
    theirs = np.sort([round(float(row["frame.time_epoch"]) * 1e6) for row in scanned.tshark])

    assert np.abs(ours - theirs).max() < 20_000


def test_nothing_was_dropped_and_every_packet_is_accounted_for(scanned: Scanned) -> None:
    count, headers = scanned.status["packets"], [item.header for item in scanned.batches]

    assert sum(header.kernel_drops for header in headers) == count["kernel_drops"] == 0
    assert sum(header.captured for header in headers) == count["captured"]
    assert sum(header.rows + header.excluded for header in headers) == count["captured"]
    assert count["merged"] == count["moved"] == 0
    assert [header.seq for header in headers] == list(range(1, len(headers) + 1))


@pytest.mark.parametrize(
    ("source", "version", "wanted"),
    [
        (NMAP, 4, Hint.NMAP_SYN),
        (MASSCAN, 4, Hint.MASSCAN_OLD | Hint.MASSCAN_NEW),
        (ZMAP, 4, Hint.ZMAP_OLD | Hint.ZMAP_NEW),
    ],
)
def test_each_tool_gets_its_hint(scanned: Scanned, source: str, version: int, wanted: Hint) -> None:
    found = list_hints(scanned.batches, source, flags=2)

    assert len(found) >= 400
    assert all(bits & wanted and not bits & ~wanted for bits in found)


def test_hping_gets_none(scanned: Scanned) -> None:
    found = list_hints(scanned.batches, HPING)

    assert len(found) >= 100
    assert set(found) == {0}


@pytest.mark.requirement("R2.3")
@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        (NMAP, Hint.NMAP_SYN),
        (MASSCAN, Hint.MASSCAN_OLD | Hint.MASSCAN_NEW),
        (ZMAP, Hint.ZMAP_OLD | Hint.ZMAP_NEW),
    ],
)
def test_each_tool_gets_its_verdict_and_no_other(scanned: Scanned, source: str, wanted: Hint) -> None:
    verdicts = judge_tools(count_source(scanned.batches, source), rule_version=RULE_VERSION)

    yes = [verdict for verdict in verdicts if verdict.state == "yes"]
    assert len(yes) == 1
    assert yes[0].hint is not None
    assert yes[0].hint & wanted
    assert yes[0].matching >= 400
    assert {verdict.state for verdict in verdicts[1:]} == {"no"}


@pytest.mark.requirement("R2.3")
def test_hping_used_no_known_tool(scanned: Scanned) -> None:
    verdicts = judge_tools(count_source(scanned.batches, HPING), rule_version=RULE_VERSION)

    assert {verdict.state for verdict in verdicts} == {"no"}


def count_source(batches: list[Batch], source: str) -> SourceDayCounts:
    """Count a source's packets as the store does."""
    packed = np.frombuffer(ipaddress.IPv6Address(f"::ffff:{source}").packed, np.uint8)
    counts = SourceDayCounts()
    for item in batches:
        mine = (np.asarray(item.columns["src_addr"]) == packed).all(axis=1)
        found = derive_columns(item.columns, take_as_recorded(item.columns))["hints"].astype(np.uint32)
        columns = {
            name: np.asarray(item.columns[name])[mine]
            for name in ("protocol", "tcp_flags", "icmp_type", "tcp_seq")
        }
        nobody = np.zeros(int(mine.sum()), np.uint32)
        for day in count_source_days(
            nobody.astype(np.int64), columns, hints=found[mine], truth=nobody, least_packets=1
        ):
            counts = counts.add(day.counts)
    return counts


def list_hints(batches: list[Batch], source: str, flags: int | None = None) -> list[int]:
    packed = ipaddress.IPv6Address(f"::ffff:{source}").packed
    bits: list[int] = []
    for item in batches:
        if not item.header.rows:
            continue
        mine = (np.asarray(item.columns["src_addr"]) == np.frombuffer(packed, np.uint8)).all(axis=1)
        if flags is not None:
            mine &= np.asarray(item.columns["tcp_flags"]) == flags
        bits += derive_columns(item.columns, take_as_recorded(item.columns))["hints"][mine].tolist()
    return bits
