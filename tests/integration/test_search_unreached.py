"""Sensors that a port does not reach are in no denominator of it, and nobody else is left out."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.foundation.clock import to_us
from teiten.search import language
from teiten.search.answers_places import SensorGroup
from teiten.search.basis import Basis
from teiten.search.doors import FOREVER_US, MaintenancePeriod, SensorFacts, UnreachedPeriod
from teiten.search.query import Query, for_period
from teiten.search.service import Search
from teiten.search.visibility import for_role, for_viewer

sys.path.insert(0, str(Path(__file__).parent))
from search_fixtures import FIRST, LATE_START, NOW, PREFIX_SENSOR, REGIONS, World, open_world

pytestmark = pytest.mark.requirement("R2.3", "R1.3")

ANALYST = for_role("analyst")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TELNET, SSH = (6, 23), (6, 22)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with open_world() as made:
        yield made


@dataclass(frozen=True)
class Dark:
    """A port that does not reach a sensor, over its own IP version."""

    sensor: int
    start: datetime
    end: datetime | None = None
    service: tuple[int, int] = TELNET

    @property
    def ip_version(self) -> int:
        return 6 if self.sensor == PREFIX_SENSOR else 4


@dataclass
class Register:
    dark: list[Dark]

    def list_sensors(self) -> list[SensorFacts]:
        return []

    def list_maintenance(self, start_us: int, end_us: int) -> list[MaintenancePeriod]:
        del start_us, end_us
        return []

    def list_unreached(self, protocol: int, port: int, start_us: int, end_us: int) -> list[UnreachedPeriod]:
        periods = [
            UnreachedPeriod(
                one.sensor,
                one.ip_version,
                to_us(one.start),
                FOREVER_US if one.end is None else to_us(one.end),
            )
            for one in self.dark
            if one.service == (protocol, port)
        ]
        return [one for one in periods if one.from_us < end_us and one.to_us > start_us]


def open_search(world: World, *dark: Dark) -> Search:
    return Search(world.store, world.clock, fleet=Register(list(dark)))


def last(period: str, text: str = "", **choices: object) -> Query:
    return replace(for_period("live", period, now=NOW), filters=language.parse(text), **choices)  # type: ignore[arg-type]


def counted_seconds(world: World, dark: list[Dark], start: datetime, end: datetime) -> dict[int, float]:
    """Give the IPv4 seconds of each sensor that count, window by window."""
    found: dict[int, float] = {}
    for window in world.windows:
        if window["watched_ip_version"] != [4]:
            continue
        sensor = window["sensor"]
        begin, until = max(start, window["window_start_at"]), min(end, window["window_end_at"])
        seconds = max(0.0, (until - begin).total_seconds())
        for one in dark:
            if one.sensor == sensor and seconds:
                missed = min(until, one.end or until) - max(begin, one.start)
                seconds -= max(0.0, missed.total_seconds())
        found[sensor] = found.get(sensor, 0.0) + max(0.0, seconds)
    return {sensor: seconds for sensor, seconds in found.items() if seconds}


spans = st.tuples(
    st.sampled_from([sensor for sensor in REGIONS if sensor != PREFIX_SENSOR]),
    st.integers(1, 60),
    st.one_of(st.none(), st.integers(1, 40)),
)


@given(drawn=st.lists(spans, max_size=5, unique_by=lambda one: one[0]), seed=st.integers())
@settings(max_examples=8, deadline=None)
def test_what_counts_is_what_could_be_reached(
    world: World, drawn: list[tuple[int, int, int | None]], seed: int
) -> None:
    dark = [
        Dark(sensor, NOW - ago * HOUR, None if length is None else min(NOW, NOW - (ago - length) * HOUR))
        for sensor, ago, length in drawn
    ]
    shuffled = random.Random(seed).sample(dark, len(dark))
    search, other = open_search(world, *dark), open_search(world, *shuffled)
    query = last("24h", "dst_port = 23/tcp and ip_version = 4", metric="rate")
    plain = world.search.totals(ANALYST, query)

    answer = search.totals(ANALYST, query)

    basis = answer.basis
    known = [
        counted_seconds(world, dark, basis.start_at - back, basis.end_at - back) for back in (DAY, 0 * DAY)
    ]
    assert basis.covered_address_days == pytest.approx(sum(known[1].values()) / 86_400)
    assert sum(basis.strip.covered_address_days) == pytest.approx(basis.covered_address_days)
    for place, start in enumerate(basis.strip.starts):
        each = counted_seconds(world, dark, start, start + HOUR)
        assert basis.strip.covered_address_days[place] == pytest.approx(sum(each.values()) / 86_400)
        assert basis.strip.sensors[place] == len(each) + 1, "and the one that watches IPv6 alone"
    assert (basis.sensors_seen, basis.sensors_seen_before) == (len(known[1]) + 1, len(known[0]) + 1)
    if basis.covered_address_days:
        assert answer.rate.value == pytest.approx((answer.packets.value or 0) / basis.covered_address_days)
    parts = basis.covered_address_days + basis.planned_address_days + basis.missing_address_days
    assert parts == pytest.approx(basis.expected_address_days)
    assert basis.missing_address_days <= plain.basis.missing_address_days + 1e-6
    assert other.totals(ANALYST, query).basis == basis, "in whatever order they are told"
    left = {one.sensor for one in dark if one.end is None or one.end > basis.start_at}
    assert sum(one.sensors or 0 for one in basis.not_counted) == len(left)
    assert search.basis(ANALYST, last("24h")) == world.search.basis(ANALYST, last("24h")), (
        "no port, no matter"
    )
    assert search.basis(ANALYST, last("24h", "dst_port = 22/tcp")).not_counted == ()
    search.close()
    other.close()


def test_the_past_is_answered_with_what_was_true_then(world: World) -> None:
    search = open_search(world, Dark(FIRST + 1, NOW - 6 * HOUR))
    day = Query("live", NOW - 48 * HOUR, NOW - 24 * HOUR, filters=language.parse("dst_port = 23/tcp"))

    assert search.basis(ANALYST, day) == world.search.basis(ANALYST, day)
    today = search.basis(ANALYST, last("24h", "dst_port = 23/tcp"))
    search.close()
    assert today.not_counted[0].ports == ("23/tcp",)
    assert today.not_counted[0].sensors == 1
    before = world.search.basis(ANALYST, last("24h"))
    assert today.covered_address_days == pytest.approx(before.covered_address_days - 0.25)
    assert today.sensors_seen == before.sensors_seen, "it could be reached for most of the day"
    assert [gap for gap in today.gaps if gap.region == "kanto"] == [
        gap for gap in before.gaps if gap.region == "kanto"
    ], "what nobody expected is not missing"


@pytest.mark.parametrize(
    ("text", "is_left_out"),
    [
        ("dst_port = 23/tcp", True),
        ("protocol = tcp and dst_port = 23", True),
        ("dst_port = 23/tcp and country = CN", True),
        ("dst_port in (23/tcp, 22/tcp) and dst_port != 22/tcp", True),
        ("dst_port = 23", False),
        ("dst_port in (23/tcp, 22/tcp)", False),
        ("dst_port = 23/tcp or country = CN", False),
        ("not (dst_port = 23/tcp)", False),
        ("dst_port <= 23 and protocol = tcp", False),
        ("protocol = tcp", False),
    ],
)
def test_only_a_question_that_keeps_to_the_port_leaves_out(
    world: World, text: str, is_left_out: bool
) -> None:
    search = open_search(world, Dark(FIRST + 1, NOW - 10 * DAY))
    basis = search.basis(ANALYST, last("24h", text))
    search.close()
    assert (len(basis.not_counted) == 1) == is_left_out
    assert basis.sensors_known == len(REGIONS) - is_left_out


def test_of_several_ports_all_must_be_unreachable(world: World) -> None:
    both = [Dark(FIRST + 1, NOW - 10 * DAY, service=service) for service in (TELNET, SSH)]
    search = open_search(world, *both, Dark(FIRST + 2, NOW - 10 * DAY))
    basis = search.basis(ANALYST, last("24h", "dst_port in (22/tcp, 23/tcp)"))
    search.close()
    assert [(one.ports, one.sensors) for one in basis.not_counted] == [(("22/tcp", "23/tcp"), 1)]


def test_ports_side_by_side_have_denominators_of_their_own(world: World) -> None:
    dark = [Dark(FIRST + number, NOW - 10 * DAY) for number in (1, 2)]
    search = open_search(world, *dark)
    query = last("24h", metric="rate")
    plain = {row.group.key: row for row in world.search.top(ANALYST, query, dimension="dst_port").rows}

    top = search.top(ANALYST, query, dimension="dst_port")
    series = search.series(ANALYST, query, dimension="dst_port")
    movers = search.movers(ANALYST, last("24h"), dimension="dst_port")
    pair = search.top(ANALYST, query, dimension="fingerprint_port")
    search.close()

    basis = top.basis
    kept = sum(counted_seconds(world, dark, basis.start_at, basis.end_at).values()) / 86_400
    whole = basis.covered_address_days
    for row in top.rows:
        factor = whole / kept if row.group.key == "23/tcp" else 1.0
        assert row.figure.value == pytest.approx((plain[row.group.key].figure.value or 0) * factor)
    for answer in (top, series, pair):
        ((port, sensors),) = [(one.ports, one.sensors) for one in answer.basis.not_counted]
        assert (port, sensors) == (("23/tcp",), 2)
        assert answer.basis.not_counted[0].share == pytest.approx(1 - kept / whole)
    assert movers.basis is not None


def test_seen_by_k_of_n_has_the_n_that_could_see_it(world: World) -> None:
    search = open_search(
        world, Dark(FIRST + 1, NOW - 10 * DAY), Dark(FIRST + 6, NOW - 10 * DAY, NOW - 9 * DAY)
    )
    query = last("24h", "dst_port = 23/tcp")
    plain, found = world.search.breadth(ANALYST, query), search.breadth(ANALYST, query)
    search.close()
    assert (found.sensors_seen, found.sensors_covered) == (
        (plain.sensors_seen or 0) - 1,
        plain.sensors_covered - 1,
    )
    kanto = next(each for each in found.regions if each.region == "kanto")
    assert kanto.covered == 2


def test_maps_and_comparisons_leave_them_out(world: World) -> None:
    search = open_search(world, Dark(FIRST + 1, NOW - 10 * DAY))
    query = last("24h", "dst_port = 23/tcp", metric="rate")
    top, plain = (
        {row.group.key: row.figure.value or 0 for row in each.top(ANALYST, query, dimension="region").rows}
        for each in (search, world.search)
    )
    one = search.compare(ANALYST, query, one=SensorGroup(regions=("kanto",)), dimension="country")
    rates = search.compare(ANALYST, last("24h"), one=SensorGroup(regions=("kanto",)), dimension="dst_port")
    before = world.search.compare(
        ANALYST, last("24h"), one=SensorGroup(regions=("kanto",)), dimension="dst_port"
    )
    search.close()

    assert top["kanto"] == pytest.approx(plain["kanto"] * 3 / 2, rel=0.02)
    assert top["kinki"] == plain["kinki"]
    assert one.one.sensors == 2
    for row, other in zip(rates.rows, before.rows, strict=True):
        assert row.one_packets == other.one_packets
        if row.group.key != "23/tcp":
            assert row == other
        else:
            assert (row.one_rate or 0) != other.one_rate


def test_versions_of_ip_are_told_apart(world: World) -> None:
    search = open_search(world, Dark(PREFIX_SENSOR, NOW - 10 * DAY))
    four, six = (
        search.basis(ANALYST, last("24h", f"dst_port = 23/tcp and ip_version = {version}"))
        for version in (4, 6)
    )
    search.close()
    assert (
        four.covered_address_days
        == world.search.basis(ANALYST, last("24h", "ip_version = 4")).covered_address_days
    )
    assert (six.covered_address_days, six.sensors_seen) == (0.0, four.sensors_seen - 1)


class TestMembers:
    def basis(self, search: Search, text: str, *own: int) -> Basis:
        member = for_viewer("member", organisation_id=7, own_sensors=own, secret=b"s", least_sensors=2)
        return search.basis(member, last("7d", text))

    def test_few_change_nothing(self, world: World) -> None:
        search = open_search(world, Dark(FIRST + 1, NOW - 10 * DAY))
        for text in ("dst_port = 23/tcp", "dst_port = 23/tcp and region = kanto"):
            assert self.basis(search, text) == self.basis(world.search, text)
        search.close()

    def test_own_ones_do_not_help_to_see_another(self, world: World) -> None:
        search = open_search(world, *(Dark(FIRST + number, NOW - 10 * DAY) for number in (1, 2)))
        plain = self.basis(world.search, "dst_port = 23/tcp", FIRST + 1)
        assert self.basis(search, "dst_port = 23/tcp", FIRST + 1) == plain
        search.close()

    def test_a_region_tells_nothing_of_its_own(self, world: World) -> None:
        shares = []
        for numbers in ((1, 2, 3), (4, 5, 6), (1, 4, 6)):
            search = open_search(world, *(Dark(FIRST + number, NOW - 10 * DAY) for number in numbers))
            for text in ("", " and region = kanto", " and region in (kanto, kinki)"):
                basis = self.basis(search, f"dst_port = 23/tcp{text}")
                whole = self.basis(world.search, f"dst_port = 23/tcp{text}")
                ((ports, sensors, share),) = [
                    (one.ports, one.sensors, one.share) for one in basis.not_counted
                ]
                assert (ports, sensors) == (("23/tcp",), None)
                assert basis.covered_address_days == pytest.approx(whole.covered_address_days * (1 - share))
                assert basis.share == pytest.approx(whole.share)
                shares.append(share)
            search.close()
        assert {round(share, 9) for share in shares} == {round(2 / 7, 9)}, (
            "a step of two sensors, whoever they are"
        )

    def test_their_own_sensors_are_told_exactly(self, world: World) -> None:
        own = FIRST + 1
        search = open_search(world, Dark(own, NOW - 10 * DAY))
        member = for_viewer("member", organisation_id=7, own_sensors=(own,), secret=b"s")
        basis = search.basis(member, last("24h", f"dst_port = 23/tcp and sensor = {own}"))
        search.close()
        assert (basis.sensors_seen, basis.covered_address_days) == (0, 0.0)
        assert basis.not_counted[0].sensors == 1

    def test_rates_are_scaled_alike(self, world: World) -> None:
        search = open_search(world, *(Dark(FIRST + number, NOW - 10 * DAY) for number in (1, 2, 3)))
        member = for_viewer("member", organisation_id=7, secret=b"s", least_sensors=2)
        query = last("7d", "ip_version = 4", metric="rate")
        rows, plain = (
            {row.group.key: row.figure.value for row in each.top(member, query, dimension="dst_port").rows}
            for each in (search, world.search)
        )
        told = search.breadth(member, last("7d", "dst_port = 23/tcp")).sensors_covered
        search.close()
        assert rows["23/tcp"] == pytest.approx((plain["23/tcp"] or 0) / (1 - 2 / 6))
        assert rows["22/tcp"] == plain["22/tcp"]
        assert told == 5


def test_an_export_says_what_its_basis_leaves_out(world: World) -> None:
    search = open_search(world, Dark(FIRST + 1, NOW - 10 * DAY))
    export = search.export(ANALYST, last("24h", "dst_port = 23/tcp"), file_format="csv", limit=1)
    search.close()
    assert export.start.metadata["teiten.not_counted"].startswith("23/tcp: 1 sensors, 0.")


def test_a_late_sensor_is_no_gap(world: World) -> None:
    """What was cut in the middle is expected before and after."""
    search = open_search(world, Dark(FIRST + 6, LATE_START + 6 * HOUR, LATE_START + 18 * HOUR))
    query = Query(
        "live", LATE_START - 3 * HOUR, NOW, filters=language.parse("dst_port = 23/tcp and ip_version = 4")
    )
    basis, plain = search.basis(ANALYST, query), world.search.basis(ANALYST, query)
    search.close()
    assert basis.expected_address_days == pytest.approx(plain.expected_address_days - 0.5, abs=0.02)
    assert basis.missing_address_days == pytest.approx(plain.missing_address_days, abs=0.02)
