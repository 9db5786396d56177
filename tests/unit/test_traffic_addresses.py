"""Addresses as text and bytes, prefixes, ranges, and survey lists over time."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.traffic import addresses
from teiten.traffic.errors import AddressError
from teiten.traffic.survey import FOREVER_US, SurveyKind, SurveyNetwork, SurveyTable

pytestmark = pytest.mark.requirement("R2.3")

any_address = st.one_of(
    st.ip_addresses(v=4),
    st.ip_addresses(v=6),
    st.integers(0, 300).map(ipaddress.IPv6Address),
    st.integers(0, 300).map(lambda n: ipaddress.ip_address(2**128 - 1 - n)),
).filter(lambda a: a.version == 4 or a.ipv4_mapped is None)


def number_of(address):
    return int.from_bytes(addresses.from_text(str(address)), "big")


def rows(numbers):
    return np.frombuffer(b"".join(n.to_bytes(16, "big") for n in numbers), np.uint8).reshape(-1, 16)


@given(any_address)
def test_text_and_bytes_are_inverse(address):
    packed = addresses.from_text(str(address))

    assert len(packed) == 16
    assert addresses.to_text(packed) == str(address)


def test_mapped_text_is_shown_as_ipv4():
    assert addresses.to_text(addresses.from_text("::ffff:192.0.2.1")) == "192.0.2.1"


@given(st.lists(any_address, max_size=8))
def test_many_are_as_each_alone(drawn):
    texts = [str(address) for address in drawn]

    block = addresses.from_texts(texts)

    assert addresses.to_texts(block) == texts
    assert addresses.find_ipv4(block).tolist() == [address.version == 4 for address in drawn]


@pytest.mark.parametrize("text", ["", "192.0.2", "192.0.2.256", "2001:db8::g", "192.0.2.1/24", " 192.0.2.1"])
def test_it_names_what_is_no_address(text):
    with pytest.raises(AddressError, match="neither an IPv4 nor an IPv6 address"):
        addresses.from_text(text)


@pytest.mark.parametrize("text", ["192.0.2.1/24", "192.0.2.0/33", "2001:db8::/129", "x/8"])
def test_it_names_what_is_no_prefix(text):
    with pytest.raises(AddressError, match="is no IPv4 or IPv6 prefix"):
        addresses.parse_prefix(text)


def test_fifteen_bytes_are_no_address():
    with pytest.raises(AddressError, match="16 bytes, not 15"):
        addresses.to_text(bytes(15))


def test_prefixes_have_first_and_last_address():
    first, last = addresses.parse_prefix("192.0.2.0/24")

    assert (addresses.to_text(first), addresses.to_text(last)) == ("192.0.2.0", "192.0.2.255")


@given(any_address, st.integers(0, 32), st.integers(0, 128))
def test_masking_agrees_with_ipaddress(address, v4_bits, v6_bits):
    bits = v4_bits if address.version == 4 else v6_bits
    expected = ipaddress.ip_network((address, bits), strict=False)[0]

    masked = addresses.mask_addresses(rows([number_of(address)]), ipv4_bits=v4_bits, ipv6_bits=v6_bits)

    assert masked.tobytes() == addresses.from_text(str(expected))


def test_masking_refuses_impossible_bits():
    with pytest.raises(AddressError, match="0 to 32 bits"):
        addresses.mask_addresses(rows([0]), ipv4_bits=33, ipv6_bits=64)


@st.composite
def disjoint_ranges(draw):
    edges = sorted({number_of(a) for a in draw(st.lists(any_address, max_size=12))})
    return draw(st.permutations(list(zip(edges[::2], edges[1::2], strict=False))))


@settings(deadline=None)
@given(disjoint_ranges(), st.lists(any_address, max_size=20))
def test_lookup_agrees_with_a_plain_search(ranges, drawn):
    table = addresses.RangeTable(rows([r[0] for r in ranges]), rows([r[1] for r in ranges]))
    numbers = [number_of(a) for a in drawn] + [edge for r in ranges for edge in r]

    found = table.lookup(rows(numbers))

    expected = [next((i for i, (a, b) in enumerate(ranges) if a <= n <= b), -1) for n in numbers]
    assert found.dtype == np.int32
    assert found.tolist() == expected


def test_a_range_may_hold_all_of_ipv4_and_more():
    table = addresses.RangeTable(rows([0]), rows([2**128 - 1]))

    assert table.lookup(addresses.from_texts(["192.0.2.1", "::", "3fff::1"])).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("ranges", "message"), [([(5, 9), (9, 12)], "overlap at ::9"), ([(9, 5)], "before ::9")]
)
def test_impossible_ranges_are_refused(ranges, message):
    with pytest.raises(AddressError, match=message):
        addresses.RangeTable(rows([r[0] for r in ranges]), rows([r[1] for r in ranges]))


def network(text, owner="A", start=0, end=FOREVER_US):
    return SurveyNetwork(text, owner, start, end, "test list")


def test_surveys_hold_only_in_their_time():
    table = SurveyTable(
        [network("198.51.100.0/24", "A", 100, 200), network("198.51.100.0/24", "B", 200, 300)]
    )
    block = addresses.from_texts(["198.51.100.7"] * 5 + ["203.0.113.1"])

    known, owner = table.lookup(block, np.array([99, 100, 199, 200, 300, 150]))

    assert known.tolist() == [False, True, True, True, False, False]
    assert [table.owners[o] if o >= 0 else "" for o in owner] == ["", "A", "A", "B", "", ""]


def test_the_narrowest_network_decides():
    table = SurveyTable([network("198.51.100.0/24", "wide"), network("198.51.100.16/28", "narrow", 50)])
    block = addresses.from_texts(["198.51.100.17", "198.51.100.17", "198.51.100.1"])

    _, owner = table.lookup(block, np.array([49, 50, 50]))

    assert [table.owners[o] for o in owner] == ["wide", "narrow", "wide"]


def test_the_kind_says_on_what_grounds():
    table = SurveyTable(
        [
            network("198.51.100.0/24", "A"),
            replace(network("203.0.113.0/24", "A"), kind=SurveyKind.BEHAVIOUR),
        ]
    )
    block = addresses.from_texts(["198.51.100.7", "203.0.113.7", "192.0.2.7"])

    known, owner = table.lookup(block, np.array([5, 5, 5]))

    assert known.tolist() == [True, True, False]
    assert [(table.owners[o], table.kinds[o]) for o in owner.tolist() if o >= 0] == [
        ("A", SurveyKind.LISTED),
        ("A", SurveyKind.BEHAVIOUR),
    ]


def test_an_empty_survey_list_knows_nobody():
    known, owner = SurveyTable([]).lookup(
        addresses.from_texts(["192.0.2.1", "2001:db8::1"]), np.zeros(2, np.int64)
    )

    assert (known.tolist(), owner.tolist()) == ([False, False], [-1, -1])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (network("198.51.100.1/24"), "is no IPv4 or IPv6 prefix"),
        (network("198.51.100.0/24", start=5, end=5), "ends before it starts"),
        (network("0.0.0.0/0"), "0.0.0.0/0 of A is too broad: an IPv4 entry is /8 or longer"),
        (network("2001:db8::/15"), "is no IPv4 or IPv6 prefix"),
        (network("2000::/15"), "too broad: an IPv6 entry is /16 or longer"),
    ],
)
def test_a_bad_survey_row_is_named(row, message):
    with pytest.raises(AddressError, match=message):
        SurveyTable([row])


small_networks = st.builds(
    lambda base, bits, owner, start, length: network(
        f"{ipaddress.ip_network((0xC6336400 + base, bits), strict=False)}", owner, start, start + length
    ),
    st.integers(0, 255),
    st.integers(24, 32),
    st.sampled_from("ABC"),
    st.integers(0, 20),
    st.integers(1, 20),
)


@settings(deadline=None)
@given(
    st.lists(small_networks, max_size=10),
    st.lists(st.tuples(st.integers(0, 255), st.integers(0, 40)), max_size=20),
)
def test_surveys_agree_with_a_plain_search(networks, asked):
    table = SurveyTable(networks)
    hosts = [ipaddress.ip_address(0xC6336400 + host) for host, _ in asked]

    known, owner = table.lookup(
        addresses.from_texts(map(str, hosts)), np.array([t for _, t in asked], np.int64)
    )

    for host, (_, time), is_known, place in zip(hosts, asked, known, owner, strict=True):
        valid = [
            n
            for n in networks
            if host in ipaddress.ip_network(n.network) and n.valid_from_us <= time < n.valid_to_us
        ]
        assert bool(is_known) == bool(valid)
        if valid:
            width = max(ipaddress.ip_network(n.network).prefixlen for n in valid)
            best = [n for n in valid if ipaddress.ip_network(n.network).prefixlen == width]
            latest = max(n.valid_from_us for n in best)
            assert table.owners[place] == next(n.owner for n in best if n.valid_from_us == latest)
