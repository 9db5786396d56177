"""Probe labels: from bytes, against a plain search, and what a bad list gets."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.traffic import dns_questions
from teiten.traffic.errors import RuleFileError
from teiten.traffic.parse import parse_packets
from teiten.traffic.probes import HEADER, ProbeRule, ProbeTable, load_probes, read_probes
from teiten.traffic.rule_files import read_shipped

SCANNERS = Path(__file__).parents[1] / "golden" / "scanners"

pytestmark = pytest.mark.requirement("R2.3")

RULES = load_probes().rules


def packet(payload, *, port, protocol=17):
    if protocol == 17:
        head = struct.pack(">HHHH", 40000, port, 8 + len(payload), 0)
    else:
        head = struct.pack(">HHIIHHHH", 40000, port, 1, 1, 5 << 12 | 0x18, 512, 0, 0)
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(head) + len(payload), 1, 0, 64, protocol, 0)
    return ip + bytes.fromhex("f0000001c6336407") + head + payload


def parse_list(packets, payload_bytes=64):
    width = max(map(len, packets))
    raw = np.zeros((len(packets), width), np.uint8)
    for row, data in enumerate(packets):
        raw[row, : len(data)] = np.frombuffer(data, np.uint8)
    lengths = np.array([len(p) for p in packets], np.uint32)
    return parse_packets(
        raw,
        lengths,
        wire_length=lengths,
        observed_at_us=np.zeros(len(packets), np.int64),
        vlan=np.zeros(len(packets), np.uint16),
        payload_bytes=payload_bytes,
    )


def label(payload, *, port, protocol=17, payload_bytes=64):
    return load_probes().label(parse_list([packet(payload, port=port, protocol=protocol)], payload_bytes))[0]


@pytest.mark.parametrize("rule", RULES, ids=lambda r: f"{r.label}-{r.port}-{r.match}-{r.value.hex()[:24]}")
def test_each_shipped_rule_labels_its_own_bytes(rule):
    port = 4321 if rule.port is None else rule.port

    assert label(rule.value, port=port, protocol=rule.protocol) == rule.label
    if rule.match == "exact":
        assert label(rule.value + b"\xa5", port=port, protocol=rule.protocol) != rule.label or any(
            other.label == rule.label and other.match == "prefix" for other in RULES
        )


def test_a_narrower_rule_does_not_hide_a_trigger():
    """Where a trigger's bytes also fit a rule that is asked before it, that one is a trigger too."""
    for trigger in (rule for rule in RULES if rule.is_trigger):
        for other in RULES:
            same_port = (other.protocol, other.port) == (trigger.protocol, trigger.port)
            if same_port and fits(trigger, other.value) and other.rank <= trigger.rank:
                assert other.is_trigger, (trigger.label, other.label)


def fits(rule, payload):
    if len(payload) < len(rule.value) or (rule.match == "exact" and len(payload) != len(rule.value)):
        return False
    return all(
        byte & mask == value for byte, mask, value in zip(payload, rule.mask, rule.value, strict=False)
    )


def test_a_real_nmap_is_labelled():
    data = (SCANNERS / "nmap_udp.pcap").read_bytes()
    packets, at = [], 24
    while at < len(data):
        captured = struct.unpack_from("<I", data, at + 8)[0]
        packets.append(data[at + 30 : at + 16 + captured])
        at += 16 + captured
    columns = parse_list(packets)

    found = set(zip(columns["dst_port"].tolist(), load_probes().label(columns).tolist(), strict=True))

    # Nmap 7.93 sends two different payloads to some ports.
    assert found == {
        (53, "dns-status"),
        (53, "dns-version.bind"),
        (123, "ntp-client"),
        (123, "ntp-symmetric"),
        (161, "snmp-v3"),
        (161, "snmp-getnext"),
        (1900, "ssdp-msearch"),
        (11211, "memcached-version"),
    }


def dns(name, kind, dns_class=1, *, flags=0x0100, questions=1):
    words = b"".join(bytes([len(part)]) + part for part in name.split(b".") if part) + b"\0"
    return struct.pack(">HHHHHH", 7, flags, questions, 0, 0, 0) + words + struct.pack(">HH", kind, dns_class)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (dns(b"www.example.com", 1), "dns-a"),
        (dns(b"example.com", 255), "dns-any"),
        (dns(b"example.com", 16), "dns-txt"),
        (dns(b"", 2), "dns-ns"),
        (dns(b"", 255, 255), "dns-any"),
        (dns(b"example.com", 65), "dns-query"),
        (dns(b"version.bind", 16, 3), "dns-version.bind"),
        (dns(b"hostname.bind", 16, 3), "dns-chaos"),
        (dns(b"example.com", 1, 77), "dns-query"),
        (dns(b"example.com", 1, flags=0x8180), ""),
        (dns(b"example.com", 1, questions=2), ""),
        (dns(b"example.com", 1)[:-3], "dns-query"),
        (dns(b"a" * 63 + b"." + b"b" * 63, 1), "dns-query"),
        (b"\0" * 12, ""),
        (b"\0" * 13, ""),
    ],
)
def test_dns_queries_are_labelled_by_their_question(payload, expected):
    assert label(payload, port=53) == expected


@pytest.mark.parametrize(
    ("payload", "port", "protocol", "expected"),
    [
        (b"GET / HTTP/1.1\r\n", 8080, 6, "http-get"),
        (b"GET / HTTP/1.1\r\n", 8080, 17, ""),
        (b"OPTIONS sip:100@192.0.2.1 SIP/2.0\r\n", 5060, 6, "sip-options"),
        (b"OPTIONS / HTTP/1.0\r\n", 80, 6, "http-options"),
        (b"OPTIONS / RTSP/1.0\r\n", 554, 6, "rtsp-options"),
        (bytes.fromhex("1603010200010001fc0303"), 4443, 6, "tls-hello"),
        (bytes.fromhex("0300002a25e00000000000") + b"Cookie: mstshash=nmap\r\n", 3389, 6, "rdp-cookie"),
        (bytes.fromhex("0300000b06e00000000000"), 3389, 6, "x224-connect"),
        (bytes.fromhex("0300001611e00000000100"), 102, 6, "s7-connect"),
        (bytes.fromhex("00010000000001112b0e0100")[:7] + b"\x2b\x0e\x01\x00", 502, 6, "modbus-device-id"),
        (b"*1\r\n$4\r\nINFO\r\n", 6379, 6, "redis-command"),
        (b"hello", 4444, 17, ""),
        (b"", 19, 17, ""),
    ],
)
def test_payloads_of_common_services_are_labelled(payload, port, protocol, expected):
    assert label(payload, port=port, protocol=protocol) == expected


def test_what_was_not_kept_is_not_guessed():
    """An exact rule needs all its bytes; a prefix needs as many as it names."""
    assert label(b"\0\0", port=5351, payload_bytes=1) == ""
    assert label(b"\0\0\0", port=5351) == ""
    assert label(b"M-SEARCH * HTTP/1.1\r\n", port=1900, payload_bytes=8) == ""
    assert label(b"M-SEARCH * HTTP/1.1\r\n", port=1900, payload_bytes=0) == ""


small_bytes = st.binary(min_size=1, max_size=5).map(lambda b: bytes(byte & 3 for byte in b))


@st.composite
def rules(draw):
    value = draw(small_bytes)
    mask = bytes(0 if draw(st.integers(0, 4)) == 0 else 0xFF for _ in value)
    port = draw(st.sampled_from([53, 7, None]))
    if port is None:
        value, mask = b"\1\2" + value, b"\xff\xff" + mask
    return ProbeRule(
        label=f"l{draw(st.integers(0, 99))}",
        protocol=draw(st.sampled_from([6, 17])),
        port=port,
        match=draw(st.sampled_from(["exact", "prefix"])),
        value=bytes(v & m for v, m in zip(value, mask, strict=True)),
        mask=mask,
        source="test",
    )


payloads = st.tuples(
    st.one_of(small_bytes, small_bytes.map(lambda b: b"\1\2" + b)), st.sampled_from([7, 8, 53])
)


@settings(max_examples=150, deadline=None)
@given(st.lists(rules(), max_size=12), st.lists(payloads, min_size=1, max_size=12), st.sampled_from([6, 17]))
def test_labels_agree_with_a_plain_search(rules, asked, protocol):
    packets = [packet(payload, port=port, protocol=protocol) for payload, port in asked]

    found = ProbeTable(rules).label(parse_list(packets))

    for (payload, port), got in zip(asked, found.tolist(), strict=True):
        fit = [r for r in rules if r.protocol == protocol and r.port in (port, None) and fits(r, payload)]
        best = min(fit, key=lambda r: (r.port is None, r.rank), default=None)
        assert got == (best.label if best else "")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=90))
def test_any_bytes_to_the_dns_port_get_an_answer(payload):
    found = label(payload, port=53, payload_bytes=128)

    assert found == "" or found in dns_questions.LABELS or found in load_probes().labels


LINE = "ok-label,udp,53,prefix,00 01,,RFC 1"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Bad Label,udp,53,prefix,00 01,,RFC 1", r"line 2: label 'Bad Label' must be 2 to 32 small letters"),
        ("x,udp,53,prefix,00 01,,RFC 1", "line 2: label 'x' must be"),
        ("a-b,sctp,53,prefix,00 01,,RFC 1", "line 2: protocol 'sctp' must be one of tcp, udp"),
        ("a-b,udp,x,prefix,00 01,,RFC 1", "line 2: port 'x' is no number"),
        ("a-b,udp,65536,prefix,00 01,,RFC 1", "line 2: port 65536 is not between"),
        ("a-b,udp,53,begins,00 01,,RFC 1", "line 2: match 'begins' must be exact or prefix"),
        ("a-b,udp,53,prefix,,,RFC 1", "line 2: the pattern is empty"),
        ("a-b,udp,53,prefix,.. ..,,RFC 1", "line 2: the pattern is empty or asks for no byte"),
        ("a-b,udp,53,prefix,0g,,RFC 1", "line 2: pattern has '0g' where a pair of hex digits"),
        ("a-b,udp,53,prefix,0011,,RFC 1", "line 2: pattern has '0011'"),
        ("a-b,udp,53,prefix,'open,,RFC 1", "line 2: pattern has"),
        (f"a-b,udp,53,prefix,{' '.join(['00'] * 65)},,RFC 1", "line 2: the pattern is longer than 64 bytes"),
        ("a-b,udp,,prefix,00,,RFC 1", "line 2: a rule for any port begins with at least 2 known bytes"),
        ("a-b,udp,,prefix,00 .. 01,,RFC 1", "line 2: a rule for any port begins with at least 2 known bytes"),
        ("a-b,tcp,53,prefix,00 01,yes,RFC 1", "line 2: only a UDP rule with a port can be a trigger"),
        ("a-b,udp,53,prefix,00 01,maybe,RFC 1", "line 2: trigger 'maybe' must be yes or empty"),
        ("a-b,udp,53,prefix,00 01,,", "line 2: a-b has no source"),
        (
            f"{LINE}\nother,udp,53,prefix,00 01,,RFC 2",
            "line 3: other asks the same as probe list, line 2, ok-label",
        ),
        ("a-b,udp,53", "line 2: 3 fields"),
        ('a-b,udp,53,prefix,"00', "is no CSV"),
    ],
)
def test_a_bad_list_is_refused_with_line_and_rule(line, message):
    with pytest.raises(RuleFileError, match=message):
        read_probes(f"{','.join(HEADER)}\n{line}\n".encode())


def test_a_file_that_is_none_is_refused(tmp_path):
    with pytest.raises(RuleFileError, match="line 1: must read label,protocol"):
        read_probes(b"")
    with pytest.raises(RuleFileError, match="byte 0 is not UTF-8"):
        read_probes(b"\xff")
    with pytest.raises(RuleFileError, match="cannot be read: No such file"):
        read_probes(tmp_path / "missing.csv")


def test_the_shipped_list_reads_from_a_path_too(tmp_path):
    path = tmp_path / "probes.csv"
    path.write_bytes(read_shipped("probes.csv"))

    assert read_probes(path).rules == RULES
