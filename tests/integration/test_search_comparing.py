"""Groups of sensors against each other, as plain counting has it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.foundation.clock import to_us
from teiten.search import language
from teiten.search.answers_places import SensorGroup
from teiten.search.doors import FOREVER_US, MaintenancePeriod, PlacementPeriod, SensorFacts
from teiten.search.errors import NotPermitted, QueryError, TooExpensive
from teiten.search.query import Query, for_period
from teiten.search.service import Search
from teiten.search.visibility import for_role

sys.path.insert(0, str(Path(__file__).parent))
from search_fixtures import ANSWERING, FIRST, LATE_START, NOW, REGIONS, World, open_world

pytestmark = pytest.mark.requirement("R2.3")

ANALYST = for_role("analyst")
DAY = timedelta(days=1)
#: Sensor 3 moved from a home line into a cloud, in the middle of an hour, eleven and a half hours ago.
MOVED, MOVED_AT = FIRST + 3, NOW - timedelta(hours=11, minutes=30)
KINDS = {FIRST + number: "isp" if number % 2 else "cloud" for number in range(1, 8)}


@dataclass
class Register:
    """The fleet's register as the tests have it."""

    def list_sensors(self) -> list[SensorFacts]:
        return [_facts(sensor) for sensor in REGIONS]

    def list_maintenance(self, start_us: int, end_us: int) -> list[MaintenancePeriod]:
        del start_us, end_us
        return []

    def list_unreached(self, protocol: int, port: int, start_us: int, end_us: int) -> tuple[()]:
        del protocol, port, start_us, end_us
        return ()


def _facts(sensor: int) -> SensorFacts:
    place = (REGIONS[sensor], "JP", 64_500, "Example", KINDS[sensor], "silent")
    periods = (PlacementPeriod(0, FOREVER_US, *place),)
    if sensor == MOVED:
        at = to_us(MOVED_AT)
        cloud = (*place[:4], "cloud", place[5])
        periods = (PlacementPeriod(0, at, *place), PlacementPeriod(at, FOREVER_US, *cloud))
    return SensorFacts(sensor, 1, *place, periods)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with open_world() as made:
        yield made


@pytest.fixture(scope="module")
def search(world: World) -> Iterator[Search]:
    made = Search(world.store, world.clock, fleet=Register())
    yield made
    made.close()


def last(period: str, text: str = "", **choices: Any) -> Query:
    return replace(for_period("live", period, now=NOW), filters=language.parse(text), **choices)


def count(
    world: World, start: datetime, end: datetime, test: Callable[[int, datetime], bool]
) -> tuple[int, float, int]:
    """Give packets, covered address-days and sensors of IPv4, for sensors and times that pass ``test``."""
    packets = world.matching(
        lambda p: (
            p["ip_version"] == 4 and start <= p["observed_at"] < end and test(p["sensor"], p["observed_at"])
        )
    )
    windows = [
        w
        for w in world.windows
        if w["watched_ip_version"] == [4]
        and start <= w["window_start_at"] < end
        and test(w["sensor"], w["window_start_at"])
    ]
    return len(packets), len(windows) / 96, len({w["sensor"] for w in windows})


def test_regions_are_compared_as_counted(world: World, search: Search) -> None:
    answer = search.compare(
        ANALYST,
        last("24h"),
        one=SensorGroup(regions=("kanto",)),
        other=SensorGroup(regions=("kinki", "kyushu")),
        dimension="dst_port",
    )

    for side, regions in ((answer.one, ("kanto",)), (answer.other, ("kinki", "kyushu"))):
        packets, days, sensors = count(world, NOW - DAY, NOW, lambda s, _, r=regions: REGIONS[s] in r)
        assert (side.packets, side.sensors) == (packets, sensors)
        assert side.covered_address_days == pytest.approx(days)
        assert side.rate == pytest.approx(packets / days)
    assert sum(row.one_packets for row in answer.rows) == answer.one.packets
    assert sum(row.other_packets for row in answer.rows) == answer.other.packets
    assert answer.spread_over == "sensors"
    for row in answer.rows:
        assert row.ratio is not None
        assert row.ratio == pytest.approx((row.one_rate or 0) / (row.other_rate or 1))
        assert (row.ratio_low or 0) < row.ratio < (row.ratio_high or 0)


def test_a_sensor_that_moved_counts_where_it_stood(world: World, search: Search) -> None:
    answer = search.compare(
        ANALYST,
        last("24h"),
        one=SensorGroup(kinds=("isp",)),
        other=SensorGroup(kinds=("cloud",)),
        dimension="country",
        limit=50,
    )

    # The hour in which it moved belongs to neither.
    before, after = NOW - timedelta(hours=12), NOW - timedelta(hours=11)

    def is_of(kind: str, sensor: int, at: datetime) -> bool:
        if sensor != MOVED:
            return KINDS[sensor] == kind
        return at < before if kind == "isp" else at >= after

    for side, kind in ((answer.one, "isp"), (answer.other, "cloud")):
        packets, days, sensors = count(world, NOW - DAY, NOW, lambda s, at, k=kind: is_of(k, s, at))
        assert (side.packets, side.sensors) == (packets, sensors)
        assert side.covered_address_days == pytest.approx(days)
    assert sum(row.one_packets for row in answer.rows) == answer.one.packets


GROUPS = [
    SensorGroup(),
    SensorGroup(regions=("kanto",)),
    SensorGroup(kinds=("cloud",)),
    SensorGroup(sensors=(FIRST + 1, FIRST + 2, FIRST + 4)),
    SensorGroup(countries=("jp",), regions=("kinki",)),
]


@given(
    st.sampled_from(GROUPS),
    st.sampled_from(GROUPS),
    st.sampled_from(["dst_port", "hint", "asn"]),
    st.booleans(),
)
@settings(max_examples=10, deadline=None)
def test_swapping_the_groups_inverts_the_ratio(
    search: Search, one: SensorGroup, other: SensorGroup, dimension: str, same: bool
) -> None:
    query = last("24h")
    answer = search.compare(ANALYST, query, one=one, other=other, dimension=dimension, same_sensors=same)
    swapped = search.compare(ANALYST, query, one=other, other=one, dimension=dimension, same_sensors=same)

    assert (swapped.one, swapped.other) == (answer.other, answer.one)
    assert [row.group for row in swapped.rows] == [row.group for row in answer.rows]
    for row, back in zip(answer.rows, swapped.rows, strict=True):
        assert (back.one_packets, back.other_packets) == (row.other_packets, row.one_packets)
        if row.ratio:
            assert back.ratio == pytest.approx(1 / row.ratio)
        if row.ratio_low:
            assert back.ratio_high == pytest.approx(1 / row.ratio_low)


def test_the_same_sensors_then_and_now(world: World, search: Search) -> None:
    """Sensor 6 started a day late: it did not watch in both halves."""
    query = Query("live", LATE_START, LATE_START + DAY)

    plain = search.compare(ANALYST, query, one=SensorGroup(), dimension="dst_port")
    same = search.compare(ANALYST, query, one=SensorGroup(), dimension="dst_port", same_sensors=True)

    late = FIRST + 6
    for answer, left_out in ((plain, None), (same, late)):
        for side, start in ((answer.one, LATE_START), (answer.other, LATE_START - DAY)):
            packets, days, sensors = count(world, start, start + DAY, lambda s, _, out=left_out: s != out)
            assert (side.start_at, side.packets, side.sensors) == (start, packets, sensors)
            assert side.covered_address_days == pytest.approx(days)
    assert plain.one.sensors == same.one.sensors + 1


def test_long_comparisons_of_regions_read_roll_ups(search: Search, world: World) -> None:
    answer = search.compare(
        ANALYST,
        last("7d"),
        one=SensorGroup(regions=("kanto",)),
        other=SensorGroup(regions=("kinki",)),
        dimension="dst_port",
    )

    assert (answer.cost.table, answer.spread_over) == ("ports_regions_1d", "buckets")
    start = NOW - timedelta(days=8)
    packets, days, sensors = count(world, start, NOW, lambda s, _: REGIONS[s] == "kanto")
    assert (answer.one.packets, answer.one.sensors) == (packets, sensors)
    assert answer.one.covered_address_days == pytest.approx(days)
    assert all(row.ratio_low is not None for row in answer.rows)


def test_modes_are_compared_each_with_its_own() -> None:
    with open_world(seed=11, with_answering=True) as world:
        answer = world.search.compare(
            ANALYST,
            last("24h"),
            one=SensorGroup(modes=("answering",), sensors=ANSWERING),
            other=SensorGroup(modes=("silent",)),
            dimension="dst_port",
        )
        mixed = world.search.compare(
            ANALYST, last("24h", mode="all"), one=SensorGroup(regions=("kanto",)), dimension="dst_port"
        )
        packets, days, sensors = count(world, NOW - DAY, NOW, lambda s, _: s in ANSWERING)

    assert (answer.one.packets, answer.one.sensors) == (packets, sensors)
    assert answer.one.rate == pytest.approx(packets / days)
    assert answer.other.rate is not None
    assert mixed.one.packets
    assert (mixed.one.rate, {row.ratio for row in mixed.rows}) == (None, {None})


def test_senseless_groups_are_refused(world: World, search: Search) -> None:
    def compare(group: SensorGroup, *, period: str = "24h", text: str = "", by: Search = search) -> None:
        by.compare(ANALYST, last(period, text), one=group, dimension="dst_port")

    with pytest.raises(QueryError, match="kinds must be of"):
        compare(SensorGroup(kinds=("castle",)))
    with pytest.raises(QueryError, match="one mode"):
        compare(SensorGroup(modes=("silent", "answering")))
    with pytest.raises(QueryError, match="does not have"):
        compare(SensorGroup(kinds=("isp",)), by=world.search)
    with pytest.raises(TooExpensive, match="at most 48 hours"):
        compare(SensorGroup(kinds=("isp",)), period="7d")
    with pytest.raises(TooExpensive, match="at most 48 hours"):
        compare(SensorGroup(regions=("kanto",)), period="7d", text="ttl > 3")
    with pytest.raises(NotPermitted, match="regions and modes only"):
        search.compare(for_role("member"), last("24h"), one=SensorGroup(kinds=("isp",)), dimension="dst_port")
