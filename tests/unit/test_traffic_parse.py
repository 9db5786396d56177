"""The vectorised parser: agrees with a plain one, and never looks past a packet's own bytes."""

from __future__ import annotations

import importlib.util
import struct
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.traffic.columns import WIRE_COLUMNS, VarBytes
from teiten.traffic.marks import ParseMark
from teiten.traffic.parse import parse_packets

# Tests are collected in importlib mode, so a neighbour is loaded by its path.
_spec = importlib.util.spec_from_file_location(
    "traffic_reference", Path(__file__).with_name("traffic_reference.py")
)
traffic_reference = importlib.util.module_from_spec(_spec)
sys.modules["traffic_reference"] = traffic_reference
_spec.loader.exec_module(traffic_reference)

pytestmark = pytest.mark.requirement("R1.1")


def parse_list(packets, *, wire=None, width=176, payload_bytes=64, filler=None):
    """Parse packets (bytes) in one block whose rows hold ``filler`` after each."""
    raw = np.zeros((len(packets), width), np.uint8) if filler is None else filler.copy()
    lengths = np.array([min(len(p), width) for p in packets], np.uint32)
    for row, packet in enumerate(packets):
        raw[row, : lengths[row]] = np.frombuffer(packet[:width], np.uint8)
    wire_lengths = np.array([len(p) for p in packets] if wire is None else wire, np.uint32)
    count = len(packets)
    return parse_packets(
        raw,
        lengths,
        wire_length=wire_lengths,
        observed_at_us=np.arange(count, dtype=np.int64),
        vlan=np.zeros(count, np.uint16),
        payload_bytes=payload_bytes,
    )


def value_of(column, row):
    if isinstance(column, VarBytes):
        return column.data[column.offsets[row] : column.offsets[row + 1]].tobytes()
    return column[row].tobytes() if column.ndim == 2 else int(column[row])


def row_of(columns, row):
    return {name: value_of(column, row) for name, column in columns.items()}


def assert_same(columns, packets, wire, *, width, payload_bytes):
    for row, packet in enumerate(packets):
        expected = asdict(traffic_reference.parse_reference(packet[:width], wire[row], payload_bytes))
        got = row_of(columns, row)
        assert {name: got[name] for name in expected} == expected, packet.hex()


def ipv4(payload=b"", *, protocol=6, src="c0000201", dst="c6336407", **changes):
    values = {"first": 0x45, "tos": 0, "ip_id": 54321, "fragment": 0x4000, "ttl": 64, "options": b""}
    values |= changes
    header = 20 + len(values["options"])
    total = values.get("total", header + len(payload))
    first = values["first"] if "first" in changes else 0x40 | header // 4
    return (
        struct.pack(
            ">BBHHHBBH",
            first,
            values["tos"],
            total,
            values["ip_id"],
            values["fragment"],
            values["ttl"],
            protocol,
            0,
        )
        + bytes.fromhex(src + dst)
        + values["options"]
        + payload
    )


def ipv6(payload=b"", *, next_header=6, extensions=(), length=None, hops=64):
    chain, following = b"", next_header
    for number, body in reversed(extensions):
        chain = bytes([following]) + body + chain
        following = number
    rest = chain + payload
    return (
        struct.pack(
            ">IHBB", 0x6 << 28 | 0xA5 << 20 | 77, len(rest) if length is None else length, following, hops
        )
        + bytes.fromhex("20010db8" + "00" * 11 + "01" + "20010db8" + "00" * 11 + "02")
        + rest
    )


def tcp(options=b"", payload=b"", *, flags=2, offset=None):
    words = 5 + len(options) // 4 if offset is None else offset
    return struct.pack(">HHIIHHHH", 40000, 23, 1, 2, words << 12 | flags, 1024, 0, 0) + options + payload


def udp(payload=b"", *, length=None):
    return struct.pack(">HHHH", 53, 4444, 8 + len(payload) if length is None else length, 0) + payload


def test_it_works():
    columns = parse_list([ipv4(tcp(bytes.fromhex("020405b4"), b"abcde"))], payload_bytes=3)

    row = row_of(columns, 0)
    assert list(columns) == [column.name for column in WIRE_COLUMNS]
    assert row["src_addr"] == bytes.fromhex("00000000000000000000ffffc0000201")
    assert (row["src_port"], row["dst_port"], row["tcp_flags"], row["tcp_window"]) == (40000, 23, 2, 1024)
    assert (row["tcp_options"], row["payload"], row["payload_length"]) == (
        bytes.fromhex("020405b4"),
        b"abc",
        5,
    )
    assert row["parse_marks"] == ParseMark.HAS_PORTS


def test_columns_have_their_declared_types():
    columns = parse_list([ipv4(tcp()), ipv6(udp(b"x"), next_header=17), b"\x00"])

    for column in WIRE_COLUMNS:
        values = columns[column.name]
        if column.kind == "bytes":
            assert (values.offsets.dtype, values.data.dtype) == (np.int32, np.uint8)
        elif column.kind == "address":
            assert (values.dtype, values.shape) == (np.uint8, (3, 16))
        else:
            assert (values.dtype, values.shape) == (np.dtype(column.numpy_type), (3,)), column.name


def test_no_packets_give_empty_columns():
    columns = parse_list([])

    assert all(
        c.offsets.tolist() == [0] if isinstance(c, VarBytes) else len(c) == 0 for c in columns.values()
    )


@pytest.mark.parametrize("payload_bytes", [-1, 129])
def test_it_refuses_an_impossible_payload_setting(payload_bytes):
    with pytest.raises(ValueError, match="must be 0 to 128"):
        parse_list([ipv4(tcp())], payload_bytes=payload_bytes)


NAMED = {
    "ipv4 options": (
        ipv4(tcp(), options=bytes.fromhex("94040000")),
        ParseMark.IP_OPTIONS | ParseMark.HAS_PORTS,
    ),
    "ihl 4": (ipv4(tcp(), first=0x44), ParseMark.BAD_IP_HEADER),
    "ihl beyond the packet": (
        ipv4(tcp(), first=0x4F),
        ParseMark.BAD_IP_HEADER | ParseMark.BAD_TOTAL_LENGTH | ParseMark.IP_OPTIONS,
    ),
    "total length 0": (ipv4(tcp(), total=0), ParseMark.BAD_IP_HEADER | ParseMark.BAD_TOTAL_LENGTH),
    "total length beyond the wire": (
        ipv4(tcp(), total=1500),
        ParseMark.BAD_TOTAL_LENGTH | ParseMark.HAS_PORTS,
    ),
    "evil bit": (ipv4(tcp(), fragment=0x8000), ParseMark.RESERVED_BIT | ParseMark.HAS_PORTS),
    "later fragment": (ipv4(b"x" * 24, fragment=0x2003), ParseMark.LATER_FRAGMENT),
    "first fragment of a long datagram": (
        ipv4(udp(b"x" * 16, length=3000), protocol=17, fragment=0x2000),
        ParseMark.HAS_PORTS,
    ),
    "data offset 4": (ipv4(tcp(offset=4)), ParseMark.BAD_DATA_OFFSET | ParseMark.HAS_PORTS),
    "data offset 15": (ipv4(tcp(offset=15)), ParseMark.BAD_DATA_OFFSET | ParseMark.HAS_PORTS),
    "8 bytes of tcp": (ipv4(tcp()[:8]), ParseMark.SHORT_TRANSPORT | ParseMark.HAS_PORTS),
    "3 bytes of udp": (ipv4(udp()[:3], protocol=17), ParseMark.SHORT_TRANSPORT),
    "udp length 7": (
        ipv4(udp(b"abc", length=7), protocol=17),
        ParseMark.BAD_UDP_LENGTH | ParseMark.HAS_PORTS,
    ),
    "udp length beyond": (
        ipv4(udp(b"abc", length=99), protocol=17),
        ParseMark.BAD_UDP_LENGTH | ParseMark.HAS_PORTS,
    ),
    "ethernet padding": (ipv4(tcp()) + b"PADDING", ParseMark.HAS_PORTS),
    "ipv6 chain": (
        ipv6(
            tcp(),
            extensions=[
                (0, bytes(7)),
                (43, bytes([1]) + bytes(14)),
                (60, bytes(7)),
                (51, bytes([4]) + bytes(22)),
            ],
        ),
        ParseMark.EXTENSION_HEADERS | ParseMark.HAS_PORTS,
    ),
    "ipv6 later fragment": (
        ipv6(b"z" * 16, extensions=[(44, bytes([0]) + struct.pack(">HI", 185 << 3, 0xDEADBEEF))]),
        ParseMark.EXTENSION_HEADERS | ParseMark.LATER_FRAGMENT,
    ),
    "ipv6 no next header": (ipv6(b"rest", next_header=59), 0),
    "ipv6 chain too long": (
        ipv6(b"", next_header=60, extensions=[(60, bytes(7))] * 17),
        ParseMark.EXTENSION_HEADERS | ParseMark.BAD_EXTENSION_CHAIN,
    ),
    "ipv6 chain past the end": (
        ipv6(b"", extensions=[(60, bytes([9]) + bytes(6))]),
        ParseMark.EXTENSION_HEADERS | ParseMark.BAD_EXTENSION_CHAIN,
    ),
    "version 5": (b"\x55" + ipv4(tcp())[1:], ParseMark.NO_IP),
    "19 bytes of ipv4": (ipv4()[:19], ParseMark.NO_IP),
    "nothing": (b"", ParseMark.NO_IP),
}


@pytest.mark.parametrize("name", NAMED)
def test_unusual_headers_are_marked(name):
    packet, marks = NAMED[name]

    columns = parse_list([packet], width=256)

    assert ParseMark(value_of(columns["parse_marks"], 0)) == ParseMark(int(marks))
    assert_same(columns, [packet], [len(packet)], width=256, payload_bytes=64)


def test_a_cut_capture_says_so():
    packet = ipv4(tcp(bytes(20), b"p" * 100))

    lengths = [20, 24, 36, 40, 50, 60, 80, 160]
    columns = parse_list([packet[:n] for n in lengths], wire=[len(packet)] * len(lengths))

    assert ((columns["parse_marks"] & ParseMark.CUT) != 0).tolist() == [n < 160 for n in lengths]
    assert [len(value_of(columns["tcp_options"], row)) for row in range(8)] == [0, 0, 0, 0, 10, 20, 20, 20]
    assert columns["payload_length"].tolist() == [0, 0, 0, 100, 100, 100, 100, 100]


def test_stacked_vlan_is_marked():
    packet = ipv4(tcp())
    raw = np.frombuffer(packet * 2, np.uint8).reshape(2, -1)
    lengths = np.full(2, len(packet), np.uint32)

    columns = parse_packets(
        raw,
        lengths,
        wire_length=lengths,
        observed_at_us=np.zeros(2, np.int64),
        vlan=np.array([5, 0], np.uint16),
        stacked_vlan=np.array([True, False]),
    )

    assert columns["vlan"].tolist() == [5, 0]
    assert (columns["parse_marks"] & ParseMark.STACKED_VLAN).astype(bool).tolist() == [True, False]


# --- random packets -----------------------------------------------------------------

small = st.binary(max_size=60)
options = st.integers(0, 10).flatmap(lambda words: st.binary(min_size=words * 4, max_size=words * 4))
protocols = st.sampled_from([0, 1, 2, 6, 6, 6, 17, 17, 33, 41, 43, 44, 47, 50, 51, 58, 59, 60, 132, 255])
transports = st.one_of(
    small,
    st.builds(tcp, options, small, flags=st.integers(0, 4095), offset=st.none() | st.integers(0, 15)),
    st.builds(udp, small, length=st.none() | st.integers(0, 80)),
)
v4_packets = st.builds(
    ipv4,
    transports,
    protocol=protocols,
    options=options,
    fragment=st.sampled_from([0, 0x4000, 0x2000, 0x8000, 0x2003, 185]),
    ttl=st.integers(0, 255),
    tos=st.integers(0, 255),
)
extension = st.one_of(
    st.tuples(st.sampled_from([0, 43, 60]), st.just(bytes(7))),
    st.tuples(st.sampled_from([0, 43, 60]), st.just(bytes([1]) + bytes(14))),
    st.tuples(st.just(51), st.just(bytes([4]) + bytes(22))),
    st.tuples(st.just(51), st.just(bytes([1]) + bytes(10))),
    st.tuples(
        st.just(44),
        st.tuples(st.sampled_from([0, 1, 8, 9]), st.integers(0, 2**32 - 1)).map(
            lambda t: b"\0" + struct.pack(">HI", *t)
        ),
    ),
    st.tuples(st.sampled_from([0, 43, 51, 60]), st.binary(min_size=7, max_size=7)),
)
v6_packets = st.builds(
    ipv6,
    transports,
    next_header=protocols,
    extensions=st.lists(extension, max_size=5) | st.just([(60, bytes(7))] * 17),
    length=st.none() | st.integers(0, 120),
)


@st.composite
def damaged(draw):
    """A packet of some kind, perhaps with bytes changed, cut off or added."""
    packet = bytearray(draw(st.one_of(v4_packets, v6_packets, st.binary(max_size=120))))
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        if packet:
            packet[draw(st.integers(0, min(len(packet), 60) - 1))] = draw(st.integers(0, 255))
    end = draw(st.one_of(st.just(len(packet)), st.integers(0, len(packet))))
    return bytes(packet[:end]) + draw(st.sampled_from([b"", b"", b"pad", bytes(18)])), len(packet)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(damaged(), max_size=12),
    st.sampled_from([33, 64, 79, 176, 300]),
    st.sampled_from([0, 3, 64, 128]),
    st.booleans(),
)
def test_it_agrees_with_the_plain_parser(drawn, width, payload_bytes, alike):
    drawn = drawn[:1] * len(drawn) if alike else drawn
    packets, wire = [d[0] for d in drawn], [d[1] for d in drawn]

    columns = parse_list(packets, wire=wire, width=width, payload_bytes=payload_bytes)

    assert_same(columns, packets, wire, width=width, payload_bytes=payload_bytes)


def own_length(packet):
    """How many captured bytes are the packet's own: the statement of its IP header bounds them."""
    if len(packet) >= 20 and packet[0] >> 4 == 4:
        return min(len(packet), max(20, int.from_bytes(packet[2:4], "big")))
    if len(packet) >= 40 and packet[0] >> 4 == 6:
        return min(len(packet), 40 + int.from_bytes(packet[4:6], "big"))
    return min(len(packet), 1)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(damaged(), min_size=1, max_size=8), st.integers(0, 2**32 - 1), st.sampled_from([40, 176, 256])
)
def test_bytes_beyond_a_packet_change_nothing(drawn, seed, width):
    packets = [packet[:width] for packet, _ in drawn]
    wire = [length for _, length in drawn]
    noise = np.random.default_rng(seed).integers(0, 256, (len(packets), width), dtype=np.uint8)
    flipped = [
        packet[: own_length(packet)] + bytes(b ^ 0xFF for b in packet[own_length(packet) :])
        for packet in packets
    ]

    plain = parse_list(packets, wire=wire, width=width)
    noisy = parse_list(flipped, wire=wire, width=width, filler=noise)

    for row in range(len(packets)):
        assert row_of(plain, row) == row_of(noisy, row)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 40),
    st.integers(1, 200),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0x45, 0x60, 0x4F, 0x65, None]),
)
def test_any_bytes_parse(count, width, seed, first):
    rng = np.random.default_rng(seed)
    raw = rng.integers(0, 256, (count, width), dtype=np.uint8)
    if first is not None:
        raw[:, 0] = first
    lengths = rng.integers(0, 2**32, count, dtype=np.uint32)

    columns = parse_packets(
        raw,
        lengths,
        wire_length=rng.integers(0, 2**32, count, dtype=np.uint32),
        observed_at_us=np.zeros(count, np.int64),
        vlan=np.zeros(count, np.uint16),
    )

    for column in columns.values():
        size = column.offsets.size - 1 if isinstance(column, VarBytes) else len(column)
        assert size == count
        if isinstance(column, VarBytes):
            assert (np.diff(column.offsets) >= 0).all()
            assert column.offsets[-1] == column.data.size


def test_equal_payloads_are_hashed_alike_whatever_their_neighbours():
    payloads = [b"a", b"a" * 64, b"a", b"", b"b" * 63, b"a" * 64, b"a\0", b"a\0\0"] * 40
    packets = [ipv4(udp(p), protocol=17) for p in payloads]

    columns = parse_list(packets)

    assert_same(columns, packets, [len(p) for p in packets], width=176, payload_bytes=64)


@pytest.mark.parametrize(
    "packets",
    [[ipv4(tcp(bytes(4), b"abc"))] * 3, [ipv6(udp(b"abc"), next_header=17), ipv4(udp(b"xyz"), protocol=17)]],
)
def test_columns_outlive_the_buffer_they_came_from(packets):
    """The sensor writes the next packets over the same rows."""
    raw = np.zeros((len(packets), 176), np.uint8)
    for row, packet in enumerate(packets):
        raw[row, : len(packet)] = np.frombuffer(packet, np.uint8)
    lengths = np.array([len(p) for p in packets], np.uint32)
    times, vlan = np.zeros(len(packets), np.int64), np.zeros(len(packets), np.uint16)

    columns = parse_packets(raw, lengths, wire_length=lengths, observed_at_us=times, vlan=vlan)

    for column in columns.values():
        for part in column if isinstance(column, VarBytes) else (column,):
            assert not any(np.shares_memory(part, source) for source in (raw, lengths, times, vlan))
