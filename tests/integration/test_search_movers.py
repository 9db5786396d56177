"""Movers over forty days of a small telescope."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from teiten.foundation.clock import FixedClock, to_us
from teiten.search import language
from teiten.search.errors import TooExpensive
from teiten.search.query import Query, for_period
from teiten.search.service import Search
from teiten.search.visibility import for_role
from teiten.store import writer
from teiten.store.testing import make_coverage, make_packets, temporary_store

pytestmark = pytest.mark.requirement("R2.3")

ANALYST = for_role("analyst")
#: Midnight in Tokyo.
NOW = datetime(2026, 11, 20, 15, tzinfo=timezone.utc)
DAYS = 29
#: Port → packets on each usual day, and on the last one.
PORTS = {23: (40, 44), 80: (20, 200), 22: (1, 2), 9_527: (0, 90)}


def make_day(age: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    start = NOW - timedelta(days=age)
    windows = [
        {
            "sensor": sensor,
            "batch_seq": DAYS - age + 1,
            "region": f"region-{sensor}",
            "window_start_at": start,
            "window_end_at": start + timedelta(days=1),
            "landed_at": start + timedelta(days=1),
        }
        for sensor in (1, 2)
    ]
    packets = [
        {
            "sensor": 1 + number % 2,
            "region": f"region-{1 + number % 2}",
            "batch_seq": DAYS - age + 1,
            "dst_port": port,
            "observed_at": start + timedelta(minutes=(number * 37) % 1440),
            "landed_at": start + timedelta(days=1),
            "tcp_fp": f"{port}::1460:",
        }
        for port, (usual, last) in PORTS.items()
        for number in range(last if age == 1 else usual)
    ]
    return windows, packets


@pytest.fixture(scope="module")
def search() -> Iterator[Search]:
    clock = FixedClock(NOW)
    with temporary_store(clock) as store:
        for number, ages in enumerate((range(1, 16), range(16, DAYS + 1))):
            made = [make_day(age) for age in ages]
            windows = [window for part, _ in made for window in part]
            packets = [{**packet, "row": row} for _, part in made for row, packet in enumerate(part)]
            block = writer.BlockRows(
                block=f"00000000-0000-0000-0000-00000000000{number}",
                composed_at_us=to_us(NOW),
                packets=make_packets(*packets),
                coverage=make_coverage(*windows),
            )
            writer.insert_block(store, block)
        search = Search(store, clock)
        yield search
        search.close()


def last_day(text: str = "") -> Query:
    return replace(for_period("live", "24h", now=NOW), filters=language.parse(text))


@pytest.mark.parametrize(("dimension", "keys"), [("dst_port", ["80/tcp"]), ("tcp_fp", ["80::1460:"])])
def test_only_what_grew_beyond_its_range_moved(search: Search, dimension: str, keys: list[str]) -> None:
    answer = search.movers(ANALYST, last_day(), dimension=dimension)

    assert [item.group.key for item in answer.items] == keys
    assert answer.days_watched == 28
    assert len(answer.starts) == 29
    for item in answer.items:
        assert item.usual_rate == pytest.approx(20 / 2)
        assert item.recent_rate == pytest.approx(200 / 2)
        assert item.trend == pytest.approx(9)
        assert item.spark == (*[10.0] * 28, 100.0)


def test_a_region_moves_by_its_own_coverage(search: Search) -> None:
    answer = search.movers(ANALYST, last_day("region = region-1"), dimension="region")

    (item,) = answer.items
    assert item.usual_rate == pytest.approx(31)
    assert item.recent_packets == sum(-(-last // 2) for _, last in PORTS.values())


def test_without_a_past_nothing_moves(search: Search) -> None:
    query = Query("live", NOW - timedelta(days=25), NOW - timedelta(days=24))

    answer = search.movers(ANALYST, query, dimension="dst_port")

    assert (answer.items, answer.days_watched) == ((), 4)


def test_a_question_for_a_month_of_packets_is_refused(search: Search) -> None:
    with pytest.raises(TooExpensive, match="choose another dimension"):
        search.movers(ANALYST, last_day("ttl > 30"), dimension="dst_port")
