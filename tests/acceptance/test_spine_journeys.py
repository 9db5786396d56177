"""Journeys over the whole spine: real programs, one installation, everything looked up in the end."""

from __future__ import annotations

import ipaddress
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "torture"))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

import test_real_scanners as scanners
from torture_house import HERE, Torture, tortured, wait_until
from traffic_reference import parse_reference

from sensor_wire import HOST4, HOST6, open_wire, stop
from teiten.traffic.columns import WIRE_COLUMNS
from teiten.traffic.hints import Hint

pytestmark = [pytest.mark.timeout(900), pytest.mark.xdist_group("torture")]

PAYLOAD_BYTES = 64
#: Whole days that have passed, as a capture's would have.
CAPTURE_FROM = "2026-09-01"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's own user may enter, other than pytest's."""
    made = Path(tempfile.mkdtemp(prefix="journey-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


# ── (a) an analyst replays a capture ─────────────────────────────────────────
def make_capture(path: Path, packets: int, *, link: str = "ethernet") -> Path:
    observed = ["--observed", "192.0.2.0/28", "--observed", "2001:db8:7::/64"]
    words = ["-m", "teiten.simulators", "capture", path, "--packets", packets, "--from", CAPTURE_FROM]
    subprocess.run(
        [sys.executable, *map(str, words), "--link", link, *observed],
        check=True,
        capture_output=True,
        timeout=600,
    )
    return path


def read_capture(path: Path) -> Iterator[tuple[int, bytes, int]]:
    """Give time (µs), bytes from the IP header on and true length of each whole packet, by struct alone."""
    data = path.read_bytes()
    magic, _, _, _, _, _, link = struct.unpack_from("<IHHiIII", data)
    assert magic == 0xA1B2C3D4
    skip, at = {1: 14, 101: 0}[link], 24
    while at + 16 <= len(data):
        seconds, micros, captured, wire = struct.unpack_from("<IIII", data, at)
        if at + 16 + captured > len(data):
            return
        yield seconds * 1_000_000 + micros, data[at + 16 + skip : at + 16 + captured], wire - skip
        at += 16 + captured


def expect_rows(path: Path) -> Counter[int]:
    """Give each packet's fields, by the tests' own parser, as hashes."""
    rows: Counter[int] = Counter()
    for at_us, captured, wire in read_capture(path):
        told = vars(parse_reference(captured, wire, PAYLOAD_BYTES))
        values = {name: value.hex() if isinstance(value, bytes) else value for name, value in told.items()}
        rows[hash((at_us, *(values[name] for name in FIELDS)))] += 1
    return rows


FIELDS = tuple(column.name for column in WIRE_COLUMNS if column.name not in ("observed_at", "vlan"))


def read_stored(house: Torture, dataset: str) -> list[dict[str, Any]]:
    """Give every row of a data set, out of the stopped installation."""
    file = house.folder / "packets.parquet"
    house.run_script("dump_packets.py", "--config", house.config, dataset, file, timeout_seconds=600)
    return pq.read_table(file).to_pylist()


def reduce_rows(rows: list[dict[str, Any]]) -> Counter[int]:
    found: Counter[int] = Counter()
    for row in rows:
        at_us = round(row["observed_at"].timestamp() * 1_000_000)
        values = (row[name].hex() if isinstance(row[name], bytes) else row[name] for name in FIELDS)
        found[hash((at_us, *values))] += 1
    return found


def enrol_importer(house: Torture) -> list[str]:
    """Make a sensor as an operator does, enrol it, and give the options of its replays."""
    bundle, state = house.folder / "importer.toml", house.folder / "importer"
    code, said = house.command(
        "sensor", "create", "importer", "--region", "kanto", "--may-import", "--bundle", bundle
    )
    assert code == 0, said
    token = re.search(r"tt1_\S+", said)
    assert token is not None, said
    options = ["--config", str(bundle), "--state-dir", str(state)]
    code, said = house.command(
        "enrol", *options, "--token-file", "-", program="teiten.sensor.main", given=token[0]
    )
    assert code == 0, said
    return options


def replay(house: Torture, options: list[str], name: str, *files: Path) -> tuple[int, str]:
    payload = ["--payload", PAYLOAD_BYTES]
    return house.command("replay", *options, *payload, "--name", name, *files, program="teiten.sensor.main")


def replay_and_compare(house: Torture, options: list[str], packets: int) -> None:
    capture = make_capture(house.folder / "capture.pcap", packets)
    started = time.monotonic()
    code, said = replay(house, options, "spring", capture)
    sent = time.monotonic() - started
    assert code == 0, said
    assert f"{packets:,} packets" in said
    wait_until(lambda: house.count_waiting() == 0, "the loader", 300.0)
    print(f"{packets:,} packets: sent in {sent:.1f} s, loaded after {time.monotonic() - started:.1f} s")
    period = {"dataset": "import:spring", "period": "custom", "start": f"{CAPTURE_FROM}T00:00:00Z"}
    period["end"] = "2026-11-20T00:00:00Z"
    assert house.ask_api("totals", **period)["packets"]["value"] == packets
    check_search(house, capture, period)
    code, said = replay(house, options, "spring", capture)
    assert code == 1
    assert "import spring was made before" in said


def compare_stored(house: Torture, packets: int) -> None:
    stored = read_stored(house, "import:spring")
    assert len(stored) == packets
    assert reduce_rows(stored) == expect_rows(house.folder / "capture.pcap")


def check_search(house: Torture, capture: Path, period: dict[str, str]) -> None:
    """Find one packet of the capture by its fields, and the number of packets to a port."""
    at_us, raw, _wire = next(iter(read_capture(capture)))
    told = parse_reference(raw, len(raw), 0)
    source = ipaddress.IPv6Address(told.src_addr)
    text = str(source.ipv4_mapped or source)
    found = house.ask_api(
        "rows", **period, q=f"src_addr = {text}", limit=1000, columns="observed_at,src_addr,ttl"
    )
    times = [row[0] for row in found["rows"]]
    wanted = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at_us // 1_000_000))}.{at_us % 1_000_000:06}Z"
    assert wanted in times
    assert {row[1] for row in found["rows"]} == {text}
    parsed = (parse_reference(raw, wire, 0) for _, raw, wire in read_capture(capture))
    to_telnet = sum(told.dst_port == 23 and told.protocol == 6 for told in parsed)
    counted = house.ask_api("totals", **period, q="dst_port = 23 and protocol = tcp")
    assert counted["packets"]["value"] == to_telnet


@pytest.mark.requirement("R1.1", "R2.3", "R2.4")
def test_captures_are_replayed_whole_broken_off_and_refused(folder: Path) -> None:
    """A whole one is found with every field right, a broken one gives its whole packets, what is none nothing."""
    with tortured(folder, is_hurried=False) as house:
        house.start_up()
        options = enrol_importer(house)
        replay_and_compare(house, options, 10_000)
        broken = replay_broken(house, options)
        replay_none(house, options)
        wait_until(lambda: house.count_waiting() == 0, "the loader", 60.0)
        datasets = {one["name"] for one in house.ask_api("datasets")}
        assert house.stop_up() == 0
        compare_stored(house, 10_000)
        assert reduce_rows(read_stored(house, "import:broken")) == broken

    assert datasets == {"import:spring", "import:broken"}


def replay_broken(house: Torture, options: list[str]) -> Counter[int]:
    """Replay what breaks off in a packet; give the rows that must be stored."""
    whole, broken = make_capture(house.folder / "whole.pcap", 2_000, link="raw"), house.folder / "broken.pcap"
    broken.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    expected = expect_rows(broken)
    code, said = replay(house, options, "broken", broken)
    assert code == 1
    assert f"{expected.total():,} packets" in said
    assert "broken.pcap" in said
    assert 0 < expected.total() < 2_000
    return expected


def replay_none(house: Torture, options: list[str]) -> None:
    none = house.folder / "none.pcap"
    none.write_bytes(b"PK\x03\x04 this is an archive, not a capture" * 20)
    code, said = replay(house, options, "none", none)
    assert code == 1
    assert "none.pcap" in said


@pytest.mark.long
@pytest.mark.requirement("R1.1", "R2.3")
def test_a_replayed_capture_of_a_million_packets_is_found_with_every_field_right(folder: Path) -> None:
    with tortured(folder, is_hurried=False) as house:
        house.start_up()
        replay_and_compare(house, enrol_importer(house), 1_000_000)
        assert house.stop_up() == 0
        compare_stored(house, 1_000_000)


# ── (b) real scanners come by ────────────────────────────────────────────────
@pytest.mark.requirement("R1.1", "R1.2", "R2.1")
@pytest.mark.parametrize("way", [pytest.param("store", marks=scanners.pytestmark)])
def test_what_real_scanners_sent_stands_in_the_store_as_tcpdump_recorded_it(folder: Path, way: str) -> None:
    del way
    with open_wire() as wire, tortured(folder, "scanned:live") as house:
        house.prefix = ("ip", "netns", "exec", wire.host)
        house.start_up()
        state = Path(house.order["folder"]) / "scanned"
        joining = subprocess.run(
            [*house.prefix, sys.executable, HERE / "sender.py", "enrol", house.order_file],
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert joining.returncode == 0, joining.stderr
        (state / "sensor.toml").write_text(SCANNED_SETTINGS)
        watched = ("--observed", f"{HOST4}/32", "--observed", f"{HOST6}/128", "--observed", scanners.PREFIX)
        sensor = wire.start_sensor(
            state, *watched, "--payload", str(PAYLOAD_BYTES), "--config", str(state / "sensor.toml"), verb="run"
        )  # fmt: skip
        dump = scanners.start_tcpdump(wire, folder / "wire.pcap")
        scanners.scan_with_each(wire)
        time.sleep(1.5)
        assert stop(sensor) == 0, (state / "sensor.log").read_text()[-2000:]
        dump.terminate()
        dump.wait(20)
        wait_until(
            lambda: house.count_waiting() == 0 and not house.list_spooled("scanned"), "the loader", 60.0
        )
        assert house.stop_up() == 0
        stored = read_stored(house, "live")
        seen = scanners.read_tshark(folder / "wire.pcap")

    compare_with_tshark(stored, seen)
    for source, wanted in (
        (scanners.NMAP, Hint.NMAP_SYN),
        (scanners.MASSCAN, Hint.MASSCAN_OLD | Hint.MASSCAN_NEW),
        (scanners.ZMAP, Hint.ZMAP_OLD | Hint.ZMAP_NEW),
    ):
        bits = [row["hints"] for row in of_source(stored, source) if row["tcp_flags"] == 2]
        assert len(bits) >= 400
        assert all(found & wanted and not found & ~wanted for found in bits), source
    assert {row["hints"] for row in of_source(stored, scanners.HPING)} == {0}


SCANNED_SETTINGS = """
[sensor]
window_seconds = 2
status_seconds = 0.1
first_connect_seconds = 0.0
poll_seconds = 0.1
min_free_bytes = 0
"""


def compare_with_tshark(stored: list[dict[str, Any]], seen: list[dict[str, str]]) -> None:
    expected = Counter(scanners.expect(row) for row in seen)
    shapes = {tuple(name for name, _ in row) for row in expected}
    found: Counter[Any] = Counter()
    for row in stored:
        for names in shapes:
            found[tuple((name, show(row[name])) for name in names)] += 1
    missing = {row: count for row, count in expected.items() if found[row] < count}
    assert not missing, f"{len(missing)} of {len(expected)}, for example {next(iter(missing))}"
    assert len(stored) == len(seen) > 1_500


def show(value: Any) -> Any:
    if isinstance(value, bytes):
        address = ipaddress.IPv6Address(value)
        return str(address.ipv4_mapped or address)
    return value


def of_source(stored: list[dict[str, Any]], source: str) -> list[dict[str, Any]]:
    return [row for row in stored if show(row["src_addr"]) == source]


# ── (c) a sensor goes silent, is suspended, and is revoked ───────────────────
@pytest.mark.requirement("R1.3", "R2.1")
def test_a_sensor_that_goes_silent_or_is_revoked_is_shown_so_and_what_it_sent_stays(folder: Path) -> None:
    rules = "\n[fleet]\nheartbeat_seconds = 2\n"
    with tortured(folder, "spool-1:live", "direct-1:live", settings=rules) as house:
        house.start_up()
        filling = house.start_sender("fill", "spool-1")
        wait_until((Path(house.order["folder"]) / "spool-1" / "identity.json").exists, "the enrolment", 60.0)
        upload = house.start_upload("spool-1")
        wait_for_condition(house, "spool-1", "watching")
        house.end_sender(filling)
        house.end_sender(upload)
        wait_for_condition(house, "spool-1", "silent")

        other = house.start_sender("send", "direct-1")
        wait_until(lambda: len(house.read_journal("direct-1")) > 3, "some receipts", 60.0)
        assert house.command("sensor", "suspend", "direct-1", "--reason", "test")[0] == 0
        assert other.wait(60) == 3
        house.senders.remove(other)
        assert "suspended" in (folder / "senders.log").read_text()
        assert house.command("sensor", "resume", "direct-1", "--reason", "test")[0] == 0
        before = len(house.read_journal("direct-1"))
        other = house.start_sender("send", "direct-1")
        wait_until(
            lambda: len(house.read_journal("direct-1")) > before, "receipts after the resumption", 60.0
        )
        assert house.command("sensor", "revoke", "direct-1", "--reason", "test")[0] == 0
        assert other.wait(60) == 3
        house.senders.remove(other)
        assert "revoked" in conditions_of(house, "direct-1")
        assert house.command("sensor", "resume", "direct-1", "--reason", "test")[0] == 1
        upload = house.start_upload("spool-1")
        wait_until(lambda: not house.list_spooled("spool-1"), "the spool to empty", 60.0)
        house.end_sender(upload)
        wait_until(lambda: house.count_waiting() == 0, "the loader", 60.0)

        house.check()


def wait_for_condition(house: Torture, name: str, condition: str) -> None:
    """Wait until `teiten sensor list` says so; each look is a process of its own."""
    wait_until(
        lambda: conditions_of(house, name) == condition, f"{name} to be {condition}", 60.0, pause_seconds=1.0
    )


def conditions_of(house: Torture, name: str) -> str:
    code, said = house.command("sensor", "list")
    assert code == 0, said
    return next(
        word
        for line in said.splitlines()
        if name in line
        for word in re.findall(
            r"revoked|suspended|quarantined|waiting|silent|gapped|dropping|skewed|watching", line
        )
    )
