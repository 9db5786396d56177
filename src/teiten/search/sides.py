"""The sides of a comparison: who belongs to one, and what they watched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from teiten.foundation.clock import from_us
from teiten.search import coverage, lines, modes, unreached
from teiten.search.answers_places import SensorGroup
from teiten.search.desk import Desk
from teiten.search.periods import DAY, Window
from teiten.search.planner import Plan
from teiten.search.query import Query
from teiten.search.sensor_groups import Membership, find_members, list_steady, read_days
from teiten.search.tables import PACKETS, Table
from teiten.search.visibility import Visibility
from teiten.search.watched import Watched

#: What a ratio's interval is taken over.
Spread = Literal["sensors", "buckets"]


@dataclass(frozen=True)
class Side:
    """One side of a comparison, ready to be counted."""

    query: Query
    made: Plan
    membership: Membership | None
    #: Covered address-days of each cluster: a sensor's, or a bucket's.
    days: Mapping[int, float]
    sensors: int
    #: There is no rate: modes or prefix lengths would be mixed.
    is_unrated: bool

    @property
    def whole_days(self) -> float:
        return sum(self.days.values())


@dataclass(frozen=True)
class Crew:
    """Forms sides: who belongs, and what they watched."""

    desk: Desk
    visibility: Visibility
    table: Table
    spread: Spread
    #: Of the period that is asked about.
    window: Window
    same_sensors: bool

    def form(self, query: Query, group: SensorGroup, window: Window) -> Side:
        family = lines.family_of(query)
        shifted = query.within(from_us(window.start_us), from_us(window.end_us))
        membership = find_members(self.desk, group, window)
        if self.same_sensors:
            membership = self._keep_steady(query, membership)
        if self.table is PACKETS:
            by_sensor = read_days(self.desk, self.visibility, shifted, window, family=family)
            parts = {
                sensor: days if membership is None else membership.cut(sensor, days)
                for sensor, days in by_sensor.items()
            }
            days, sensors = self._gather(parts, window)
        else:
            days, sensors = self._read_by_region(shifted, window, family)
        strata = modes.list_strata(self.desk, self.visibility, shifted, window)
        unrated = bool(coverage.tell_no_rate(shifted, [each for each in strata if each.ip_version == family]))
        return Side(shifted, Plan(self.table, window, query.filters), membership, days, sensors, unrated)

    def _keep_steady(self, query: Query, membership: Membership | None) -> Membership:
        steady = list_steady(self.desk, self.visibility, query, self.window)
        always = np.ones(self.window.count, dtype=np.bool_)
        if membership is None:
            return Membership(dict.fromkeys(steady, always))
        return Membership({sensor: mask for sensor, mask in membership.buckets.items() if sensor in steady})

    def _gather(
        self, parts: Mapping[int, NDArray[np.float64]], window: Window
    ) -> tuple[dict[int, float], int]:
        watching = {sensor: days for sensor, days in parts.items() if days.any()}
        if self.spread == "sensors":
            return {sensor: float(days.sum()) for sensor, days in watching.items()}, len(watching)
        whole = np.sum([*watching.values(), np.zeros(window.count)], axis=0)
        return _by_bucket(whole), len(watching)

    def _read_by_region(self, query: Query, window: Window, family: int) -> tuple[dict[int, float], int]:
        by_region = unreached.read_counted(self.desk, self.visibility, query, window)
        whole = Watched.together(by_region.values(), window.count)
        observed = coverage.observe(self.desk, self.visibility, query, window).basis
        return _by_bucket(whole.address_seconds(family) / DAY), observed.sensors_seen


def _by_bucket(days: NDArray[np.float64]) -> dict[int, float]:
    return {bucket: float(days[bucket]) for bucket in np.flatnonzero(days).tolist()}
