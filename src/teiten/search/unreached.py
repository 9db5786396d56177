"""Ports that the world cannot reach at a sensor: who did not observe them is not counted (`docs/adr/0021`).

Canaries tell which ports do not reach which sensors, and since when. A question that
keeps packets of certain ports alone is answered with the time of those sensors that
could have received one: of several ports a sensor is left out while *all* of them are
known not to reach it, so that nothing that could have been observed is dropped. Which
ports a filter keeps follows from the filter; packets are not looked at.

A guarded viewer is told no more than the share of all sensors of others, of the whole
data set, in steps that stand for *k* sensors: a region's or a day's own share would
tell where a port is blocked, sensor by sensor.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, reduce
from math import floor

import numpy as np
from numpy.typing import NDArray

from teiten.search import lines, roster, services, watched
from teiten.search.basis import NotCounted
from teiten.search.conditions import PortValue, where
from teiten.search.desk import Desk
from teiten.search.doors import FleetFacts
from teiten.search.members import Roster
from teiten.search.named_ports import services_of
from teiten.search.periods import Window
from teiten.search.query import Query
from teiten.search.visibility import Visibility
from teiten.search.watched import Apart, Watched

#: A guarded viewer's shares are steps of this, or of *k* sensors if that is more.
COARSE_SHARE = 0.05
#: Sensors times buckets that are read at once.
_MOST_CELLS = 1_000_000

#: Of one sensor over one IP version, µs; in order, without overlaps.
Spans = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Unreached:
    """When the ports of a question reach which sensors not: all of them at once."""

    services: tuple[PortValue, ...]
    #: IP version → sensor → when.
    spans: Mapping[int, Mapping[int, Spans]]

    @property
    def sensors(self) -> frozenset[int]:
        """Every sensor that is concerned at any time."""
        return frozenset().union(*self.spans.values())

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name_port(service) for service in self.services)

    @cached_property
    def _columns(self) -> Mapping[int, tuple[NDArray[np.int64], ...]]:
        """Sensor, begin and end of each span, by IP version; in the order of the sensors."""
        return {
            ip_version: tuple(
                np.array(column, dtype=np.int64)
                for column in zip(
                    *((sensor, *span) for sensor, when in sorted(mine.items()) for span in when), strict=True
                )
            )
            for ip_version, mine in self.spans.items()
            if mine
        }

    def shares(self, sensors: NDArray[np.int64], ip_version: int, window: Window) -> NDArray[np.float64]:
        """Give the share of each bucket in which the ports do not reach each sensor: ``(sensors, buckets)``."""
        found = np.zeros((len(sensors), window.count))
        columns = self._columns.get(ip_version)
        if columns is None or not len(sensors):
            return found
        wanted = np.isin(columns[0], sensors)
        names, starts, ends = (column[wanted] for column in columns)
        edges = np.array(window.edges_us, dtype=np.int64)
        overlap = np.minimum(ends[:, None], edges[1:]) - np.maximum(starts[:, None], edges[:-1])
        known, places = np.unique(names, return_inverse=True)
        sums = np.zeros((len(known), window.count))
        np.add.at(sums, places, np.clip(overlap, 0, None) / np.diff(edges))
        is_concerned = np.isin(sensors, known)
        # Periods that touch add up to all of a bucket, but for the last digit.
        shares = np.minimum(np.round(sums, 12), 1.0)
        found[is_concerned] = shares[np.searchsorted(known, sensors[is_concerned])]
        return found

    def share_of_members(self, members: Roster, window: Window, *, family: int) -> NDArray[np.float64]:
        """Give, for each member, the share of the window in which no address of it could be reached.

        Args:
            members: the sensors.
            window: of which the shares are.
            family: 4 or 6; 0: the versions that each of them watches.
        """
        missed = np.ones(len(members))
        for ip_version in (family,) if family else (4, 6):
            mean = self._mean(members, ip_version, window)
            missed = np.where(members.addresses(ip_version) > 0, np.minimum(missed, mean), missed)
        return np.where(watches(members, family=family), missed, 0.0)

    def _mean(self, members: Roster, ip_version: int, window: Window) -> NDArray[np.float64]:
        whole = Window((window.start_us, window.end_us), window.step_seconds, window.zone)
        return self.shares(members.sensor, ip_version, whole)[:, 0]

    def cut(self, members: Roster, *, family: int) -> Roster:
        """Give the members with the time in which they were expected to observe the ports; several rows where it is parted."""
        mine = self.spans.get(family, {})
        is_concerned = np.isin(members.sensor, list(mine))
        if not is_concerned.any():
            return members
        places: list[int] = []
        begins: list[int] = []
        ends: list[int] = []
        for place in np.flatnonzero(is_concerned).tolist():
            until = int(members.until_us[place])
            for start, end in leave(mine[int(members.sensor[place])], int(members.from_us[place]), until):
                places.append(place)
                begins.append(start)
                ends.append(end)
        cut = members.where(np.array(places, dtype=np.int64))
        cut = replace(cut, from_us=np.array(begins, dtype=np.int64), until_us=np.array(ends, dtype=np.int64))
        kept = members.where(~is_concerned)
        names = [each.name for each in fields(Roster)]
        return Roster(*(np.concatenate([getattr(kept, name), getattr(cut, name)]) for name in names))


def watches(members: Roster, *, family: int) -> NDArray[np.bool_]:
    """Tell which members have addresses of an IP version; 0: of any."""
    return (members.addresses(family) if family else members.addresses_v4 + members.addresses_v6) > 0


def leave(spans: Spans, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Give what is left of ``[start, end)`` without the spans."""
    for begins, ends in spans:
        if start < min(begins, end):
            yield start, min(begins, end)
        start = max(start, ends)
    if start < end:
        yield start, end


def name_port(service: PortValue) -> str:
    """Write a port as in ``445/tcp``."""
    return f"{service.number}/{services.name_protocol(service.protocol)}"


def find(desk: Desk, query: Query, start_us: int, end_us: int) -> Unreached | None:
    """Find what is known about the ports that a question keeps to; None when every sensor counts."""
    if desk.fleet is None or query.dataset.startswith("import:"):
        return None
    return find_services(desk, services_of(query.filters), start_us, end_us)


def find_services(desk: Desk, asked: Sequence[PortValue], start_us: int, end_us: int) -> Unreached | None:
    """Find when all of these ports did not reach a sensor; None when there is no such time."""
    fleet, services = desk.fleet, tuple(asked)
    if fleet is None or not services:
        return None
    return desk.remember(
        ("unreached", services, start_us, end_us),
        lambda: _find(fleet, services, start_us, end_us),
        seconds=desk.config.freshness_cache_seconds,
        viewer=None,
    )


def _find(fleet: FleetFacts, asked: tuple[PortValue, ...], start_us: int, end_us: int) -> Unreached | None:
    each: list[dict[tuple[int, int], Spans]] = []
    for service in asked:
        found: dict[tuple[int, int], Spans] = {}
        for one in fleet.list_unreached(service.protocol, service.number, start_us, end_us):
            known = found.get((one.sensor, one.ip_version), ())
            found[one.sensor, one.ip_version] = (*known, (one.from_us, one.to_us))
        if not found:
            return None
        each.append(found)
    common = reduce(_meet, each)
    if not common:
        return None
    spans: dict[int, dict[int, Spans]] = {}
    for (sensor, ip_version), when in common.items():
        spans.setdefault(ip_version, {})[sensor] = when
    return Unreached(asked, spans)


def _meet(
    one: dict[tuple[int, int], Spans], other: dict[tuple[int, int], Spans]
) -> dict[tuple[int, int], Spans]:
    """Give the time that both have."""
    found = {key: _intersect(one[key], other[key]) for key in one.keys() & other.keys()}
    return {key: spans for key, spans in found.items() if spans}


def _intersect(one: Spans, other: Spans) -> Spans:
    both = ((max(a, c), min(b, d)) for a, b in one for c, d in other)
    return tuple(sorted(span for span in both if span[0] < span[1]))


def read_counted(
    desk: Desk, visibility: Visibility, query: Query, span: Window, *, by: str = "region"
) -> dict[Hashable, Watched]:
    """Give what :func:`watched.read_watched` gives, without what the question's ports could not reach."""
    return count(
        desk,
        visibility,
        query,
        span,
        seen=watched.read_watched(desk, visibility, query, span, by=by),
        by=by,
    )


def count(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    span: Window,
    *,
    seen: dict[Hashable, Watched],
    by: str = "region",
) -> dict[Hashable, Watched]:
    """Give what was watched without what the question's ports could not reach."""
    found = find(desk, query, span.start_us, span.end_us)
    if found is None:
        return seen
    if visibility.is_guarded:
        return thin(seen, coarse_share(desk, visibility, query, found, span))
    return take_out(desk, visibility, query, span, seen=seen, found=found, by=by)


def thin(seen: Mapping[Hashable, Watched], share: float | NDArray[np.float64]) -> dict[Hashable, Watched]:
    """Take the same share out of everything; who watched is not told."""
    kept = 1.0 - share
    return {
        key: replace(part, v4_seconds=part.v4_seconds * kept, v6_seconds=part.v6_seconds * kept)
        for key, part in seen.items()
    }


def take_out(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    span: Window,
    *,
    seen: Mapping[Hashable, Watched],
    found: Unreached,
    by: str = "region",
) -> dict[Hashable, Watched]:
    """Give what was watched by sensor or region, bucket by bucket, by sensors that the ports could reach.

    Of a bucket in which the state of a sensor changed, its time counts in proportion.
    """
    regions = [str(key) for key in seen] if by == "region" else []
    counted = dict(seen)
    sensors = sorted(found.sensors)
    size = max(1, _MOST_CELLS // span.count)
    for first in range(0, len(sensors), size):
        some = sensors[first : first + size]
        apart = read_apart(desk, visibility, query, span, sensors=some, regions=regions)
        taken = _take(apart, found, span)
        for name, mine in _group(apart, regions):
            if name in counted:
                counted[name] = _subtract(counted[name], [sheet[mine].sum(axis=0) for sheet in taken])
    return counted


def _group(apart: Apart, regions: Sequence[str]) -> Iterator[tuple[Hashable, NDArray[np.int64]]]:
    """Give the rows of each region, or of each sensor where none are asked for."""
    keys = apart.regions if regions else apart.sensors
    order = np.argsort(keys, kind="stable")
    names, starts = np.unique(keys[order], return_index=True)
    for key, rows in zip(names.tolist(), np.split(order, starts[1:]), strict=True):
        if key or not regions:
            yield (regions[key - 1] if regions else key), rows


def read_apart(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    span: Window,
    *,
    sensors: Iterable[int],
    regions: Sequence[str] = (),
) -> Apart:
    """Give what some sensors watched, each for itself."""
    only = lines.narrow(query, where("sensor", "in", *sorted(sensors)))
    return watched.read_apart(desk, visibility, only, span, regions=regions)


def _take(apart: Apart, found: Unreached, span: Window) -> tuple[NDArray[np.float64], ...]:
    """Give what is to be taken out of each measure, sensor by sensor."""
    v4, v6, seconds, sensors = apart.sheets
    missed = [found.shares(apart.sensors, ip_version, span) for ip_version in (4, 6)]
    # A sensor still counts as one while any of its versions can be reached.
    of_both = np.minimum(np.where(v4 > 0, missed[0], 1.0), np.where(v6 > 0, missed[1], 1.0))
    of_both = np.where((v4 > 0) | (v6 > 0), of_both, 0.0)
    return v4 * missed[0], v6 * missed[1], seconds * of_both, sensors * (of_both >= 1.0)


def _subtract(part: Watched, taken: Sequence[NDArray[np.float64]]) -> Watched:
    v4, v6, seconds, sensors = taken
    return Watched(
        np.maximum(0.0, part.v4_seconds - v4),
        np.maximum(0.0, part.v6_seconds - v6),
        np.maximum(0.0, part.sensor_seconds - seconds),
        np.maximum(0, part.sensors - sensors.astype(np.int64)),
    )


def coarse_share(desk: Desk, visibility: Visibility, query: Query, found: Unreached, window: Window) -> float:
    """Give the share of all sensors of others that the ports do not reach, as a guarded viewer may know it.

    Whatever regions are asked about, it is the share of the whole data set, and a step
    of it stands for *k* sensors at least.
    """
    members = roster.read_roster(desk, visibility, replace(query, filters=None), window)
    family = lines.family_of(query)
    is_other = ~np.isin(members.sensor, list(visibility.own_sensors)) & (members.until_us > window.start_us)
    others = members.where(is_other & watches(members, family=family))
    if not len(others):
        return 0.0
    step = max(COARSE_SHARE, visibility.least_sensors / len(others))
    raw = float(found.share_of_members(others, window, family=family).mean())
    return min(1.0, floor(raw / step + 1e-9) * step)


def tell(
    found: Unreached, members: Roster, window: Window, *, family: int, taken: float, whole: float
) -> NotCounted:
    """Say what was left out of a real viewer's answer.

    Args:
        found: what is known.
        members: the sensors that the question keeps.
        window: the period.
        family: that the question keeps to; 0: both.
        taken: address-seconds left out.
        whole: address-seconds that were watched.
    """
    missed = found.share_of_members(members, window, family=family)
    return NotCounted(found.names, int(np.count_nonzero(missed)), taken / whole if whole else 0.0)
