from __future__ import annotations

import ipaddress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.sensor.column_sets import WireColumns, make_empty
from teiten.sensor.config import SensorConfig
from teiten.sensor.errors import DeclarationError
from teiten.sensor.exclusion import Exclusion, parse_peer
from teiten.sensor.own_traffic import build_exclusion, find_gateway_peers, list_resolver_peers
from teiten.sensor.prefixes import PrefixSet, as_words, parse_network

OBSERVED = PrefixSet((parse_network("192.0.2.7", what="test"), parse_network("2001:db8::/64", what="test")))


def mapped(text: str) -> bytes:
    address = ipaddress.ip_address(text)
    return address.packed if address.version == 6 else b"\0" * 10 + b"\xff\xff" + address.packed


def make_packets(*rows: tuple[str, str, int, int, int, int, int]) -> WireColumns:
    """Rows of (source, destination, protocol, source port, destination port, ICMP type, TTL)."""
    columns = dict(make_empty())
    for name, place in (("src_addr", 0), ("dst_addr", 1)):
        packed = b"".join(mapped(str(row[place])) for row in rows)
        columns[name] = np.frombuffer(packed, np.uint8).reshape(len(rows), 16)
    numbers = ("protocol", "src_port", "dst_port", "icmp_type", "ttl")
    for place, name in enumerate(numbers, start=2):
        columns[name] = np.array([row[place] for row in rows], columns[name].dtype)  # type: ignore[union-attr]
    return columns


def test_it_works() -> None:
    exclusion = Exclusion(
        [parse_peer("203.0.113.53/32 udp from 53"), parse_peer("198.51.100.0/24 tcp to 22")]
    )
    packets = make_packets(
        ("203.0.113.53", "192.0.2.7", 17, 53, 40000, 0, 60),
        ("203.0.113.53", "192.0.2.7", 17, 54, 40000, 0, 60),
        ("203.0.113.53", "192.0.2.7", 6, 53, 40000, 0, 60),
        ("198.51.100.9", "192.0.2.7", 6, 5555, 22, 0, 60),
        ("198.51.100.9", "192.0.2.7", 6, 22, 5555, 0, 60),
        ("240.0.0.1", "192.0.2.7", 6, 53, 22, 0, 60),
    )

    verdict = exclusion.judge(packets, OBSERVED)

    assert verdict.kept.tolist() == [False, True, True, False, True, True]
    assert (verdict.solicited, verdict.other_destination, verdict.excluded) == (2, 0, 2)


def test_only_observed_destinations_are_observations() -> None:
    packets = make_packets(
        ("240.0.0.1", "192.0.2.8", 6, 1, 2, 0, 60),
        ("240.0.0.1", "224.0.0.1", 17, 1, 2, 0, 1),
        ("3fff::1", "2001:db8::5", 6, 1, 2, 0, 60),
        ("3fff::1", "2001:db8:0:1::5", 6, 1, 2, 0, 60),
    )

    verdict = Exclusion([]).judge(packets, OBSERVED)

    assert verdict.kept.tolist() == [False, False, True, False]
    assert verdict.other_destination == 3


def test_neighbour_discovery_is_solicited_only_from_the_link() -> None:
    packets = make_packets(
        ("2001:db8::1", "2001:db8::5", 58, 0, 0, 135, 255),
        ("2001:db8::1", "2001:db8::5", 58, 0, 0, 135, 254),
        ("2001:db8::1", "2001:db8::5", 58, 0, 0, 128, 255),
    )

    assert Exclusion([]).judge(packets, OBSERVED).kept.tolist() == [False, True, True]
    assert Exclusion([], neighbours=False).judge(packets, OBSERVED).kept.all()


def test_a_whole_peer_can_be_declared() -> None:
    packets = make_packets(("203.0.113.9", "192.0.2.7", 1, 0, 0, 8, 60))

    assert not Exclusion([parse_peer("203.0.113.0/24 any")]).judge(packets, OBSERVED).kept.any()


@pytest.mark.parametrize(
    "text",
    ["203.0.113.9/32 tcp from 443", "2001:db8::/32 udp to 123", "203.0.113.0/24 any", "203.0.113.9/32 icmp"],
)
def test_a_declaration_is_written_as_it_is_read(text: str) -> None:
    assert parse_peer(text).as_text() == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("203.0.113.9", "not of the form"),
        ("203.0.113.9 sctp", "not of the form"),
        ("203.0.113.9 tcp from", "not of the form"),
        ("203.0.113.9 any from 53", "ports need tcp or udp"),
        ("203.0.113.9 tcp near 53", "ports need"),
        ("203.0.113.9 tcp from 0", "no port"),
        ("203.0.113.9 tcp from 65536", "no port"),
        ("203.0.113.9 tcp from ssh", "no port"),
        ("203.0.113.9/24 tcp", "no address or prefix"),
        ("gateway tcp", "no address or prefix"),
    ],
)
def test_a_wrong_declaration_names_itself(text: str, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        parse_peer(text)


def test_the_digest_names_the_declaration_whatever_its_order() -> None:
    one, other = parse_peer("203.0.113.1 any"), parse_peer("203.0.113.2 any")

    assert Exclusion([one, other]).digest == Exclusion([other, one, one]).digest
    assert Exclusion([one]).digest != Exclusion([other]).digest


def test_what_the_host_must_solicit_is_declared_without_being_told(tmp_path: Path) -> None:
    resolvers = tmp_path / "resolv.conf"
    resolvers.write_text(
        "# comment\nnameserver 203.0.113.53\nnameserver fe80::1%eth0\nsearch example\nnameserver\n"
    )
    config = SensorConfig(exclude=("198.51.100.7 tcp to 22",), time_servers=("203.0.113.123",))

    exclusion = build_exclusion(config, gateway_url="https://203.0.113.8:8443", resolvers_files=(resolvers,))

    assert exclusion.declaration == (
        "198.51.100.7/32 tcp to 22",
        "203.0.113.123/32 udp from 123",
        "203.0.113.53/32 tcp from 53",
        "203.0.113.53/32 udp from 53",
        "203.0.113.8/32 tcp from 8443",
        "fe80::1/128 tcp from 53",
        "fe80::1/128 udp from 53",
        "neighbour discovery",
    )


def test_nothing_is_declared_when_the_keeper_says_so(tmp_path: Path) -> None:
    config = SensorConfig(exclude_own=False)

    assert build_exclusion(config, gateway_url="https://203.0.113.8").declaration == ()
    assert list_resolver_peers(tmp_path / "absent") == []
    assert find_gateway_peers("") == []


addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


@settings(max_examples=100, deadline=None)
@given(address=addresses, network=addresses, length=st.integers(0, 128))
def test_a_prefix_matches_as_the_standard_library_does(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    network: ipaddress.IPv4Address | ipaddress.IPv6Address,
    length: int,
) -> None:
    prefix = ipaddress.ip_network((network, min(length, network.max_prefixlen)), strict=False)
    words = as_words(np.frombuffer(mapped(str(address)) + mapped(str(network)), np.uint8).reshape(2, 16))

    inside, own = PrefixSet((prefix,)).match(words).tolist()

    assert own
    if address.version == prefix.version:
        assert inside == (address in prefix)
