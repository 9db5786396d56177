"""The questions of issue 3 against what plain Python counts in the same made telescope."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from teiten.search import language, lines, planner
from teiten.search.dimensions import get_dimension
from teiten.search.lines import ALL
from teiten.search.query import Query, for_period
from teiten.search.tables import PACKETS, ROLL_UPS, Table
from teiten.search.visibility import for_role

sys.path.insert(0, str(Path(__file__).parent))
from search_fixtures import NOW, World, open_world

pytestmark = pytest.mark.requirement("R2.3")

ANALYST = for_role("analyst")
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with open_world() as made:
        yield made


def last(period: str, text: str = "", **choices: object) -> Query:
    return replace(for_period("live", period, now=NOW), filters=language.parse(text), **choices)  # type: ignore[arg-type]


@pytest.mark.parametrize("table", ROLL_UPS, ids=lambda table: table.name)
def test_every_roll_up_adds_up_to_the_packets(world: World, table: Table) -> None:
    """Each table, forced, against single packets over the same whole days, split by each of its columns."""
    text = language.print_filters(table.only[0]) if table.only else ""
    query = last("7d", text)
    names = [name for name in sorted(table.columns) if name in PACKETS.columns]
    splits = [
        split
        for name in ("dst_port", "hint", *names)
        if (split := _find_split(name)) is not None and set(split.columns) <= table.columns
    ]
    assert splits
    desk = world.search._desk
    for split in splits:
        by_table, by_packets = (
            lines.count_lines(
                desk,
                ANALYST,
                query,
                planner.plan(query, dimension=split, step_seconds=86_400, zone="Asia/Tokyo", only=chosen),
                dimension=split,
                hosts=table.hosts is not None,
            )[ALL]
            for chosen in (table, PACKETS)
        )
        assert by_table.packets == by_packets.packets, split.name
        assert sum(by_table.packets) > 0
        if table.hosts is not None:
            assert by_table.hosts == by_packets.hosts


def _find_split(name: str):  # type: ignore[no-untyped-def]
    from teiten.search.dimensions import DIMENSIONS

    return get_dimension(name) if name in DIMENSIONS else None


@pytest.mark.parametrize(
    ("text", "dimension", "table"),
    [
        ("", "actor", "actors_1d"),
        ("survey = yes", "nature", "totals_1h"),
        ("", "probe", "probes_1d"),
        ("probe = dns-version", "dst_port", "probes_1d"),
        ("dst_port = 23/tcp", "tcp_fp", "fingerprints_ports_1d"),
        ("tcp_fp != none", "dst_port", "fingerprints_ports_1d"),
        ("", "payload_hash", "payloads_1d"),
        ("", "validity", "totals_1h"),
        ("validity = bogon", "src_addr", "sources_1d"),
        ("tcp_fp = none", "dst_port", "packets"),
        ("probe = none", "dst_port", "packets"),
    ],
)
def test_labels_are_answered_from_their_roll_ups(world: World, text: str, dimension: str, table: str) -> None:
    answer = world.search.top(ANALYST, last("7d", text), dimension=dimension)

    assert answer.cost.table == table
    assert answer.rows


def test_long_rankings_read_days(world: World) -> None:
    month = world.search.top(ANALYST, last("30d"), dimension="dst_port")
    week = world.search.top(ANALYST, last("7d"), dimension="dst_port")

    assert (month.cost.table, week.cost.table) == ("ports_1d", "ports_1h")
    assert month.total.value == week.total.value == len(world.packets)
