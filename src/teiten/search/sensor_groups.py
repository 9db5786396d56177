"""Groups of sensors: who belongs to one, when, and what they watched.

Sensors and regions are conditions on packets and coverage alike. Kind, country, provider
and AS of a sensor are only in the fleet's register, with dates; a sensor belongs for the
whole hours that lie in a placement that matches, so that packets and coverage are cut
at the same instants.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from teiten.search import facets, modes, roster, unreached
from teiten.search.answers_places import SensorGroup
from teiten.search.conditions import where
from teiten.search.desk import Desk
from teiten.search.doors import PlacementPeriod, SensorFacts
from teiten.search.errors import NotPermitted, QueryError
from teiten.search.periods import DAY, Window
from teiten.search.predicates import Binding
from teiten.search.query import MODES, Mode, Query
from teiten.search.statements import write_bucket
from teiten.search.tables import Table
from teiten.search.visibility import Visibility
from teiten.search.watched import Watched

#: Kinds of places, as the register names them.
KINDS = ("isp", "enterprise", "university", "cloud", "idc", "other")
#: More values in one part of a group than this belong in a data set.
MOST_VALUES = 10_000


@dataclass(frozen=True)
class Membership:
    """Which buckets of a window count for each sensor of a group; None of a sensor: all of them."""

    buckets: Mapping[int, NDArray[np.bool_]]

    def cut(self, sensor: int, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Keep what a sensor watched as a member."""
        return np.where(self.buckets[sensor], seconds, 0.0) if sensor in self.buckets else 0.0 * seconds

    def write(self, table: Table, window: Window, binding: Binding) -> str:
        """Give the clause that keeps the members' packets, over a table with sensors."""
        whole = sorted(sensor for sensor, mask in self.buckets.items() if mask.all())
        clause = f"sensor IN {binding.bind('Array(UInt32)', whole)}"
        pairs = [
            (sensor, bucket)
            for sensor, mask in sorted(self.buckets.items())
            if not mask.all()
            for bucket in np.flatnonzero(mask).tolist()
        ]
        if not pairs:
            return clause
        partly = binding.bind("Array(UInt32)", sorted({sensor for sensor, _ in pairs}))
        mark = binding.bind("Array(Tuple(UInt32, UInt32))", pairs)
        bucket = write_bucket(table, window, binding)
        return f"({clause} OR (sensor IN {partly} AND (sensor, {bucket}) IN {mark}))"


def check_group(desk: Desk, visibility: Visibility, group: SensorGroup, *, name: str) -> None:
    """Refuse a group that makes no sense, or that the viewer may not ask about.

    Raises:
        QueryError: naming the part and the rule.
        NotPermitted: for a guarded viewer who asks about anything but regions.
    """
    for part, known in (("kinds", KINDS), ("modes", ("silent", "answering"))):
        for value in getattr(group, part):
            if value not in known:
                rule = f"{part} must be of {', '.join(known)}"
                raise QueryError(f"{name}: {rule}, not {value!r}", field=name, value=str(value), rule=rule)
    if len(group.modes) > 1:
        rule = "a group has one mode: a rate never mixes them"
        raise QueryError(
            f"{name}: {rule}; name one of them", field=name, value=",".join(group.modes), rule=rule
        )
    if max(len(group.sensors), len(group.regions)) > MOST_VALUES:
        rule = f"at most {MOST_VALUES} sensors or regions"
        raise QueryError(f"{name}: {rule}; name regions or kinds instead", field=name, rule=rule)
    if visibility.is_guarded and (group.sensors or group.needs_placement):
        raise NotPermitted(
            f"{name}: members compare regions and modes only; sensors and places would tell where sensors stand",
            field=name,
        )
    if group.needs_placement and desk.fleet is None:
        rule = "kinds, countries, providers and ASes are in the register of sensors, which this search does not have"
        raise QueryError(f"{name}: {rule}; take regions or sensors", field=name, rule=rule)


def keep_group(desk: Desk, visibility: Visibility, query: Query, group: SensorGroup) -> Query:
    """Keep the packets of a group's regions, sensors and mode; a group's mode goes before the question's."""
    if group.regions:
        query = query.narrow(where("region", "in", *(region.lower() for region in group.regions)))
    if group.sensors:
        query = query.narrow(where("sensor", "in", *group.sensors))
    if not group.modes:
        return query
    mode: Mode = next(mode for mode in MODES if mode == group.modes[0])
    free = replace(facets.relax(query, "answering"), mode="auto")
    return modes.settle(desk, visibility, replace(free, mode=mode))


def find_members(desk: Desk, group: SensorGroup, window: Window) -> Membership | None:
    """Find who belongs by placement; None when placement does not matter."""
    if not group.needs_placement or desk.fleet is None:
        return None
    found = {facts.sensor: _mark_buckets(facts, group, window) for facts in desk.fleet.list_sensors()}
    return Membership({sensor: mask for sensor, mask in found.items() if mask.any()})


def _mark_buckets(facts: SensorFacts, group: SensorGroup, window: Window) -> NDArray[np.bool_]:
    """Tell in which buckets a sensor stands, all the time, in placements that match."""
    edges = np.array(window.edges_us, dtype=np.int64)
    seconds = np.zeros(window.count)
    for period in facts.periods:
        if matches(period, group):
            overlap = np.minimum(period.to_us, edges[1:]) - np.maximum(period.from_us, edges[:-1])
            seconds += np.clip(overlap, 0, None)
    return np.asarray(seconds >= np.diff(edges))


def matches(period: PlacementPeriod, group: SensorGroup) -> bool:
    """Tell whether a placement is one of the group's kinds, countries, providers and ASes."""
    wanted: Iterable[tuple[object, tuple[object, ...]]] = (
        (period.kind, group.kinds),
        (period.country, tuple(country.upper() for country in group.countries)),
        (period.provider, group.providers),
        (period.asn, group.asns),
    )
    return all(not values or value in values for value, values in wanted)


def list_steady(desk: Desk, visibility: Visibility, query: Query, window: Window) -> frozenset[int]:
    """List the sensors that watched in the window and in the one before."""
    members = roster.list_members(desk, visibility, query, window)
    return frozenset(member.sensor for member in members if member.seconds and member.seconds_before)


def read_days(
    desk: Desk, visibility: Visibility, query: Query, window: Window, *, family: int
) -> dict[int, NDArray[np.float64]]:
    """Give each sensor's covered address-days per bucket."""
    seen: Mapping[object, Watched] = unreached.read_counted(desk, visibility, query, window, by="sensor")
    return {int(str(sensor)): part.address_seconds(family) / DAY for sensor, part in seen.items()}
