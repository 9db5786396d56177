"""Planned maintenance: time not watched that nobody expected to be watched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from teiten.search import lines, watched
from teiten.search.conditions import where
from teiten.search.desk import Desk
from teiten.search.doors import MaintenancePeriod
from teiten.search.members import Member, Roster
from teiten.search.periods import Window
from teiten.search.query import Query
from teiten.search.visibility import Visibility
from teiten.search.watched import Watched


@dataclass(frozen=True)
class Planned:
    """What one region's sensors did not watch because of maintenance; one value per bucket."""

    address_seconds: NDArray[np.float64]
    sensor_seconds: NDArray[np.float64]

    @classmethod
    def nothing(cls, count: int) -> Planned:
        return cls(np.zeros(count), np.zeros(count))


def read_planned(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    window: Window,
    *,
    members: Roster,
    family: int,
) -> dict[str, Planned]:
    """Give, by region, what was expected, not watched, and in declared maintenance.

    A sensor that goes on watching during its maintenance counts as watching: of each
    bucket only what it really missed is planned, sensor by sensor.
    """
    if desk.fleet is None or query.dataset.startswith("import:"):
        return {}
    by_sensor: dict[int, list[MaintenancePeriod]] = {}
    for period in desk.fleet.list_maintenance(window.start_us, window.end_us):
        by_sensor.setdefault(period.sensor, []).append(period)
    concerned = members.where(np.isin(members.sensor, list(by_sensor))).members
    if not concerned:
        return {}
    only = lines.narrow(query, where("sensor", "in", *(member.sensor for member in concerned)))
    seen = watched.read_watched(desk, visibility, only, window, by="sensor")
    regions: dict[str, Planned] = {}
    for member in concerned:
        mine = seen.get(member.sensor) or Watched.nothing(window.count)
        part = _plan_member(member, by_sensor[member.sensor], mine, window, family=family)
        known = regions.get(member.region) or Planned.nothing(window.count)
        regions[member.region] = Planned(
            known.address_seconds + part.address_seconds, known.sensor_seconds + part.sensor_seconds
        )
    return regions


def _plan_member(
    member: Member, periods: Sequence[MaintenancePeriod], seen: Watched, window: Window, *, family: int
) -> Planned:
    expected = overlap_seconds([(member.from_us, member.until_us)], window)
    clipped = [
        (max(period.start_us, member.from_us), min(period.end_us, member.until_us)) for period in periods
    ]
    maintained = overlap_seconds(join_spans(clipped), window)
    weight = member.addresses(family)
    unseen = np.maximum(0.0, expected - seen.sensor_seconds)
    unseen_addresses = np.maximum(0.0, expected * weight - seen.address_seconds(family))
    return Planned(np.minimum(maintained * weight, unseen_addresses), np.minimum(maintained, unseen))


def join_spans(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Merge overlapping spans, so that no time counts twice; empty ones go."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def overlap_seconds(spans: Sequence[tuple[int, int]], window: Window) -> NDArray[np.float64]:
    """Give how many seconds of each bucket the spans (µs, without overlaps) cover."""
    edges = np.array(window.edges_us, dtype=np.int64)
    total = np.zeros(window.count)
    for start, end in spans:
        overlap = np.minimum(end, edges[1:]) - np.maximum(start, edges[:-1])
        total += np.clip(overlap, 0, None) / 1_000_000
    return total


def sum_up(planned: Mapping[str, Planned], count: int) -> NDArray[np.float64]:
    """Give the planned address-seconds of all regions."""
    total = np.zeros(count)
    for part in planned.values():
        total += part.address_seconds
    return total
