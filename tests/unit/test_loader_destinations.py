"""Which address a sender aimed at, in which mode the sensor was there, and what a block rests on."""

from __future__ import annotations

import ipaddress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.landing.blocks import Member
from teiten.loader.destinations import find_destinations, find_simulated
from teiten.loader.facts import Facts, facts_of
from teiten.loader.modes import find_answering
from teiten.loader.testing import StandingPeriod, make_period
from teiten.loader.verifying import Verified
from teiten.protocol.batch import Batch
from teiten.protocol.header import Watched
from teiten.protocol.testing import make_header
from teiten.traffic.addresses import from_text, from_texts, to_texts
from teiten.traffic.reachable import find_reachable, is_reachable

pytestmark = pytest.mark.requirement("R1.1", "R2.1")
HOUR_US = 3_600_000_000


def after(text: str) -> str:
    """Give the next address, without writing it down: it may be somebody's."""
    return str(ipaddress.ip_address(text) + 1)


def batch_of(
    rows: int, *periods: StandingPeriod, dataset: str = "live", watched: tuple[Watched, ...] = ()
) -> Verified:
    import dataclasses

    header = dataclasses.replace(
        make_header(rows=rows), dataset=dataset, window_start_us=0, window_end_us=10 * HOUR_US
    )
    if watched:
        header = dataclasses.replace(header, watched=watched)
    member = Member(7, 1, 1, 1, b"", b"", 0, 0, "", 0)
    return Verified(member, Batch(header, {}), "kanto", periods)


def find(batches: list[Verified], texts: list[str], hours: list[float]) -> list[str | None]:
    """Give the public destination of each packet, None where it is unknown."""
    counts = np.array([one.batch.header.rows for one in batches], np.int64)
    wire = {"dst_addr": from_texts(texts), "observed_at": (np.array(hours) * HOUR_US).astype(np.int64)}
    found, known = find_destinations(
        wire, batches, counts=counts, is_simulated=find_simulated(batches, counts)
    )
    return [
        text if is_known else None for text, is_known in zip(to_texts(found), known.tolist(), strict=True)
    ]


def test_it_works() -> None:
    moved = (
        make_period("10.0.0.5", "203.0.113.7", from_us=0, to_us=HOUR_US),
        make_period("10.0.0.5", "203.0.113.9", from_us=2 * HOUR_US),
    )
    batches = [batch_of(5, *moved), batch_of(2)]
    carried = ["10.0.0.5"] * 4 + ["198.51.100.4"] + ["10.0.0.5", "198.51.100.5"]

    found = find(batches, carried, [0, 0.999, 1, 2, 0, 0, 0])

    assert found == ["203.0.113.7", "203.0.113.7", None, "203.0.113.9", "198.51.100.4", None, "198.51.100.5"]


@pytest.mark.parametrize(
    ("text", "dataset", "is_known"),
    [
        ("198.51.100.4", "live", True),
        ("2001:db8::1", "live", True),
        ("3fff::1", "live", True),
        ("10.1.2.3", "live", False),
        ("172.31.0.1", "live", False),
        (after("172.31.255.255"), "live", True),
        ("192.168.0.1", "live", False),
        ("100.64.0.1", "live", False),
        (after("100.127.255.255"), "live", True),
        ("169.254.1.1", "live", False),
        ("0.0.0.1", "live", False),
        ("224.0.0.1", "live", False),
        ("255.255.255.255", "live", False),
        ("240.0.0.1", "live", False),
        ("240.0.0.1", "simulated", True),
        ("fd00::1", "live", False),
        ("fe80::1", "live", False),
        ("ff02::1", "live", False),
        ("::1", "live", False),
    ],
)
def test_what_the_internet_reaches_is_itself(text: str, dataset: str, is_known: bool) -> None:
    assert find([batch_of(1, dataset=dataset)], [text], [0]) == [text if is_known else None]


def test_a_mapping_wins_over_what_the_packet_carries_and_the_first_over_the_second() -> None:
    best = make_period("198.51.100.0/28", "203.0.113.16/28")
    guessed = make_period("198.51.100.0/24", "192.0.2.0/24")

    assert find(
        [batch_of(3, best, guessed)], ["198.51.100.3", "198.51.100.16", "203.0.113.200"], [0, 0, 0]
    ) == [
        "203.0.113.19",
        "192.0.2.16",
        "203.0.113.200",
    ]


def test_an_ipv6_prefix_keeps_the_host() -> None:
    period = make_period("fd00:1::/56", "2001:db8:7:ff00::/56")

    assert find([batch_of(2, period)], ["fd00:1:0:1::5", "fd00:1:0:100::5"], [0, 0]) == [
        "2001:db8:7:ff01::5",
        None,
    ]


Private = st.sampled_from(["10.0.0.0/30", "10.0.0.4/32", "192.168.1.0/29", "10.0.0.0/24"])
Public = st.sampled_from(["203.0.113.0/24", "198.51.100.0/24", "192.0.2.0/24"])
Periods = st.lists(st.tuples(Private, Public, st.integers(0, 5), st.integers(1, 5)), max_size=4).map(
    lambda rows: [_period(*row) for row in rows]
)


def _period(local: str, public: str, start: int, hours: int) -> tuple[str, str, int, int]:
    size = ipaddress.ip_network(local).prefixlen
    base = next(ipaddress.ip_network(public).subnets(new_prefix=size))
    return local, str(base), start, start + hours


@settings(max_examples=60, deadline=None)
@given(
    fleets=st.lists(
        st.tuples(Periods, st.lists(st.tuples(st.integers(0, 7), st.integers(0, 11)), max_size=6)), max_size=4
    )
)
def test_a_block_finds_what_each_packet_alone_would(fleets: list) -> None:
    batches, carried, hours, expected = [], [], [], []
    for periods, packets in fleets:
        made = [
            make_period(local, public, from_us=a * HOUR_US, to_us=b * HOUR_US)
            for local, public, a, b in periods
        ]
        batches.append(batch_of(len(packets), *made))
        for host, hour in packets:
            address = ipaddress.ip_address("10.0.0.0") + host
            at = min(hour, 9)
            carried.append(str(address))
            hours.append(at)
            expected.append(next((_map(address, one) for one in periods if _holds(one, address, at)), None))

    if carried:
        assert find(batches, carried, hours) == expected


def _holds(period: tuple[str, str, int, int], address: ipaddress.IPv4Address, hour: int) -> bool:
    return address in ipaddress.ip_network(period[0]) and period[2] <= hour < period[3]


def _map(address: ipaddress.IPv4Address, period: tuple[str, str, int, int]) -> str:
    local, public = ipaddress.ip_network(period[0]), ipaddress.ip_network(period[1])
    return str(public[int(address) - int(local[0])])


@settings(max_examples=60, deadline=None)
@given(numbers=st.lists(st.integers(0, (1 << 32) - 1), min_size=1, max_size=20), simulated=st.booleans())
def test_one_at_a_time_and_all_at_once_agree(numbers: list[int], simulated: bool) -> None:
    texts = [str(ipaddress.IPv4Address(number)) for number in numbers]

    found = find_reachable(from_texts(texts), np.full(len(texts), simulated)).tolist()

    assert found == [is_reachable(ipaddress.ip_network(text), is_simulated=simulated) for text in texts]


@pytest.mark.parametrize(
    ("modes", "expected"),
    [
        (("silent", "silent"), [0, 0, 0]),
        (("answering", "answering"), [1, 1, 1]),
        (("silent", "answering"), [0, 1, 0]),
    ],
)
def test_each_packet_has_the_mode_of_its_prefix(modes: tuple[str, str], expected: list[int]) -> None:
    watched = (Watched("192.0.2.7/32", modes[0]), Watched("2001:db8:1::/48", modes[1]))  # type: ignore[arg-type]
    batches = [batch_of(1), batch_of(3, watched=watched)]
    wire = {"dst_addr": from_texts(["192.0.2.7", "192.0.2.7", "2001:db8:1::5", "198.51.100.9"])}

    assert find_answering(wire, batches, np.array([1, 3])).tolist() == [0, *expected]


def test_a_block_names_what_it_rests_on() -> None:
    facts = Facts("0123456789abcdef", 42)

    assert facts_of(str(facts)) == facts
    assert facts_of("0123456789abcdef") == Facts("0123456789abcdef", -1), (
        "a block of before: anything may be later"
    )
    assert facts_of(str(Facts("", 0))) == Facts("", 0)


def test_a_period_covers_both_ends_of_its_range() -> None:
    period = make_period("10.0.0.0/30", "203.0.113.4/30")

    assert (period.local_first, period.local_last) == (from_text("10.0.0.0"), from_text("10.0.0.3"))
    assert find([batch_of(2, period)], ["10.0.0.0", "10.0.0.3"], [0, 0]) == ["203.0.113.4", "203.0.113.7"]
