"""Stated public addresses: what the settings may say, and what no provider is believed."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teiten.foundation.errors import SettingsError
from teiten.protocol.heartbeat import MAX_STATED, StatedAddress
from teiten.sensor.config import SensorConfig
from teiten.sensor.errors import DeclarationError, MetadataError
from teiten.sensor.own_traffic import build_exclusion
from teiten.sensor.stated_addresses import (
    AddressBook,
    check_answer,
    is_public,
    parse_public_addresses,
)

pytestmark = pytest.mark.requirement("R1.1")


def test_it_works() -> None:
    texts = ("10.0.0.5=198.51.100.7", " fd00::5 = 2001:db8:0:0::7 ")

    assert parse_public_addresses(texts) == (
        StatedAddress("10.0.0.5", "198.51.100.7", "configured"),
        StatedAddress("fd00::5", "2001:db8::7", "configured"),
    )
    assert SensorConfig(public_addresses=texts).check()


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (("10.0.0.5",), "LOCAL=PUBLIC"),
        (("=198.51.100.7",), "does not appear"),
        (("10.0.0.5=",), "does not appear"),
        (("10.0.0.5=198.51.100.0/24",), "does not appear"),
        (("10.0.0.5=2001:db8::7",), "both must be"),
        (("10.0.0.5=10.0.0.6",), "no public address"),
        (("10.0.0.5=240.0.0.1",), "no public address"),
        (("fd00::5=fe80::1",), "no public address"),
        (("0.0.0.0=198.51.100.7",), "no address of an interface"),
        (("127.0.0.1=198.51.100.7",), "no address of an interface"),
        (("10.0.0.5=198.51.100.7", "10.0.0.5=198.51.100.8"), "has a public address already"),
    ],
)
def test_a_bad_setting_is_named_and_nothing_starts(texts: tuple[str, ...], reason: str) -> None:
    with pytest.raises(DeclarationError, match=reason) as caught:
        parse_public_addresses(texts)
    with pytest.raises(SettingsError, match=r"setting sensor\.public_addresses"):
        SensorConfig(public_addresses=texts).check()

    assert str(caught.value).startswith("sensor.public_addresses")


@given(address=st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_what_the_standard_library_calls_global_is_public(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    is_ordinary = address.version == 4 or address in ipaddress.ip_network("2000::/3")
    if address.is_global and is_ordinary and not address.is_multicast:
        assert is_public(address)
    if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
        assert not is_public(address)


@pytest.mark.parametrize(
    "text", ["10.1.2.3", "100.64.0.1", "169.254.1.1", "172.16.0.1", "192.168.9.9", "0.0.0.1", "fd00::1"]
)
def test_an_inner_address_is_not_public(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["192.0.2.7", "198.51.100.7", "203.0.113.7", "2001:db8::7", "3fff::7"])
def test_a_documentation_address_may_stand_for_a_public_one(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


def test_a_local_address_told_twice_the_same_is_one_statement() -> None:
    pairs = [("10.0.0.6", "198.51.100.8"), ("10.0.0.5", "198.51.100.7"), ("10.0.0.6", "198.51.100.8")]

    assert [one.local for one in check_answer(pairs)] == ["10.0.0.5", "10.0.0.6"]
    with pytest.raises(MetadataError, match="two public addresses"):
        check_answer([*pairs, ("10.0.0.6", "198.51.100.9")])


def test_a_heartbeat_has_room_for_all_that_is_stated() -> None:
    many = [(f"10.0.0.{n}", f"198.51.100.{n}") for n in range(1, 200)]
    book = AddressBook(parse_public_addresses(("10.9.9.9=203.0.113.9",)), lambda: many)

    assert book.ask_once()

    assert len(book.stated) == MAX_STATED
    assert book.stated[0].known_by == "configured"


def test_without_a_provider_nobody_is_asked() -> None:
    book = AddressBook()

    book.start()

    assert book.ask_once()
    assert (book.stated, book.error) == ((), "")
    book.stop()


@pytest.mark.parametrize("metadata", ["aws", "gcp", "azure"])
def test_the_metadata_service_is_own_traffic(metadata: str, tmp_path: Path) -> None:
    config = SensorConfig(metadata=metadata)  # type: ignore[arg-type]

    exclusion = build_exclusion(config, gateway_url="", resolvers_files=(tmp_path / "absent",))

    assert exclusion.declaration == ("169.254.169.254/32 tcp from 80", "neighbour discovery")
