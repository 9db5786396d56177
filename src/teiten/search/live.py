"""Live mode: the last seconds, and the data sets that there are."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from teiten.search import dimensions, lines, packets, ranking
from teiten.search.answers import Count, DatasetExtent, Live
from teiten.search.coverage import observe
from teiten.search.desk import Desk
from teiten.search.errors import NotPermitted, QueryError
from teiten.search.lines import ALL
from teiten.search.query import Query
from teiten.search.visibility import Visibility

MOST_SECONDS = 900
_DATASETS = """
SELECT
    dataset,
    toDateTime64(any(first_hour), 6, 'UTC') AS first_at,
    max(last_window_end_at) AS last_at,
    toUInt64(sum(rows)) AS packet_count,
    uniqExact(sensor) AS sensor_count
FROM coverage_1d
LEFT JOIN (SELECT dataset, min(hour) AS first_hour FROM coverage_regions_1h GROUP BY dataset) AS firsts USING (dataset)
GROUP BY dataset
ORDER BY dataset
LIMIT 1000
"""


def answer_live(desk: Desk, visibility: Visibility, query: Query, *, seconds: int, latest: int) -> Live:
    """See :meth:`teiten.search.service.Search.live`."""
    started = desk.clock.monotonic()
    if not visibility.may_see_live:
        raise NotPermitted(
            f"a {visibility.role} may not see live mode: single packets as they come tell sensors apart;"
            " use periods of an hour or more, or ask the operator for an analyst's role"
        )
    if not 1 <= seconds <= MOST_SECONDS:
        rule = f"seconds must be 1 to {MOST_SECONDS}"
        raise QueryError(f"{rule}, not {seconds}", field="seconds", value=str(seconds), rule=rule)
    now = desk.clock.now()
    end = now.replace(microsecond=0) + timedelta(seconds=1)
    query = query.within(end - timedelta(seconds=seconds), end)
    made = lines.plan_for(desk, query, step_seconds=1, needs_hosts=True)
    counts = lines.count_lines(desk, visibility, query, made, previous=False, hosts=True)[ALL]
    return Live(
        now_at=now,
        step_seconds=1,
        starts=made.window.starts,
        packets=tuple(counts.packets[made.steps :]),
        hosts=tuple(counts.hosts[made.steps :]),
        top=_rank_ports(desk, visibility, query, whole=counts.total_packets[1]),
        latest=packets.answer_rows(
            desk, visibility, query, page=None, limit=latest, columns=None, count=False
        ),
        basis=observe(desk, visibility, query, made.window).basis,
        cost=desk.cost(made, started, call="live"),
    )


def list_datasets(desk: Desk, visibility: Visibility) -> tuple[DatasetExtent, ...]:
    """See :meth:`teiten.search.service.Search.datasets`."""
    rows = desk.select(visibility, _DATASETS, {}).to_pylist()
    return tuple(
        DatasetExtent(
            row["dataset"], row["first_at"], row["last_at"], row["packet_count"], row["sensor_count"]
        )
        for row in rows
    )


def _rank_ports(desk: Desk, visibility: Visibility, query: Query, *, whole: int) -> tuple[Count, ...]:
    split = dimensions.get_dimension("dst_port")
    counted = replace(query, metric="packets")
    made = lines.plan_for(desk, counted, dimension=split, step_seconds=1)
    found = ranking.rank(desk, visibility, counted, made, dimension=split, limit=10, previous=False)
    return tuple(
        Count(dimensions.describe(split, item.key), item.value, item.value / whole if whole else 0.0)
        for item in found.ranked
    )
