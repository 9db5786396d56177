"""Source validity: bogons with dates, contradictions, and what a bad list gets."""

from __future__ import annotations

import ipaddress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.traffic.addresses import from_texts
from teiten.traffic.errors import AddressError, RuleFileError
from teiten.traffic.timed_ranges import FOREVER_US
from teiten.traffic.validity import (
    DEMONSTRATION,
    HEADER,
    BogonNetwork,
    BogonTable,
    SourceValidity,
    judge_sources,
    load_bogons,
    read_bogons,
)

pytestmark = pytest.mark.requirement("R2.3")

#: 2026-01-01.
NOW_US = 1_767_225_600_000_000
#: Globally assigned addresses, from numbers: nobody is meant by them.
ORDINARY = str(ipaddress.ip_address(0x08080808)), str(ipaddress.ip_address(0x2A00 << 112 | 1))


def judge(sources, destinations=None, *, public=None, known=True, exempt=False, bogons=None):
    rows = from_texts(sources)
    recorded = from_texts(destinations or ["198.51.100.7"] * len(sources))
    size = len(sources)
    found = judge_sources(
        rows,
        np.full(size, NOW_US),
        recorded=recorded,
        destinations=from_texts(public) if public else recorded,
        is_known=np.full(size, known),
        is_exempt=np.full(size, exempt),
        bogons=bogons or load_bogons(),
    )
    return [SourceValidity(value) for value in found.tolist()]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        *((source, SourceValidity.ORDINARY) for source in ORDINARY),
        ("10.1.2.3", SourceValidity.BOGON),
        ("127.0.0.1", SourceValidity.BOGON),
        ("0.0.0.0", SourceValidity.BOGON),
        ("100.64.0.1", SourceValidity.BOGON),
        (str(ipaddress.ip_address(0x64800001)), SourceValidity.ORDINARY),
        ("172.31.255.255", SourceValidity.BOGON),
        (str(ipaddress.ip_address(0xAC200000)), SourceValidity.ORDINARY),
        ("192.0.0.8", SourceValidity.BOGON),
        # Port Control Protocol and TURN anycast are globally reachable (RFC 7723, RFC 8155).
        ("192.0.0.9", SourceValidity.ORDINARY),
        ("192.0.0.10", SourceValidity.ORDINARY),
        ("198.51.100.9", SourceValidity.BOGON),
        ("224.0.0.1", SourceValidity.BOGON),
        ("240.0.0.1", SourceValidity.BOGON),
        ("255.255.255.255", SourceValidity.BOGON),
        ("::1", SourceValidity.BOGON),
        ("fe80::1", SourceValidity.BOGON),
        ("fd00::1", SourceValidity.BOGON),
        ("ff02::1", SourceValidity.BOGON),
        ("2001:db8::1", SourceValidity.BOGON),
        ("3fff::1", SourceValidity.BOGON),
        ("4000::1", SourceValidity.BOGON),
    ],
)
def test_the_shipped_list_judges(source, expected):
    assert judge([source]) == [expected]


def test_the_demonstration_is_exempt_where_the_sensor_is_simulated():
    inside = [str(ipaddress.ip_network(network)[1]) for network in DEMONSTRATION]

    assert judge(inside, exempt=True) == [SourceValidity.ORDINARY] * len(inside)
    assert judge(["10.0.0.1", "127.0.0.1", "fe80::1"], exempt=True) == [SourceValidity.BOGON] * 3


def test_contradictions_are_suspect():
    home, other = ORDINARY[0], str(ipaddress.ip_address(0x01010101))

    assert judge([home], [home]) == [SourceValidity.SPOOF_SUSPECT]
    # Behind 1:1 NAT the packet shows the local address; the source is the public one.
    assert judge([home], ["10.0.0.5"], public=[home]) == [SourceValidity.SPOOF_SUSPECT]
    assert judge([home], ["10.0.0.5"], public=[home], known=False) == [SourceValidity.ORDINARY]
    assert judge([home], [other]) == [SourceValidity.ORDINARY]


def test_multicast_is_suspect_where_no_list_has_it():
    nothing = BogonTable([])

    assert (
        judge(["224.0.0.1", "ff02::1", "255.255.255.255"], bogons=nothing)
        == [SourceValidity.SPOOF_SUSPECT] * 3
    )
    assert judge(["10.0.0.1", "240.0.0.1"], bogons=nothing) == [SourceValidity.ORDINARY] * 2


def test_a_network_is_a_bogon_in_its_time_only():
    table = BogonTable([BogonNetwork("198.51.100.0/24", 100, 200, "RFC 5737", "test")])

    found = table.lookup(from_texts(["198.51.100.1"] * 4), np.array([99, 100, 199, 200]))

    assert found.tolist() == [False, True, True, False]


networks = st.builds(
    lambda number, bits, start, length: BogonNetwork(
        str(ipaddress.ip_network((number, bits), strict=False)), start, start + length, "test", "test"
    ),
    st.one_of(st.integers(0xC6336400, 0xC63364FF), st.integers(0x20010DB8 << 96, (0x20010DB8 << 96) + 255)),
    st.integers(20, 32),
    st.integers(0, 20),
    st.integers(1, 20),
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(networks, max_size=8),
    st.lists(st.tuples(st.booleans(), st.integers(0, 0xFFFF), st.integers(0, 40)), min_size=1, max_size=20),
)
def test_lookup_agrees_with_a_plain_search(rows, asked):
    table = BogonTable(rows)
    hosts = [
        ipaddress.ip_address((0x20010DB8 << 96) + host if is_v6 else 0xC6330000 + host)
        for is_v6, host, _ in asked
    ]

    found = table.lookup(from_texts(map(str, hosts)), np.array([time for _, _, time in asked], np.int64))

    for host, (_, _, time), got in zip(hosts, asked, found.tolist(), strict=True):
        expected = any(
            host in ipaddress.ip_network(row.network) and row.valid_from_us <= time < row.valid_to_us
            for row in rows
        )
        assert got is expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("198.51.100.1/24,2020-01-01,,RFC,why", "line 2: '198.51.100.1/24' is no IPv4 or IPv6 prefix"),
        (
            "0.0.0.0/0,2020-01-01,,RFC,why",
            "line 2: bogon 0.0.0.0/0 is too broad: an IPv4 entry is /4 or longer",
        ),
        ("::/2,2020-01-01,,RFC,why", "line 2: bogon ::/2 is too broad: an IPv6 entry is /3 or longer"),
        ("10.0.0.0/8,2020-13-01,,RFC,why", "line 2: valid_from '2020-13-01' is no day"),
        ("10.0.0.0/8,2020-01-02,2020-01-01,RFC,why", "line 2: valid_to 2020-01-01 is not after"),
        ("10.0.0.0/8,2020-01-01,,,why", "line 2: 10.0.0.0/8 has no source or no reason"),
        ("10.0.0.0/8,2020-01-01,,RFC,", "line 2: 10.0.0.0/8 has no source or no reason"),
        (
            "10.0.0.0/8,2020-01-01,,R,w\n10.0.0.0/8,2020-01-01,,R,w",
            "line 3: 10.0.0.0/8 from 2020-01-01 is there twice",
        ),
        ("10.0.0.0/8,2020-01-01", "line 2: 2 fields"),
    ],
)
def test_a_bad_list_is_refused_with_line_and_rule(line, message):
    with pytest.raises(RuleFileError, match=message):
        read_bogons(f"{','.join(HEADER)}\n{line}\n".encode())


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (BogonNetwork("10.0.0.0/8", 5, 5, "RFC", "why"), "validity ends before it starts"),
        (BogonNetwork("0.0.0.0/1", 0, FOREVER_US, "RFC", "why"), "too broad"),
    ],
)
def test_a_bad_row_is_refused(row, message):
    with pytest.raises(AddressError, match=message):
        BogonTable([row])
