"""Answers over any window, in zones with quarters of hours and clock changes, against plain counting.

Roll-ups hold hours and local days; a question may begin and end anywhere: at midnights, between
them, where nothing was watched, in the future.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.foundation.clock import FixedClock
from teiten.search import lines
from teiten.search.dimensions import describe, get_dimension
from teiten.search.query import Query
from teiten.search.service import Search
from teiten.search.visibility import for_role
from teiten.store import writer
from teiten.store.testing import make_coverage, make_packets, temporary_store

pytestmark = pytest.mark.requirement("R2.3")

ANALYST = for_role("analyst")
#: Clocks in New York go back on 1 November 2026, at 06:00 UTC.
START = datetime(2026, 10, 29, tzinfo=timezone.utc)
NOW = START + timedelta(days=6, hours=5, minutes=20)
WATCHED_UNTIL = START + timedelta(days=6, hours=5)
LENGTHS = [timedelta(minutes=20), *(timedelta(hours=hours) for hours in (1, 5, 24, 25, 36, 48, 72, 100, 480))]


class Place:
    """A search, the zone of its days, and all packets; no dataclass, whose packets a failure would print."""

    def __init__(self, search: Search, zone: str, packets: list[dict[str, Any]]) -> None:
        self.search, self.zone, self.packets = search, ZoneInfo(zone), packets


@pytest.fixture(scope="module", params=["Asia/Kathmandu", "America/New_York"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    rng = random.Random(request.param)
    packets = [
        {
            "sensor": rng.randint(1, 3),
            "region": "kanto",
            "row": row,
            "observed_at": START + (WATCHED_UNTIL - START) * rng.random(),
            "src_addr": f"240.0.0.{rng.randint(1, 90)}",
            "dst_port": rng.choice([22, 23, 23, 80]),
            "country": rng.choice(["JP", "US", ""]),
            "asn": 64500 + rng.randint(0, 3),
            "tcp_fp": rng.choice(["1024:::", "64240:2-4-8-1-3:1460:7"]),
        }
        for row in range(900)
    ]
    hours = int((WATCHED_UNTIL - START) / timedelta(hours=1))
    windows = [
        {
            "sensor": sensor,
            "region": "kanto",
            "batch_seq": hour + 1,
            "window_start_at": START + timedelta(hours=hour),
            "window_end_at": START + timedelta(hours=hour + 1),
            "watched_prefix": [f"192.0.2.{sensor}/32"],
            "captured": 10,
        }
        for sensor in (1, 2, 3)
        for hour in range(hours)
    ]
    clock = FixedClock(NOW)
    with temporary_store(clock, zone=request.param) as store:
        block = writer.BlockRows(
            block="00000000-0000-0000-0000-00000000000c",
            composed_at_us=clock.now_us(),
            packets=make_packets(*packets),
            coverage=make_coverage(*windows),
        )
        writer.insert_block(store, block)
        search = Search(store, clock)
        yield Place(search, request.param, packets)
        search.close()


def begin_anywhere(place: Place, minutes: int, *, at_midnight: bool) -> datetime:
    instant = START - timedelta(days=2) + timedelta(minutes=minutes)
    if not at_midnight:
        return instant
    local = instant.astimezone(place.zone)
    return datetime(local.year, local.month, local.day, tzinfo=place.zone).astimezone(timezone.utc)


def floor_hour(place: Place, instant: datetime) -> datetime:
    local = instant.astimezone(place.zone)
    return instant - timedelta(minutes=local.minute)


def count(place: Place, dimension: str, metric: str, start: datetime, end: datetime) -> dict[str, int]:
    split = get_dimension(dimension)
    found: dict[str, list[str]] = {}
    for packet in place.packets:
        if start <= packet["observed_at"] < end:
            key = (packet["dst_port"], 6) if dimension == "dst_port" else (packet[dimension],)
            found.setdefault(describe(split, key).key, []).append(packet["src_addr"])
    return {key: len(set(each)) if metric == "hosts" else len(each) for key, each in found.items()}


@given(
    st.integers(0, 10 * 24 * 60),
    st.booleans(),
    st.sampled_from(LENGTHS),
    st.sampled_from(["dst_port", "country", "asn", "tcp_fp"]),
    st.sampled_from(["packets", "hosts"]),
    st.booleans(),
)
@settings(max_examples=12, deadline=None)
def test_every_window_is_counted_as_it_says(
    place: Place,
    minutes: int,
    at_midnight: bool,
    length: timedelta,
    dimension: str,
    metric: Any,
    sparks: bool,
) -> None:
    start = begin_anywhere(place, minutes, at_midnight=at_midnight)
    query = Query("live", start, start + length, metric=metric)

    top = place.search.top(ANALYST, query, dimension=dimension, sparks=sparks)

    begins, ends = top.basis.start_at, top.basis.end_at
    assert begins <= query.start < query.end <= ends
    watched = max(timedelta(0), min(ends, WATCHED_UNTIL) - max(begins, START))
    assert top.basis.covered_address_days == pytest.approx(3 * (watched / timedelta(days=1)))
    if begins.astimezone(place.zone).minute == ends.astimezone(place.zone).minute == 0:
        # What a batch says as a whole stands in the local hour in which its window begins.
        hours = (floor_hour(place, START + timedelta(hours=each)) for each in range(6 * 24 + 5))
        assert top.basis.captured_packets == 30 * sum(begins <= hour < ends for hour in hours)
    counted = count(place, dimension, metric, begins, ends)
    assert {row.group.key: row.figure.value for row in top.rows} == counted
    if metric == "packets":
        assert (top.total.value or 0) == sum(counted.values())
        window = lines.plan_for(place.search._desk, query, dimension=get_dimension(dimension)).window
        if ends <= NOW and window.count == len(top.starts):
            before = window.before()
            earlier = count(place, dimension, metric, before.starts[0], window.starts[0])
            assert {row.group.key: row.figure.previous or 0 for row in top.rows} == {
                key: earlier.get(key, 0) for key in counted
            }
