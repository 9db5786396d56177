"""The nature of packets, and which UDP would trigger a reflector."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.traffic import rules
from teiten.traffic.nature import Nature
from teiten.traffic.parse import parse_packets
from teiten.traffic.probes import load_probes

SCANNERS = Path(__file__).parents[1] / "golden" / "scanners"

pytestmark = pytest.mark.requirement("R2.3")


def parse_list(packets, *, wire=None, payload_bytes=64):
    width = max(map(len, packets))
    raw = np.zeros((len(packets), width), np.uint8)
    for row, packet in enumerate(packets):
        raw[row, : len(packet)] = np.frombuffer(packet, np.uint8)
    lengths = np.array([len(p) for p in packets], np.uint32)
    return parse_packets(
        raw,
        lengths,
        wire_length=lengths if wire is None else np.array(wire, np.uint32),
        observed_at_us=np.zeros(len(packets), np.int64),
        vlan=np.zeros(len(packets), np.uint16),
        payload_bytes=payload_bytes,
    )


def natures_of(*packets, **kwargs):
    return [Nature(value) for value in derive(parse_list(packets, **kwargs))["nature"].tolist()]


def derive(columns):
    return rules.derive_columns(columns, rules.take_as_recorded(columns))


def ip(protocol, payload, *, first=0x45, fragment=0):
    head = struct.pack(">BBHHHBBH", first, 0, 20 + len(payload), 1, fragment, 64, protocol, 0)
    return head + bytes.fromhex("f0000001c6336407") + payload


def ip6(next_header, payload):
    return struct.pack(">IHBB", 6 << 28, len(payload), next_header, 64) + bytes(32) + payload


def tcp(flags):
    return struct.pack(">HHIIHHHH", 40000, 23, 1, 0, 5 << 12 | flags, 1024, 0, 0)


def udp(payload, *, src=40000, dst=9):
    return ip(17, struct.pack(">HHHH", src, dst, 8 + len(payload), 0) + payload)


DNS_ANY = bytes.fromhex("abcd01000001000000000001 07 6578616d706c65 00 00ff 0001 0000291000000000000000")
DNS_A = bytes.fromhex("abcd01000001000000000000 07 6578616d706c65 00 0001 0001")
DNS_VERSION = bytes.fromhex("000001000001000000000000 07 76657273696f6e 04 62696e64 00 0010 0003")
DNS_ANSWER = bytes.fromhex("abcd81800001000100000000 07 6578616d706c65 00 0001 0001")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (0x02, Nature.SCAN),
        (0xC2, Nature.SCAN),
        (0x03, Nature.SCAN),
        (0x00, Nature.SCAN),
        (0x01, Nature.SCAN),
        (0x29, Nature.SCAN),
        (0x12, Nature.BACKSCATTER),
        (0x52, Nature.BACKSCATTER),
        (0x04, Nature.BACKSCATTER),
        (0x14, Nature.BACKSCATTER),
        (0x06, Nature.BACKSCATTER),
        (0x10, Nature.RESIDUAL),
        (0x18, Nature.RESIDUAL),
        (0x11, Nature.RESIDUAL),
    ],
)
def test_tcp_is_judged_by_its_flags(flags, expected):
    assert natures_of(ip(6, tcp(flags)), ip6(6, tcp(flags))) == [expected, expected]


def test_icmp_is_judged_by_its_type():
    packets = [
        ip(1, bytes([kind]) + bytes(7)) for kind in (8, 13, 15, 17, 0, 3, 4, 5, 11, 12, 14, 16, 18, 9, 10)
    ]
    packets += [ip6(58, bytes([kind]) + bytes(7)) for kind in (128, 139, 1, 2, 3, 4, 129, 140, 135, 134)]

    assert natures_of(*packets) == (
        [Nature.SCAN] * 4
        + [Nature.BACKSCATTER] * 9
        + [Nature.RESIDUAL] * 2
        + [Nature.SCAN] * 2
        + [Nature.BACKSCATTER] * 6
        + [Nature.RESIDUAL] * 2
    )


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (udp(b"hello", dst=4444), Nature.UDP_PROBE),
        (udp(b"", dst=53), Nature.UDP_PROBE),
        (udp(DNS_A, dst=53), Nature.UDP_PROBE),
        (udp(DNS_VERSION, dst=53), Nature.UDP_PROBE),
        (udp(DNS_ANY, dst=53), Nature.REFLECTION),
        (udp(DNS_ANY, src=53, dst=53), Nature.REFLECTION),
        (udp(DNS_ANSWER, src=53, dst=33333), Nature.BACKSCATTER),
        (udp(DNS_ANSWER, src=53, dst=53), Nature.BACKSCATTER),
        (udp(DNS_A, src=53, dst=33333), Nature.UDP_PROBE),
        (udp(b"", src=53, dst=33333), Nature.BACKSCATTER),
        (udp(bytes.fromhex("1700032a00000000"), dst=123), Nature.REFLECTION),
        (udp(bytes.fromhex("d7000301") + bytes(8), src=123, dst=80), Nature.BACKSCATTER),
        (udp(bytes.fromhex("e30004fa") + bytes(44), src=123, dst=123), Nature.UDP_PROBE),
        (udp(bytes.fromhex("240101e9") + bytes(44), src=123, dst=123), Nature.BACKSCATTER),
        (udp(bytes(4) + bytes.fromhex("00010000") + b"stats\r\n", dst=11211), Nature.REFLECTION),
        (udp(b"M-SEARCH * HTTP/1.1\r\nST: ssdp:all\r\n\r\n", dst=1900), Nature.REFLECTION),
        (udp(b"HTTP/1.1 200 OK\r\n", src=1900, dst=80), Nature.BACKSCATTER),
        (udp(b"SIP/2.0 404 Not Found\r\n", src=5060, dst=5060), Nature.BACKSCATTER),
        (udp(b"OPTIONS sip:100@192.0.2.1 SIP/2.0\r\n", src=5060, dst=5060), Nature.UDP_PROBE),
        (udp(b"\x01", dst=19), Nature.REFLECTION),
        (udp(b"", dst=17), Nature.REFLECTION),
        (ip(132, bytes(12) + b"\x01" + bytes(15)), Nature.SCAN),
        (ip(132, bytes(12) + b"\x02" + bytes(15)), Nature.BACKSCATTER),
        (ip(47, bytes(8)), Nature.RESIDUAL),
        (ip(17, bytes(24), fragment=100), Nature.RESIDUAL),
        (ip(6, tcp(2), first=0x44), Nature.MALFORMED),
        (ip(6, tcp(2)[:12]), Nature.MALFORMED),
        (b"\x55" + bytes(40), Nature.MALFORMED),
    ],
)
def test_it_judges(packet, expected):
    assert natures_of(packet) == [expected]


def test_a_header_that_the_capture_cut_is_not_malformed():
    packet = ip(6, tcp(2))

    assert natures_of(packet[:30], packet[:10], wire=[40, 40]) == [Nature.RESIDUAL, Nature.RESIDUAL]


def test_without_kept_payload_a_trigger_is_a_probe():
    trigger = udp(bytes.fromhex("1700032a00000000"), dst=123)

    assert natures_of(trigger, payload_bytes=0) == [Nature.UDP_PROBE]


TRIGGERS = [rule for rule in load_probes().rules if rule.is_trigger]


@pytest.mark.parametrize(
    "rule", TRIGGERS, ids=lambda rule: f"{rule.label}-{rule.port}-{rule.value.hex()[:16]}"
)
def test_each_listed_trigger_triggers(rule):
    rest = b"" if rule.match == "exact" else b"rest"

    assert natures_of(udp(rule.value + rest, dst=rule.port)) == [Nature.REFLECTION]
    assert natures_of(udp(rule.value[:-1], dst=rule.port))[0] in {Nature.UDP_PROBE, Nature.REFLECTION}
    assert natures_of(udp(rule.value + rest, dst=9)) == [Nature.UDP_PROBE]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=90), min_size=1, max_size=20))
def test_any_bytes_get_one_nature_and_rows_do_not_depend_on_each_other(packets):
    together = derive(parse_list(packets))

    assert set(together["nature"].tolist()) <= set(Nature)
    for row, packet in enumerate(packets):
        alone = derive(parse_list([packet]))
        assert {name: column[0] for name, column in alone.items()} == {
            name: column[row] for name, column in together.items()
        }


def test_no_packets_get_no_answers():
    nothing = np.zeros(0, np.uint32)
    columns = parse_packets(
        np.zeros((0, 64), np.uint8),
        nothing,
        wire_length=nothing,
        observed_at_us=np.zeros(0, np.int64),
        vlan=np.zeros(0, np.uint16),
    )

    assert {name: column.shape for name, column in derive(columns).items()} == dict.fromkeys(
        derive(columns), (0,)
    )
