"""MuonFP texts: the vectorised walk agrees with a plain one written from MuonFP's rules."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.traffic.columns import VarBytes
from teiten.traffic.fingerprints import tcp_fp
from teiten.traffic.parse import parse_packets

pytestmark = pytest.mark.requirement("R2.3")


def parse_one(packet, *, captured=None):
    packet_length = len(packet)
    raw = np.frombuffer(packet, np.uint8).reshape(1, -1)
    return parse_packets(
        raw,
        np.array([packet_length if captured is None else captured], np.uint32),
        wire_length=np.array([packet_length], np.uint32),
        observed_at_us=np.zeros(1, np.int64),
        vlan=np.zeros(1, np.uint16),
    )


def syn(options, *, window=65535, flags=2, payload=b""):
    tcp = struct.pack(">HHIIHHHH", 1, 2, 3, 4, (5 + len(options) // 4) << 12 | flags, window, 0, 0)
    total = 40 + len(options) + len(payload)
    head = struct.pack(">BBHHHBBH", 0x45, 0, total, 1, 0, 64, 6, 0) + bytes(8)
    return head + tcp + options + payload


def plain_fingerprint(window, options):
    kinds, mss, scale, at = [], "", "", 0
    while at < len(options):
        kind = options[at]
        kinds.append(str(kind))
        if kind == 0:
            break
        if kind == 1:
            at += 1
        elif kind == 2:
            if len(options) >= at + 4:
                mss = str(int.from_bytes(options[at + 2 : at + 4], "big"))
            at += 4
        elif kind == 3:
            if len(options) >= at + 3:
                scale = str(options[at + 2])
            at += 3
        else:
            if len(options) <= at + 1 or options[at + 1] < 2:
                break
            at += options[at + 1]
    return f"{window}:{'-'.join(kinds)}:{mss}:{scale}"


@pytest.mark.parametrize(
    ("options", "window", "expected"),
    [
        ("020405b40402080a00000000000000000103030" + "8", 26847, "26847:2-4-8-1-3:1460:8"),
        ("020405b40103030801010402", 65535, "65535:2-1-3-1-1-4:1460:8"),
        ("", 1024, "1024:::"),
        ("020405b4", 1024, "1024:2:1460:"),
        ("0103030800000000", 0, "0:1-3-0::8"),
    ],
)
def test_it_writes_muonfp_notation(options, window, expected):
    assert tcp_fp(parse_one(syn(bytes.fromhex(options), window=window))).tolist() == [expected]


@pytest.mark.parametrize(
    ("flags", "has_one"), [(2, True), (0x12, True), (0xC2, True), (0x10, False), (4, False)]
)
def test_only_syn_and_syn_ack_have_one(flags, has_one):
    assert bool(tcp_fp(parse_one(syn(b"", flags=flags)))[0]) == has_one


@pytest.mark.parametrize(("captured", "has_one"), [(59, False), (60, True), (64, True)])
def test_options_cut_by_the_capture_give_none(captured, has_one):
    packet = syn(bytes.fromhex("020405b40402080a000000000000000001030308"), payload=b"x" * 30)

    assert bool(tcp_fp(parse_one(packet, captured=captured))[0]) == has_one


option = st.one_of(
    st.sampled_from([b"\x00", b"\x01", b"\x04\x02", b"\x02\x04\x05\xb4", b"\x03\x03\x07"]),
    st.binary(min_size=8, max_size=8).map(lambda value: b"\x08\x0a" + value),
    st.binary(min_size=1, max_size=4),
)


@st.composite
def option_fields(draw):
    field = b"".join(draw(st.lists(option, max_size=8)))[:40]
    return field + bytes(-len(field) % 4)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(option_fields(), st.sampled_from([1024, 65535, 0])), min_size=1, max_size=20))
def test_it_agrees_with_the_plain_walk(drawn):
    parts = [parse_one(syn(options, window=window)) for options, window in drawn]
    columns = {
        name: np.concatenate([part[name] for part in parts])
        for name in parts[0]
        if not isinstance(parts[0][name], VarBytes)
    }
    lengths = [len(options) for options, _ in drawn]
    columns["tcp_options"] = VarBytes(
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32),
        np.frombuffer(b"".join(options for options, _ in drawn), np.uint8),
    )

    assert tcp_fp(columns).tolist() == [plain_fingerprint(window, options) for options, window in drawn]


def test_options_longer_than_a_header_can_hold_do_no_harm():
    columns = parse_one(syn(b"\x01" * 40))
    columns["tcp_options"] = VarBytes(np.array([0, 100], np.int32), np.ones(100, np.uint8))

    assert tcp_fp(columns).tolist() == ["65535:" + "-".join(["1"] * 40) + "::"]
