"""Ranks that are made outside the store come out as the store's own."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teiten.search import ranking
from teiten.search.sources import _mark_new_ports

ROWS = st.lists(
    st.tuples(st.integers(0, 7), st.integers(0, 5), st.integers(0, 5)),
    max_size=30,
    unique_by=lambda row: row[0],
)


@pytest.mark.requirement("R2.3")
@settings(max_examples=60, deadline=None)
@given(rows=ROWS, limit=st.integers(1, 10))
def test_values_are_ranked_by_packets_then_by_themselves(
    rows: list[tuple[int, int, int]], limit: int
) -> None:
    columns = np.array(rows, np.int64).reshape(-1, 3).T

    found = ranking.order_values(*columns, limit=limit)

    wanted = [row for row in sorted(rows, key=lambda row: (-row[1], row[0])) if row[1]]
    before = [row[0] for row in sorted(rows, key=lambda row: (-row[2], row[0]))]
    assert [(*item.key, item.value, item.previous) for item in found.ranked] == wanted[:limit]
    assert [item.previous_rank for item in found.ranked] == [
        before.index(row[0]) + 1 if row[2] else None for row in wanted[:limit]
    ]
    assert found.distinct == len(wanted)
    assert found.gone == sum(row[2] for row in rows if not row[1])


@pytest.mark.requirement("R2.3")
@settings(max_examples=60, deadline=None)
@given(rows=ROWS)
def test_a_mask_counts_for_each_of_its_bits(rows: list[tuple[int, int, int]]) -> None:
    table = pa.table(
        {
            "hints": [row[0] for row in rows],
            "now": [row[1] for row in rows],
            "earlier": [row[2] for row in rows],
        }
    )

    keys, now, earlier = ranking._add_up(
        table.cast(pa.schema([(name, pa.uint64()) for name in table.column_names])), "hints"
    )

    for bit in (0, 1, 2, 4):
        mine = [row for row in rows if (row[0] & bit if bit else row[0] == 0)]
        place = keys.tolist().index(bit)
        assert (now[place], earlier[place]) == (sum(row[1] for row in mine), sum(row[2] for row in mine))


@pytest.mark.requirement("R2.3")
@settings(max_examples=60, deadline=None)
@given(
    seen=st.dictionaries(
        st.integers(1, 5), st.dictionaries(st.integers(0, 43), st.integers(1, 9), min_size=1), max_size=5
    )
)
def test_a_port_is_new_after_fourteen_days_without_it(seen: dict[int, dict[int, int]]) -> None:
    first = date(2026, 10, 8)
    rows = [
        {
            "dst_port": port,
            "protocol": 6,
            "days": [first + timedelta(days=day) for day in days],
            "counts": list(days.values()),
        }
        for port, days in seen.items()
    ]

    found = _mark_new_ports(rows, since=first + timedelta(days=14))

    assert [(each.day, each.group.key, each.packets, each.is_new) for each in found] == [
        (
            first + timedelta(days=day),
            f"{port}/tcp",
            packets,
            not any(before in seen[port] for before in range(day - 14, day)),
        )
        for day, port, packets in sorted(
            ((day, port, packets) for port, days in seen.items() for day, packets in days.items()),
            key=lambda row: (row[0], -row[2], row[1]),
        )
        if day >= 14
    ]
