"""Address-seconds watched per bucket, from the hourly roll-up or, for finer buckets, from windows."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import pyarrow as pa

from teiten.search.desk import Desk
from teiten.search.periods import DAY, Window
from teiten.search.predicates import Binding, write_filter
from teiten.search.query import Query
from teiten.search.roster import project
from teiten.search.statements import write_bucket, write_time
from teiten.search.tables import HOUR, Table
from teiten.search.visibility import Visibility

_HOURS = Table("coverage_1h", HOUR, "hour", frozenset())
_HOURLY = """
SELECT
    {key} AS key, {bucket} AS bucket,
    sumIf(address_seconds, ip_version = 4) AS v4_seconds,
    sumIf(address_seconds, ip_version = 6) AS v6_seconds,
    sum(sensor_seconds) AS seconds,
    uniqExactIf(sensor, sensor_seconds > 0) AS sensors
FROM coverage_1h
WHERE dataset = {dataset} AND {time} AND {filter}
GROUP BY key, bucket
ORDER BY key, bucket
"""
_BY_WINDOW = """
SELECT
    {key} AS key, bucket,
    sum(overlap * v4_addresses) AS v4_seconds,
    sum(overlap * v6_addresses) AS v6_seconds,
    sum(overlap) AS seconds,
    uniqExactIf(sensor, overlap > 0) AS sensors
FROM
(
    SELECT
        sensor, region,
        arraySum((count, version) -> if(version = 4, count, 0), watched_addresses, watched_ip_version) AS v4_addresses,
        arraySum((count, version) -> if(version = 6, count, 0), watched_addresses, watched_ip_version) AS v6_addresses,
        toUnixTimestamp64Micro(window_start_at) - {start} AS from_us,
        toUnixTimestamp64Micro(window_end_at) - {start} AS until_us,
        arrayJoin(range(
            toUInt32(intDiv(greatest(from_us, 0), {step})),
            toUInt32(intDiv(least(until_us, {length}) + {step} - 1, {step}))
        )) AS bucket,
        (least(until_us, (bucket + 1) * {step}, {length}) - greatest(from_us, bucket * {step})) / 1000000 AS overlap
    FROM coverage FINAL
    WHERE dataset = {dataset} AND notEmpty(watched_prefix)
        AND window_start_at >= {since} AND window_start_at < {until} AND window_end_at > {first} AND {filter}
)
GROUP BY key, bucket
ORDER BY key, bucket
"""
#: No window is longer: how long before a period one that reaches into it may start.
_LONGEST_WINDOW_US = 86_400_000_000


@dataclass
class Watched:
    """What was watched in each bucket of a span."""

    v4_seconds: list[float]
    v6_seconds: list[float]
    sensor_seconds: list[float]
    sensors: list[int]

    def address_seconds(self, family: int) -> list[float]:
        return self.v6_seconds if family == 6 else self.v4_seconds

    @classmethod
    def nothing(cls, count: int) -> Watched:
        return cls([0.0] * count, [0.0] * count, [0.0] * count, [0] * count)


#: Column by which coverage may be split; ``all`` gives one entry with the key 0.
KEYS = {"all": "toUInt8(0)", "region": "region", "sensor": "sensor"}


def read_watched(
    desk: Desk, visibility: Visibility, query: Query, span: Window, *, by: str = "all"
) -> dict[Hashable, Watched]:
    """Give what was watched per bucket of ``span``, for each region or sensor, or in all."""
    binding = Binding()
    if span.step_seconds >= HOUR:
        statement = _HOURLY.format(
            key=KEYS[by],
            bucket=write_bucket(_HOURS, span, binding),
            dataset=binding.bind("String", query.dataset),
            time=write_time(_HOURS, span, binding),
            filter=write_filter(project(query.filters), binding),
        )
    else:
        statement = _by_window(query, span, KEYS[by], binding)
    return _gather(desk.select(visibility, statement, binding.parameters), span.count)


def _by_window(query: Query, span: Window, key: str, binding: Binding) -> str:
    return _BY_WINDOW.format(
        key=key,
        start=binding.bind("Int64", span.start_us),
        step=binding.bind("Int64", span.step_seconds * 1_000_000),
        length=binding.bind("Int64", span.end_us - span.start_us),
        dataset=binding.bind("String", query.dataset),
        since=binding.instant(span.start_us - _LONGEST_WINDOW_US),
        until=binding.instant(span.end_us),
        first=binding.instant(span.start_us),
        filter=write_filter(project(query.filters), binding),
    )


def _gather(table: pa.Table, count: int) -> dict[Hashable, Watched]:
    found: dict[Hashable, Watched] = {}
    names = ("key", "bucket", "v4_seconds", "v6_seconds", "seconds", "sensors")
    for key, bucket, v4, v6, seconds, sensors in zip(
        *(table.column(name).to_pylist() for name in names), strict=True
    ):
        watched = found.setdefault(key, Watched.nothing(count))
        if bucket < count:
            watched.v4_seconds[bucket] = v4
            watched.v6_seconds[bucket] = v6
            watched.sensor_seconds[bucket] = seconds
            watched.sensors[bucket] = sensors
    return found


def to_days(seconds: list[float]) -> list[float]:
    """Turn address-seconds into address-days."""
    return [value / DAY for value in seconds]
