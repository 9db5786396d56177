"""Hints: on packets of the real tools, and on packets made from the tools' formulas."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.traffic import hints
from teiten.traffic.hints import RULES, Hint
from teiten.traffic.parse import parse_packets
from teiten.traffic.rules import RULE_VERSION

SCANNERS = Path(__file__).parents[1] / "golden" / "scanners"

pytestmark = pytest.mark.requirement("R4.1", "R2.3")


def parse_list(packets):
    width = max(map(len, packets))
    raw = np.zeros((len(packets), width), np.uint8)
    for row, packet in enumerate(packets):
        raw[row, : len(packet)] = np.frombuffer(packet, np.uint8)
    lengths = np.array([len(p) for p in packets], np.uint32)
    return parse_packets(
        raw,
        lengths,
        wire_length=lengths,
        observed_at_us=np.zeros(len(packets), np.int64),
        vlan=np.zeros(len(packets), np.uint16),
    )


def match(columns):
    """Match packets that show the public destination."""
    return hints.match(columns, columns["dst_addr"], is_known=np.ones(len(columns["protocol"]), bool))


def read_pcap(name):
    """Read a little-endian Ethernet pcap written by tcpdump, without its MAC headers."""
    data = (SCANNERS / f"{name}.pcap").read_bytes()
    packets, at = [], 24
    while at < len(data):
        captured = struct.unpack_from("<I", data, at + 8)[0]
        packets.append(data[at + 30 : at + 16 + captured])
        at += 16 + captured
    return packets


def syn(
    *,
    dst="c6336407",
    port=23,
    seq=1,
    window=65535,
    options="",
    ttl=250,
    ip_id=7,
    df=0,
    flags=2,
    tos=0,
    protocol=6,
    ack=0,
):
    extra = bytes.fromhex(options)
    tcp = struct.pack(">HHIIHHHH", 40000, port, seq, ack, (5 + len(extra) // 4) << 12 | flags, window, 0, 0)
    head = struct.pack(">BBHHHBBH", 0x45, tos, 40 + len(extra), ip_id, df << 14, ttl, protocol, 0)
    return head + bytes.fromhex("f0000001" + dst) + tcp + extra


def masscan(*, options="", dst="c6336407", port=23, seq=0xDEADBEEF, window=1024, ttl=243, **changes):
    ip_id = (int(dst, 16) ^ port ^ seq) & 0xFFFF
    return syn(
        dst=dst, port=port, seq=seq, window=window, options=options, ttl=ttl, **{"ip_id": ip_id} | changes
    )


ZMAP_WINDOWS = "020405b40103030801010402"
ZMAP_LINUX = "020405b40402080a1122334400000000010303" + "07"
ZMAP_BSD = "020405b4010303060101080a55667788000000000402" + "0000"


@pytest.mark.parametrize(
    ("name", "hint", "share"),
    [
        ("masscan", Hint.MASSCAN_OLD, 24),
        ("zmap_tcp", Hint.ZMAP_OLD, 16),
        ("zmap_udp", Hint.ZMAP_OLD, 8),
        ("zmap_icmp", Hint.ZMAP_OLD, 8),
        ("nmap_syn", Hint.NMAP_SYN, 15),
    ],
)
def test_real_scanners_are_recognised(name, hint, share):
    found = match(parse_list(read_pcap(name)))

    # Masscan also resets the answered connections; those three packets carry no mark.
    assert found.tolist().count(int(hint)) == share
    assert set(found.tolist()) <= {0, int(hint)}


@pytest.mark.parametrize(
    "name",
    [
        "hping3_syn",
        "hping3_fixed",
        "hping3_udp",
        "hping3_icmp",
        "hping3_options",
        "hping3_fragments",
        "nmap_connect",
        "nmap_udp",
        "nmap_xmas",
    ],
)
def test_other_senders_get_no_hint(name):
    assert not match(parse_list(read_pcap(name))).any()


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (syn(seq=0xC6336407, window=31337, ttl=57), Hint.MIRAI),
        (syn(seq=0x076433C6, window=31337, ttl=57), 0),
        (syn(seq=0xC6336407, flags=0x12), 0),
        (syn(ip_id=54321), Hint.ZMAP_OLD),
        (syn(ip_id=54321, options="020405b4"), Hint.ZMAP_OLD),
        (syn(ip_id=54321, ttl=64), 0),
        (syn(ip_id=54321, window=512), 0),
        (syn(options=ZMAP_WINDOWS), Hint.ZMAP_NEW),
        (syn(options=ZMAP_WINDOWS, ip_id=54321), Hint.ZMAP_NEW),
        (syn(options=ZMAP_LINUX), Hint.ZMAP_NEW),
        (syn(options=ZMAP_BSD), Hint.ZMAP_NEW),
        (syn(options="020405b4"), Hint.ZMAP_NEW),
        # A real Windows, and a real Linux.
        (syn(options=ZMAP_WINDOWS, ttl=116, df=1, window=64240), 0),
        (syn(options="020405b40402080a1122334400000000010303" + "0a", ttl=53, df=1, window=64240), 0),
        (masscan(), Hint.MASSCAN_OLD),
        (masscan(options="020405b4"), Hint.MASSCAN_NEW),
        # Networks on the way rewrite the type of service.
        (masscan(tos=0x28), Hint.MASSCAN_OLD),
        (syn(options=ZMAP_WINDOWS, tos=0x20), Hint.ZMAP_NEW),
        (masscan(ip_id=1), 0),
        (masscan(ttl=64), 0),
        (masscan(window=512), 0),
        (masscan(df=1), 0),
        (masscan(options="02040200"), 0),
        (masscan(options="020405b4", ttl=48), Hint.NMAP_SYN),
        (syn(window=4096, options="020405b4", ttl=40), Hint.NMAP_SYN),
        (syn(window=1024, options="020405b4", ttl=60), 0),
        (syn(window=1024, options="020405b4", ttl=40, df=1), 0),
    ],
)
def test_formulas_are_matched_whole(packet, expected):
    assert match(parse_list([packet])).tolist() == [int(expected)]


def test_ipv6_gets_no_hint():
    v6 = struct.pack(">IHBB", 6 << 28, 20, 6, 250) + bytes(32) + syn(seq=0, window=1024, ip_id=0)[20:]

    assert match(parse_list([v6])).tolist() == [0]


def test_a_cut_header_gets_no_hint():
    assert match(parse_list([syn(seq=0xC6336407)[:30]])).tolist() == [0]


@settings(max_examples=50, deadline=None)
@given(
    dst=st.integers(0, 2**32 - 1).map(lambda n: f"{n:08x}"),
    port=st.integers(0, 65535),
    seq=st.integers(0, 2**32 - 1),
    ttl=st.integers(200, 255),
)
def test_masscan_holds_for_any_target(dst, port, seq, ttl):
    found = match(parse_list([masscan(dst=dst, port=port, seq=seq, ttl=ttl)]))[0]

    assert found & Hint.MASSCAN_OLD


public = st.integers(0xC6336400, 0xC63364FF).map(lambda n: f"{n:08x}")


@st.composite
def tool_packets(draw):
    """A packet of some tool, or of none, to a public address."""
    dst, seq = draw(public), draw(st.integers(0, 2**32 - 1))
    return draw(
        st.sampled_from(
            [
                syn(dst=dst, seq=int(dst, 16), window=31337, ttl=57),
                syn(dst=dst, seq=seq, window=64240, ttl=57, df=1),
                syn(dst=dst, seq=seq, ip_id=54321),
                syn(dst=dst, seq=seq, options=ZMAP_WINDOWS),
                masscan(dst=dst, seq=seq),
                masscan(dst=dst, seq=seq, options="020405b4"),
                syn(dst=dst, seq=seq, window=1024, options="020405b4", ttl=45),
                syn(dst=dst, seq=int(dst, 16), flags=0x12),
            ]
        )
    )


LOCAL = "c0000209"


def translate(packet):
    """Do what 1:1 NAT does to the destination."""
    return packet[:16] + bytes.fromhex(LOCAL) + packet[20:]


@settings(max_examples=60, deadline=None)
@given(st.lists(tool_packets(), min_size=1, max_size=8), st.data())
def test_behind_nat_hints_are_those_of_the_public_address(packets, data):
    direct = parse_list(packets)
    local = parse_list([translate(packet) for packet in packets])
    is_known = np.array(data.draw(st.lists(st.booleans(), min_size=len(packets), max_size=len(packets))))

    wanted = match(direct)
    found = hints.match(
        local, np.where(is_known[:, None], direct["dst_addr"], 0).astype(np.uint8), is_known=is_known
    )

    needing = np.uint32(sum(rule.hint for rule in RULES if rule.needs_destination))
    is_syn = direct["tcp_flags"] == 2
    assert (found[is_known] == wanted[is_known]).all()
    unknown = wanted[~is_known] & ~needing
    unknown[is_syn[~is_known]] |= np.uint32(Hint.NOT_COMPUTABLE)
    assert (found[~is_known] == unknown).all()


def test_only_syns_of_ipv4_wait_for_the_destination():
    v6 = struct.pack(">IHBB", 6 << 28, 20, 6, 250) + bytes(32) + syn()[20:]
    columns = parse_list([syn(), syn(flags=0x12), syn(protocol=17), v6])

    found = hints.match(columns, columns["dst_addr"], is_known=np.zeros(4, bool))

    assert found.tolist() == [int(Hint.NOT_COMPUTABLE), 0, 0, 0]


def test_random_syn_packets_are_almost_never_marked():
    """hping3's shape with everything random that it randomises, and Masscan's window on top."""
    rng = np.random.default_rng(7)
    packets = [
        syn(seq=int(seq), ip_id=int(ip_id), window=512, ttl=64)
        for seq, ip_id in zip(rng.integers(0, 2**32, 20_000), rng.integers(0, 2**16, 20_000), strict=True)
    ]

    assert not match(parse_list(packets)).any()


def test_every_hint_has_one_rule_of_a_known_version():
    assert [rule.hint for rule in RULES] == [hint for hint in Hint if hint is not Hint.NOT_COMPUTABLE]
    assert all(1 <= rule.since_version <= RULE_VERSION for rule in RULES)
    assert all(rule.match.__doc__ for rule in RULES)
