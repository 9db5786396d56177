"""Address-seconds watched per bucket, from the hourly roll-up or, for finer buckets, from windows."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from teiten.search.desk import Desk
from teiten.search.periods import DAY, Window
from teiten.search.predicates import Binding, write_filter
from teiten.search.query import Query
from teiten.search.roster import choose_coverage, project, write_mode
from teiten.search.statements import write_bucket, write_time
from teiten.search.tables import COVERAGE_DAILY, COVERAGE_HOURLY, HOUR
from teiten.search.visibility import Visibility

_ROLLED_UP = """
SELECT
    {key} AS key, {bucket} AS bucket,
    sumIf(address_seconds, ip_version = 4) AS v4_seconds,
    sumIf(address_seconds, ip_version = 6) AS v6_seconds,
    sum(sensor_seconds) AS seconds,
    {sensors} AS sensors
FROM {table}
WHERE dataset = {dataset} AND {time} AND {mode} AND {filter}
GROUP BY key, bucket
ORDER BY key, bucket
"""
_COUNT_SENSORS = "uniqExactIf(sensor, sensor_seconds > 0 OR address_seconds > 0)"
_COUNT_SET = "groupBitmapMerge(sensors)"
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
        arrayFilter((place, mode) -> {mode}, arrayEnumerate(watched_mode), watched_mode) AS places,
        arraySum(place -> if(watched_ip_version[place] = 4, watched_addresses[place], 0), places) AS v4_addresses,
        arraySum(place -> if(watched_ip_version[place] = 6, watched_addresses[place], 0), places) AS v6_addresses,
        toUnixTimestamp64Micro(window_start_at) - {start} AS from_us,
        toUnixTimestamp64Micro(window_end_at) - {start} AS until_us,
        arrayJoin(range(
            toUInt32(intDiv(greatest(from_us, 0), {step})),
            toUInt32(intDiv(least(until_us, {length}) + {step} - 1, {step}))
        )) AS bucket,
        (least(until_us, (bucket + 1) * {step}, {length}) - greatest(from_us, bucket * {step})) / 1000000 AS overlap
    FROM coverage FINAL
    WHERE dataset = {dataset} AND notEmpty(places)
        AND window_start_at >= {since} AND window_start_at < {until} AND window_end_at > {first} AND {filter}
)
GROUP BY key, bucket
ORDER BY key, bucket
"""
#: No window is longer: how long before a period one that reaches into it may start.
_LONGEST_WINDOW_US = 86_400_000_000


@dataclass(frozen=True)
class Watched:
    """What was watched in each bucket of a span; arrays of one length."""

    v4_seconds: NDArray[np.float64]
    v6_seconds: NDArray[np.float64]
    sensor_seconds: NDArray[np.float64]
    sensors: NDArray[np.int64]

    def address_seconds(self, family: int) -> NDArray[np.float64]:
        return self.v6_seconds if family == 6 else self.v4_seconds

    def cut(self, start: int) -> Watched:
        """Give the buckets from ``start`` on."""
        return Watched(
            self.v4_seconds[start:],
            self.v6_seconds[start:],
            self.sensor_seconds[start:],
            self.sensors[start:],
        )

    @classmethod
    def nothing(cls, count: int) -> Watched:
        zeros = np.zeros(count)
        return cls(zeros, zeros, zeros, np.zeros(count, np.int64))

    @classmethod
    def together(cls, parts: Iterable[Watched], count: int) -> Watched:
        """Add up what different sensors watched."""
        known = [*parts, cls.nothing(count)]
        return cls(
            np.sum([part.v4_seconds for part in known], axis=0),
            np.sum([part.v6_seconds for part in known], axis=0),
            np.sum([part.sensor_seconds for part in known], axis=0),
            np.sum([part.sensors for part in known], axis=0),
        )


@dataclass(frozen=True)
class Apart:
    """What sensors watched, each for itself; a row for each sensor and region."""

    sensors: NDArray[np.int64]
    #: Place in the regions that were asked for, from 1; 0 for another one.
    regions: NDArray[np.int64]
    #: As the fields of :class:`Watched`: ``(rows, buckets)`` each.
    sheets: tuple[NDArray[np.float64], ...]


#: Column by which coverage is split.
KEYS = {"region": "region", "sensor": "sensor"}


def read_watched(
    desk: Desk, visibility: Visibility, query: Query, span: Window, *, by: str = "region"
) -> dict[Hashable, Watched]:
    """Give what was watched per bucket of ``span``, for each region or sensor."""
    binding = Binding()
    return _gather(_ask(desk, visibility, query, span, key=KEYS[by], by=by, binding=binding), span.count)


def read_apart(
    desk: Desk, visibility: Visibility, query: Query, span: Window, *, regions: Sequence[str] = ()
) -> Apart:
    """Give what each sensor watched per bucket of ``span``, in each of ``regions``."""
    binding = Binding()
    place = f"indexOf({binding.bind('Array(String)', list(regions))}, region)" if regions else "0"
    key = f"toUInt64(sensor) * {_REGIONS} + {place}"
    table = _ask(desk, visibility, query, span, key=key, by="sensor", binding=binding)
    keys, sheets = _lay_out(table, span.count)
    numbers = keys.astype(np.int64)
    return Apart(numbers // _REGIONS, numbers % _REGIONS, sheets)


#: More regions than there can be.
_REGIONS = 65_536


def _ask(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    span: Window,
    *,
    key: str,
    by: str,
    binding: Binding,
) -> pa.Table:
    if span.step_seconds >= HOUR:
        table = choose_coverage(query, span, by=by)
        statement = _ROLLED_UP.format(
            key=key,
            table=table.name,
            sensors=_COUNT_SENSORS if table in (COVERAGE_DAILY, COVERAGE_HOURLY) else _COUNT_SET,
            bucket=write_bucket(table, span, binding),
            dataset=binding.bind("String", query.dataset),
            time=write_time(table, span, binding),
            mode=write_mode(query, binding),
            filter=write_filter(project(query.filters), binding),
        )
    else:
        statement = _by_window(query, span, key, binding)
    return desk.select(visibility, statement, binding.parameters)


def _by_window(query: Query, span: Window, key: str, binding: Binding) -> str:
    return _BY_WINDOW.format(
        key=key,
        mode=write_mode(query, binding),
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
    names, (v4, v6, seconds, sensors) = _lay_out(table, count)
    return {
        name: Watched(v4[line], v6[line], seconds[line], sensors[line].astype(np.int64))
        for line, name in enumerate(names.tolist())
    }


def _lay_out(table: pa.Table, count: int) -> tuple[NDArray[Any], tuple[NDArray[np.float64], ...]]:
    """Give the keys, and each measure by key and bucket."""
    keys = table.column("key").to_numpy()
    names, rows = np.unique(keys.astype(str) if keys.dtype == object else keys, return_inverse=True)
    buckets = table.column("bucket").to_numpy().astype(np.int64)
    inside = buckets < count
    sheets = tuple(np.zeros((len(names), count)) for _ in _MEASURES)
    for sheet, name in zip(sheets, _MEASURES, strict=True):
        sheet[rows[inside], buckets[inside]] = table.column(name).to_numpy()[inside]
    return names, sheets


_MEASURES = ("v4_seconds", "v6_seconds", "seconds", "sensors")


def to_days(seconds: NDArray[np.float64]) -> list[float]:
    """Turn address-seconds into address-days."""
    return [float(value) for value in (seconds / DAY).tolist()]
