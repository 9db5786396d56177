"""Capture files of every kind that replay reads, whole and broken."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.sensor import capture_files
from teiten.sensor.capture_file_errors import (
    CaptureFileError,
    DamagedCaptureError,
    NotACaptureError,
    UnsupportedCaptureError,
)
from teiten.sensor.capture_files import open_capture
from teiten.traffic import addresses
from teiten.traffic.columns import VarBytes
from teiten.traffic.parse import parse_packets

GOLDEN = Path(__file__).parents[1] / "golden" / "scanners"
NOW_US = 1_795_000_000_123_456

pytestmark = pytest.mark.requirement("R1.1")


def ip4(payload=b"x", number=1):
    return (
        struct.pack(">BBHHHBBH", 0x45, 0, 28 + len(payload), number, 0, 64, 17, 0)
        + bytes.fromhex("f0000001c6336407")
        + struct.pack(">HHHH", 1000, 2000, 8 + len(payload), 0)
        + payload
    )


def ip6(payload=b"y"):
    return (
        struct.pack(">IHBB", 6 << 28, 8 + len(payload), 17, 64)
        + bytes.fromhex("3fff" + "00" * 13 + "01" + "20010db8" + "00" * 11 + "02")
        + struct.pack(">HHHH", 1000, 2000, 8 + len(payload), 0)
        + payload
    )


def ether(packet, *, kind=None, tags=b""):
    kind = kind or (b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd")
    return b"\x02" * 12 + tags + kind + packet


def pcap(frames, *, order="<", nano=False, link_type=1, snaplen=262144, times=None, modified=False):
    magic = 0xA1B2CD34 if modified else 0xA1B23C4D if nano else 0xA1B2C3D4
    out = [struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, snaplen, link_type)]
    for number, frame in enumerate(frames):
        time_us = (times or {}).get(number, NOW_US + number)
        seconds, rest = divmod(time_us, 1_000_000)
        kept = frame[:snaplen]
        out.append(struct.pack(f"{order}IIII", seconds, rest * (1000 if nano else 1), len(kept), len(frame)))
        out.append((bytes(8) if modified else b"") + kept)
    return b"".join(out)


def block(order, kind, body):
    body += bytes(-len(body) % 4)
    return struct.pack(f"{order}II", kind, len(body) + 12) + body + struct.pack(f"{order}I", len(body) + 12)


def option(order, code, value):
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order="<"):
    return block(order, 0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(order="<", *, link_type=1, snaplen=0, resolution=None, offset=None):
    options = b""
    if resolution is not None:
        options += option(order, 9, bytes([resolution]))
    if offset is not None:
        options += option(order, 14, struct.pack(f"{order}q", offset))
    return block(order, 1, struct.pack(f"{order}HHI", link_type, 0, snaplen) + options)


def enhanced(frame, ticks, order="<", *, number=0, wire=None, options=b""):
    body = struct.pack(
        f"{order}IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), wire or len(frame)
    )
    return block(order, 6, body + frame + bytes(-len(frame) % 4) + options)


def old_packet(frame, ticks, order="<", *, number=0):
    body = struct.pack(f"{order}HHIIII", number, 7, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
    return block(order, 2, body + frame)


def simple(frame, order="<", *, wire=None):
    return block(order, 3, struct.pack(f"{order}I", wire or len(frame)) + frame)


def list_rows(chunk):
    return [
        (
            chunk.raw[row, : chunk.captured_length[row]].tobytes(),
            int(chunk.wire_length[row]),
            int(chunk.observed_at_us[row]),
            int(chunk.vlan[row]),
            bool(chunk.stacked_vlan[row]),
        )
        for row in range(chunk.captured_length.size)
    ]


def read_all(path, **kwargs):
    """Give (bytes from the IP header, wire length, time, vlan, stacked) of every packet."""
    capture = open_capture(path)
    rows = [row for chunk in capture.packet_chunks(**kwargs) for row in list_rows(chunk)]
    return rows, capture


@pytest.fixture
def write(tmp_path):
    def write_file(content):
        path = tmp_path / "file.pcap"
        path.write_bytes(content)
        return path

    return write_file


def test_it_works(write):
    packets = [ip4(), ip6(b"longer payload"), ip4(b"")]

    rows, capture = read_all(write(pcap([ether(p) for p in packets])))

    assert rows == [(p, len(p), NOW_US + n, 0, False) for n, p in enumerate(packets)]
    assert (capture.format, capture.packets, capture.skipped_frames) == ("pcap", 3, 0)
    assert capture.done_bytes == capture.size_bytes


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nano", [False, True])
def test_pcap_in_either_order_and_resolution(write, order, nano):
    packets = [ip4(b"a" * n) for n in range(5)]

    rows, _ = read_all(write(pcap([ether(p) for p in packets], order=order, nano=nano)))

    assert rows == [(p, len(p), NOW_US + n, 0, False) for n, p in enumerate(packets)]


def test_modified_pcap(write):
    rows, _ = read_all(write(pcap([ether(ip4()), ether(ip6())], modified=True)))

    assert [row[0] for row in rows] == [ip4(), ip6()]


def test_small_chunks_give_the_same(write):
    frames = [ether(ip4(b"n" * (n % 50))) for n in range(25)]
    path = write(pcap(frames))

    assert read_all(path, max_packets=3)[0] == read_all(path)[0]


def test_a_short_capture_length_keeps_the_wire_length(write):
    rows, _ = read_all(write(pcap([ether(ip4(b"z" * 100))], snaplen=54)))

    assert rows == [(ip4(b"z" * 100)[:40], 128, NOW_US, 0, False)]


LINKS = {
    "ethernet": (1, ether(ip4()), 0, False),
    "802.1q": (1, ether(ip4(), tags=bytes.fromhex("8100 6005")), 0x6005, False),
    "802.1ad and 802.1q": (1, ether(ip4(), tags=bytes.fromhex("88a8 0064 8100 0005")), 0x0064, True),
    "old qinq": (1, ether(ip4(), tags=bytes.fromhex("9100 0064 8100 0005")), 0x0064, True),
    "three tags": (1, ether(ip4(), tags=bytes.fromhex("88a8 0003 8100 0002 8100 0001")), 0x0003, True),
    "llc snap": (1, ether(ip4(), kind=bytes.fromhex("0035 aaaa03000000 0800")), 0, False),
    "raw": (101, ip4(), 0, False),
    "raw bsd": (12, ip4(), 0, False),
    "raw openbsd": (14, ip4(), 0, False),
    "ipv4": (228, ip4(), 0, False),
    "cooked": (113, bytes.fromhex("0000 0001 0006 020202020202 0000 0800") + ip4(), 0, False),
    "cooked with tag": (
        113,
        bytes.fromhex("0000 0001 0006 020202020202 0000 8100 0007 0800") + ip4(),
        7,
        False,
    ),
    "cooked 2": (276, bytes.fromhex("0800 0000 00000002 0001 00 06 0202020202020000") + ip4(), 0, False),
    "null, little": (0, bytes.fromhex("02000000") + ip4(), 0, False),
    "null, big": (0, bytes.fromhex("00000002") + ip4(), 0, False),
    "loop": (108, bytes.fromhex("00000002") + ip4(), 0, False),
}


@pytest.mark.parametrize("name", LINKS)
def test_link_layers(write, name):
    link_type, frame, vlan, stacked = LINKS[name]

    rows, capture = read_all(write(pcap([frame], link_type=link_type)))

    assert rows == [(ip4(), len(ip4()), NOW_US, vlan, stacked)]
    assert capture.skipped_frames == 0


@pytest.mark.parametrize(
    ("link_type", "head"),
    [
        (1, ether(b"", kind=b"\x86\xdd")),
        (229, b""),
        (0, b"\x1e\0\0\0"),
        (113, bytes(14) + b"\x86\xdd"),
        (276, b"\x86\xdd" + bytes(18)),
    ],
)
def test_ipv6_over_link_layers(write, link_type, head):
    assert read_all(write(pcap([head + ip6()], link_type=link_type)))[0][0][0] == ip6()


def test_frames_without_ip_are_counted(write):
    arp = ether(bytes(28), kind=b"\x08\x06")
    frames = [arp, ether(ip4()), b"\x02" * 5, ether(b"", kind=b"\x88\xcc"), bytes(14), ether(ip6())]

    rows, capture = read_all(write(pcap(frames)))

    assert [row[0] for row in rows] == [ip4(), ip6()]
    assert (capture.packets, capture.skipped_frames) == (2, 4)


# --- pcapng -------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_with_several_interfaces(write, order):
    content = (
        section(order)
        + interface(order)
        + interface(order, link_type=101, resolution=9)
        + interface(order, link_type=113, resolution=3, offset=1_000)
        + enhanced(ether(ip4()), NOW_US, order)
        + block(order, 5, bytes(24))  # interface statistics
        + enhanced(ip6(), NOW_US * 1000 + 999, order, number=1, wire=900, options=option(order, 2, bytes(4)))
        + old_packet(LINKS["cooked"][1], NOW_US // 1000, order, number=2)
        + block(order, 0x0BAD, b"unknown to anyone")
    )

    rows, capture = read_all(write(content))

    assert capture.format == "pcapng"
    assert rows == [
        (ip4(), len(ip4()), NOW_US, 0, False),
        (ip6(), 900, NOW_US, 0, False),
        (ip4(), len(ip4()), NOW_US // 1000 * 1000 + 1_000_000_000, 0, False),
    ]


def test_pcapng_sections_change_byte_order_and_interfaces(write):
    content = (
        section("<")
        + interface("<")
        + enhanced(ether(ip4()), NOW_US, "<")
        + section(">")
        + interface(">", link_type=101)
        + enhanced(ip6(), NOW_US + 5, ">")
    )

    for max_packets in (1, 100):
        rows, _ = read_all(write(content), max_packets=max_packets)
        assert [(row[0], row[2]) for row in rows] == [(ip4(), NOW_US), (ip6(), NOW_US + 5)]


@pytest.mark.parametrize(
    ("resolution", "ticks", "expected_us"),
    [
        (0, 1_795_000_000, 1_795_000_000_000_000),
        (3, 1_795_000_000_123, 1_795_000_000_123_000),
        (6, NOW_US, NOW_US),
        (7, NOW_US * 10 + 9, NOW_US),
        (9, NOW_US * 1000 + 999, NOW_US),
        (12, 17_000_000_000_000_000_000, 17_000_000_000_000),
        (0x80 | 20, (1_795_000_000 << 20) + (1 << 19), 1_795_000_000_500_000),
        (0x80 | 32, (1_795_000_000 << 32) + (1 << 30), 1_795_000_000_250_000),
        (0x80 | 50, (9_000 << 50) + (1 << 49), 9_000_500_000),
        (0x80 | 0, 1_795_000_000, 1_795_000_000_000_000),
        (0x80 | 127, 2**63, 0),
        (127, 2**64 - 1, 0),
    ],
)
def test_pcapng_time_resolutions(write, resolution, ticks, expected_us):
    path = write(section() + interface(resolution=resolution) + enhanced(ether(ip4()), ticks))

    assert read_all(path)[0][0][2] == expected_us


def test_simple_packets_take_the_time_before_them(write):
    content = (
        section()
        + interface(snaplen=60)
        + simple(ether(ip4()))
        + enhanced(ether(ip4()), NOW_US)
        + simple(ether(ip4()))
        + simple(ether(ip4(b"q" * 100))[:60], wire=142)
    )

    for max_packets in (1, 2, 100):
        rows, capture = read_all(write(content), max_packets=max_packets)
        assert [row[2] for row in rows] == [0, NOW_US, NOW_US, NOW_US]
        assert [len(row[0]) for row in rows] == [29, 29, 29, 46]
        assert rows[3][1] == 128
        assert capture.untimed_packets == 3


# --- broken files -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello world", "is no pcap or pcapng capture: it begins with the bytes 68 65 6c 6c"),
        (b"\x1f\x8b\x08\x00" + bytes(50), "compressed with gzip; run gunzip on it first"),
        (b"\x28\xb5\x2f\xfd" + bytes(50), "compressed with zstd"),
        (b"snoop\0\0\0" + bytes(50), "editcap"),
        (b"\xd4", "begins with the bytes d4"),
    ],
)
def test_other_files_are_named(write, content, message):
    with pytest.raises(NotACaptureError, match=message):
        open_capture(write(content))


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(CaptureFileError, match="No such file"):
        open_capture(tmp_path / "absent.pcap")
    with pytest.raises(CaptureFileError, match="directory"):
        open_capture(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pcap([], link_type=105), r"link type 105 \(IEEE 802.11\)"),
        (pcap([], link_type=4711), "link type 4711 is not one"),
        (struct.pack("<IHHiIII", 0xA1B2C3D4, 3, 0, 0, 0, 65535, 1), "pcap version 3"),
    ],
)
def test_unsupported_captures_are_named(write, content, message):
    with pytest.raises(UnsupportedCaptureError, match=message):
        open_capture(write(content))


def test_an_unsupported_interface_is_named_when_it_has_packets(write):
    content = section() + interface() + interface(link_type=127) + enhanced(ether(ip4()), NOW_US)

    assert len(read_all(write(content))[0]) == 1
    with pytest.raises(UnsupportedCaptureError, match=r"127 \(IEEE 802.11 with radiotap header\)"):
        read_all(write(content + enhanced(bytes(60), NOW_US, number=1)))


def read_until_damage(path, **kwargs):
    count = 0
    chunks = open_capture(path).packet_chunks(**kwargs)
    while True:
        try:
            count += next(chunks).captured_length.size
        except DamagedCaptureError as error:
            return count, error


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_cut_pcap_gives_the_whole_packets_before(write, cut):
    frames = [ether(ip4(b"a" * 20)) for _ in range(4)]
    record = 16 + len(frames[0])

    count, error = read_until_damage(write(pcap(frames)[:-cut]))

    assert count == error.whole_packets == 3
    assert error.at_byte == 24 + 3 * record
    assert str(error.at_byte) in str(error)
    assert "3 packets before it are whole" in str(error)


def test_a_pcap_cut_in_its_header_is_damaged(write):
    with pytest.raises(DamagedCaptureError, match="ends within its header"):
        open_capture(write(pcap([])[:20]))


def test_an_impossible_record_length_is_named(write):
    good = pcap([ether(ip4())])
    bad = good + struct.pack("<IIII", 1, 1, 0x7FFFFFFF, 60) + bytes(200)

    count, error = read_until_damage(write(bad))

    assert (count, error.at_byte) == (1, len(good))
    assert "a record claims 2147483647 bytes" in str(error)


@pytest.mark.parametrize("time_us", [-1, 9_000_000_000_000_000])
def test_an_impossible_time_is_named(write, time_us):
    # The interface's offset moves a time that would fit.
    content = (
        section()
        + interface(offset=time_us // 1_000_000)
        + interface()
        + enhanced(ether(ip4()), NOW_US, number=1)
        + enhanced(ether(ip4()), 0)
        + enhanced(ether(ip4()), NOW_US, number=1)
    )

    count, error = read_until_damage(write(content))

    assert count == error.whole_packets == 1
    assert "outside the years 1970 to 2255" in str(error)


BROKEN_BLOCKS = {
    "length 0": (struct.pack("<II", 6, 0) + bytes(40), "claims 0 bytes"),
    "length not of 4": (struct.pack("<II", 6, 41) + bytes(60), "claims 41 bytes"),
    "beyond the file": (struct.pack("<II", 6, 4000) + bytes(60), "ends within a block"),
    "half a header": (b"\x06\0\0\0\x20", "ends within a block header"),
    "too short": (block("<", 6, bytes(8)), "too short for its fields"),
    "data beyond the block": (
        block("<", 6, struct.pack("<IIIII", 0, 0, 0, 500, 500) + bytes(40)),
        "claims 500 bytes in a block with room for 40",
    ),
    "unknown interface": (enhanced(ether(ip4()), 0, number=9), "a packet of interface 9"),
    "short interface": (block("<", 1, bytes(4)), "interface description of 16 bytes"),
    "bad offset option": (
        block("<", 1, struct.pack("<HHI", 1, 0, 0) + option("<", 14, bytes(4))),
        "if_tsoffset of 4 bytes",
    ),
    "section without mark": (struct.pack("<II", 0x0A0D0D0A, 28) + bytes(20), "byte-order mark"),
    "section cut": (section()[:20], "ends within a section header"),
    "section of version 7": (
        block("<", 0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 7, 0, -1)),
        "pcapng version 7",
    ),
}


@pytest.mark.parametrize("name", BROKEN_BLOCKS)
@pytest.mark.parametrize("max_packets", [1, 2, 100])
def test_a_broken_pcapng_gives_the_whole_packets_before(write, name, max_packets):
    tail, message = BROKEN_BLOCKS[name]
    good = section() + interface() + enhanced(ether(ip4()), NOW_US) + enhanced(ether(ip6()), NOW_US + 1)

    count, error = read_until_damage(write(good + tail), max_packets=max_packets)

    assert count == error.whole_packets == 2
    assert error.at_byte == len(good)
    assert message in str(error)


def test_a_simple_packet_without_interface_is_named(write):
    count, error = read_until_damage(write(section() + simple(ether(ip4()))))

    assert count == 0
    assert "a packet of interface 0" in str(error)


seeds = st.sampled_from(
    [
        pcap([ether(ip4()), ether(ip6())]),
        pcap([ip4(), ip6()], order=">", nano=True, link_type=101),
        section() + interface() + enhanced(ether(ip4()), NOW_US) + simple(ether(ip6())),
        section(">") + interface(">", resolution=9) + old_packet(ether(ip4()), NOW_US * 1000, ">"),
    ]
)


@settings(max_examples=300, deadline=None)
@given(seeds, st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4), st.integers(0, 250))
def test_no_damage_escapes_as_anything_but_a_capture_error(tmp_path_factory, seed, changes, end):
    content = bytearray(seed)
    for place, value in changes:
        content[place % len(content)] = value
    path = tmp_path_factory.mktemp("damage") / "file"
    path.write_bytes(content[:end])

    message = read_to_the_end(path)

    assert message is None or str(path) in message


def read_to_the_end(path):
    try:
        for chunk in open_capture(path).packet_chunks():
            assert (chunk.captured_length <= chunk.raw.shape[1]).all()
            assert (chunk.observed_at_us >= 0).all()
    except CaptureFileError as error:
        return str(error)
    return None


def test_memory_is_bounded_by_wide_packets():
    from teiten.sensor.capture_file_links import Packets

    count = 3000
    captured = np.full(count, 40, np.int64)
    captured[1000] = 60_000
    zeros = np.zeros(count, np.int64)
    packets = Packets(zeros, captured, captured, zeros, zeros.astype(np.uint16), zeros.astype(bool))

    parts = list(capture_files.split_by_memory(packets))

    assert sum(len(part) for part in parts) == count
    assert all(len(p) == 1 or len(p) * int(p.captured.max()) <= 64 << 20 for p in parts)


# --- against other readers ----------------------------------------------------------

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
needs_editcap = pytest.mark.skipif(shutil.which("editcap") is None, reason="editcap is not installed")
TSHARK_FIELDS = {
    "ttl": "ip.ttl",
    "ip_id": "ip.id",
    "ip_df": "ip.flags.df",
    "ip_mf": "ip.flags.mf",
    "fragment_offset": "ip.frag_offset",
    "total_length": "ip.len",
    "tos": "ip.dsfield",
    "protocol": "ip.proto",
    "tcp_seq": "tcp.seq_raw",
    "tcp_ack": "tcp.ack_raw",
    "tcp_window": "tcp.window_size_value",
    "tcp_flags": "tcp.flags",
    "icmp_type": "icmp.type",
    "icmp_code": "icmp.code",
}


def parse_file(path):
    (chunk,) = open_capture(path).packet_chunks()
    return parse_packets(
        chunk.raw,
        chunk.captured_length,
        wire_length=chunk.wire_length,
        observed_at_us=chunk.observed_at_us,
        vlan=chunk.vlan,
        stacked_vlan=chunk.stacked_vlan,
    )


def run_tshark(path, fields):
    command = [
        "tshark",
        "-n",
        "-r",
        str(path),
        "-o",
        "ip.defragment:FALSE",
        "-o",
        "ipv6.defragment:FALSE",
        "-T",
        "fields",
        "-E",
        "occurrence=f",
    ]
    for name in fields:
        command += ["-e", name]
    text = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return [line.split("\t") for line in text.splitlines()]


@needs_tshark
@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.pcap")), ids=lambda path: path.stem)
def test_real_captures_agree_with_tshark(path):
    columns = parse_file(path)
    names = list(TSHARK_FIELDS)

    rows = run_tshark(
        path,
        ["frame.time_epoch", "ip.src", "tcp.options", "tcp.srcport", "udp.srcport", *TSHARK_FIELDS.values()],
    )

    assert len(rows) == columns["ttl"].size
    for row, (time, src, options, tcp_port, udp_port, *values) in enumerate(rows):
        assert int(columns["observed_at"][row]) == round(float(time) * 1_000_000) or time.startswith(
            f"{columns['observed_at'][row] / 1e6:.6f}"
        )
        assert columns["src_addr"][row, 12:].tolist() == [int(part) for part in src.split(".")]
        found = columns["tcp_options"]
        assert isinstance(found, VarBytes)
        assert found.data[found.offsets[row] : found.offsets[row + 1]].tobytes().hex() == options
        assert int(columns["src_port"][row]) == int(tcp_port or udp_port or 0)
        for name, text in zip(names, values, strict=True):
            expected = {"True": 1, "False": 0, "": 0}.get(text)
            assert int(columns[name][row]) == (int(text, 0) if expected is None else expected), name


def tcp(flags=2, options=b"", payload=b""):
    return (
        struct.pack(">HHIIHHHH", 40000, 23, 11, 22, (5 + len(options) // 4) << 12 | flags, 1024, 0, 0)
        + options
        + payload
    )


def v4(protocol, body, *, options=b"", fragment=0):
    total = 20 + len(options) + len(body)
    head = struct.pack(">BBHHHBBH", 0x45 + len(options) // 4, 0x2E, total, 777, fragment, 61, protocol, 0)
    return head + bytes.fromhex("f0000001c6336407") + options + body


def v6(following, body):
    head = struct.pack(">IHBB", 6 << 28 | 0x2E << 20, len(body), following, 61)
    return head + bytes.fromhex("3fff" + "00" * 13 + "01" + "20010db8" + "00" * 11 + "02") + body


def udp(payload):
    return struct.pack(">HHHH", 40000, 4444, 8 + len(payload), 0) + payload


CRAFTED = [
    v4(6, tcp(0x12, bytes.fromhex("020405b401010402"), b"payload")),
    v4(6, tcp(), options=bytes.fromhex("94040000")),
    v4(17, udp(b"x" * 30)),
    v4(17, udp(b"x" * 8)[:16], fragment=0x2000),
    v4(17, b"later!!!", fragment=2),
    v4(1, bytes.fromhex("0800000012340001") + b"ping"),
    v4(1, bytes.fromhex("0303000000000000") + v4(17, udp(b""))),
    v4(
        132,
        struct.pack(">HHII", 40000, 3868, 0, 0) + bytes.fromhex("0100001400000001000010000001000100000001"),
    ),
    v4(47, bytes.fromhex("00000800") + v4(17, udp(b""))),
    v6(6, tcp(0x02, bytes.fromhex("020405a0"))),
    v6(
        0,
        bytes([60, 0])
        + bytes.fromhex("010400000000")
        + bytes([17, 0])
        + bytes.fromhex("010400000000")
        + udp(b"z" * 9),
    ),
    v6(44, bytes([17, 0]) + struct.pack(">HI", 1, 0xCAFE0001) + udp(b"q" * 24)),
    v6(44, bytes([17, 0]) + struct.pack(">HI", 3 << 3, 0xCAFE0001) + b"later!!!"),
    v6(43, bytes([6, 2, 0, 0]) + bytes(20) + tcp()),
    v6(51, bytes([17, 4, 0, 0]) + bytes(20) + udp(b"authenticated")),
    v6(58, bytes.fromhex("8000000012340001") + b"ping6"),
    v6(58, bytes.fromhex("0104000000000000") + v6(17, udp(b""))),
    v6(59, b"nothing"),
]


@needs_tshark
def test_crafted_packets_agree_with_tshark(write):
    path = write(pcap(CRAFTED, link_type=101))
    columns = parse_file(path)

    rows = run_tshark(
        path,
        [
            "ip.version",
            "ip.src",
            "ipv6.src",
            "ip.ttl",
            "ipv6.hlim",
            "ip.frag_offset",
            "ipv6.fraghdr.offset",
            "ip.id",
            "ipv6.fraghdr.ident",
            "tcp.srcport",
            "udp.srcport",
            "sctp.srcport",
            "tcp.len",
            "udp.length",
            "icmp.type",
            "icmpv6.type",
            "tcp.flags",
            "ip.dsfield",
            "ipv6.tclass",
        ],
    )

    assert len(rows) == len(CRAFTED)
    for row, texts in enumerate(rows):
        numbers = [int(text, 0) if text and "." not in text and ":" not in text else None for text in texts]
        version, _, _, ttl, hops, off4, off6, id4, id6, tcp_port, udp_port, sctp_port, *rest = numbers
        tcp_len, udp_len, type4, type6, flags, tos4, tos6 = rest
        source = texts[1] if columns["ip_version"][row] == 4 else texts[2]
        assert columns["ip_version"][row] == (version or 6)
        assert addresses.to_text(columns["src_addr"][row]) == source
        assert columns["ttl"][row] == (ttl or hops)
        assert columns["tos"][row] == (tos4 or tos6)
        assert columns["fragment_offset"][row] == (off4 if off4 is not None else off6 or 0)
        assert columns["ip_id"][row] == (id4 if id4 is not None else id6 or 0)
        if columns["protocol"][row] in {1, 47, 58}:  # tshark also shows the ports of what is quoted
            tcp_port = udp_port = sctp_port = udp_len = None
        assert columns["src_port"][row] == (tcp_port or udp_port or sctp_port or 0)
        assert columns["icmp_type"][row] == (type4 if type4 is not None else type6 or 0)
        assert columns["tcp_flags"][row] == (flags or 0)
        if tcp_len is not None:
            assert columns["payload_length"][row] == tcp_len
        if udp_len is not None and not columns["ip_mf"][row]:
            assert columns["payload_length"][row] == udp_len - 8


@needs_editcap
@pytest.mark.parametrize("kind", ["pcapng", "nsecpcap", "modpcap"])
def test_formats_of_editcap_give_the_same_packets(tmp_path, kind):
    source, target = GOLDEN / "masscan.pcap", tmp_path / "other"
    subprocess.run(["editcap", "-F", kind, str(source), str(target)], check=True)

    assert read_all(target)[0] == read_all(source)[0]
