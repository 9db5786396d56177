"""In what share of the covered sensors something was seen, and where.

Shares are of the sensors that watched at any time of the period, in the mode of the
answer: seen by 3 of 4 sensors is broader than seen by 100 of 10,000.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from teiten.search import guarding, lines, periods, roster, unreached
from teiten.search.answers_places import Breadth, RegionBreadth
from teiten.search.coverage import observe
from teiten.search.desk import Desk
from teiten.search.errors import TooExpensive
from teiten.search.figures import share_of
from teiten.search.members import Member, Roster
from teiten.search.periods import DAY, Window
from teiten.search.planner import Plan, is_answerable
from teiten.search.predicates import columns_of
from teiten.search.query import Query
from teiten.search.statements import Draft
from teiten.search.tables import HOUR, PACKETS, ROLL_UPS, Table
from teiten.search.visibility import Visibility

#: Filters that the index of packets finds quickly, at any length of the period.
_INDEXED = frozenset({"src_addr"})
#: Longest period over which single packets are read for any other filter.
MOST_RAW = timedelta(hours=48)
#: From this on the period is widened to whole days where a roll-up knows the sensors.
_DAYS_FROM = timedelta(hours=20)
#: A guarded viewer's shares are steps of this.
_COARSE_SHARE = 0.05


@dataclass(frozen=True)
class Seen:
    """How broadly something was seen, as the viewer may know it."""

    #: None when too few for the viewer.
    sensors: int | None
    share: float | None
    only_here: str | None


def tell_seen(
    visibility: Visibility,
    *,
    seen: int,
    covered: int,
    seen_in: Collection[str],
    covered_in: Collection[str],
) -> Seen:
    """Tell breadth; for a guarded viewer only where enough sensors saw it, coarse, and never where alone.

    Args:
        visibility: what the viewer may see.
        seen: sensors that saw it.
        covered: sensors that watched.
        seen_in: regions of those that saw it.
        covered_in: regions of those that watched.
    """
    share = None if seen > covered else share_of(seen, covered)
    if visibility.is_guarded:
        if seen < visibility.least_sensors or share is None:
            return Seen(None, None, None)
        # A step stands for at least k sensors too: one more hit must not show.
        step = max(_COARSE_SHARE, visibility.least_sensors / covered)
        return Seen(None, min(1.0, max(step, round(share / step) * step)), None)
    only = next(iter(seen_in)) if len(seen_in) == 1 and len(covered_in) > 1 else None
    return Seen(seen, share, only)


def answer_breadth(desk: Desk, visibility: Visibility, query: Query) -> Breadth:
    """See :meth:`teiten.search.service.Search.breadth`."""
    started = desk.clock.monotonic()
    made = _plan(desk, query)
    members = roster.list_members(desk, visibility, query, made.window)
    family = lines.family_of(query)
    covered = [m for m in members if m.seconds and (not family or m.addresses(family))]
    seen = _list_sensors(desk, visibility, query, made)
    if visibility.is_guarded:  # with own sensors one could move the edge of a step
        seen -= visibility.own_sensors
    kept, count = _keep_reached(desk, visibility, query, made.window, covered)
    # What came to a port that the world cannot reach came from nearby: its sensor is on neither side.
    seen -= {member.sensor for member in covered} - {member.sensor for member in kept}
    covered = kept
    told = tell_seen(
        visibility,
        seen=len(seen),
        covered=count,
        seen_in={member.region for member in covered if member.sensor in seen},
        covered_in={member.region for member in covered},
    )
    return Breadth(
        sensors_seen=told.sensors,
        sensors_covered=count,
        share=told.share,
        regions=() if visibility.is_guarded else _sum_up_regions(covered, seen),
        only_here=told.only_here,
        masked=("sensors_seen", "regions", "only_here") if visibility.is_guarded else (),
        basis=observe(desk, visibility, query, made.window).basis,
        cost=desk.cost(made, started, call="breadth"),
    )


def _keep_reached(
    desk: Desk, visibility: Visibility, query: Query, window: Window, covered: list[Member]
) -> tuple[list[Member], int]:
    """Keep the sensors that the ports asked about could reach at any time, and count them; for a guarded viewer coarsely."""
    found = unreached.find(desk, query, window.start_us, window.end_us)
    if found is None:
        return covered, len(covered)
    if visibility.is_guarded:
        share = unreached.coarse_share(desk, visibility, query, found, window)
        return covered, round(len(covered) * (1.0 - share))
    missed = found.share_of_members(Roster.of(covered), window, family=lines.family_of(query))
    kept = [member for member, share in zip(covered, missed.tolist(), strict=True) if share < 1.0]
    return kept, len(kept)


def _plan(desk: Desk, query: Query) -> Plan:
    """Take a roll-up that knows the sensors exactly, over whole days; otherwise single packets.

    Raises:
        TooExpensive: when that would read too many of them.
    """
    needed = columns_of(query.filters)
    table = _choose_table(query, needed)
    if table is PACKETS and query.length > MOST_RAW and not needed & _INDEXED:
        raise TooExpensive(
            "in how many sensors this was seen must be counted in single packets, over at most"
            f" {MOST_RAW // timedelta(hours=1)} hours; shorten the period, or filter by port, actor or source only"
        )
    step = DAY if table is not PACKETS else periods.pick_step(query.length)
    step = max(step, HOUR) if query.is_guarded else step
    return Plan(table, periods.lay_out(query, step_seconds=step, zone=desk.zone), query.filters)


def _choose_table(query: Query, needed: frozenset[str]) -> Table:
    if query.length < _DAYS_FROM:
        return PACKETS
    known = (table for table in ROLL_UPS if table.sensors_bitmap and is_answerable(query, table))
    return next((table for table in known if needed <= table.columns), PACKETS)


def _list_sensors(desk: Desk, visibility: Visibility, query: Query, made: Plan) -> frozenset[int]:
    draft = Draft(made, query.dataset, query.survey, previous=False)
    table = made.table
    state = (
        f"groupBitmapMergeState({table.sensors_bitmap})"
        if table.sensors_bitmap
        else "groupBitmapState(sensor)"
    )
    statement = (
        f"SELECT bitmapToArray({state}) AS seen FROM {table.name} WHERE {draft.where()}"  # noqa: S608 - declared names, bound values
        f"{guarding.having(visibility, table)}"
    )
    rows = desk.select(visibility, statement, draft.parameters).to_pylist()
    return frozenset(rows[0]["seen"]) if rows else frozenset()


def _sum_up_regions(covered: list[Member], seen: frozenset[int]) -> tuple[RegionBreadth, ...]:
    watching = Counter(member.region for member in covered)
    seeing = Counter(member.region for member in covered if member.sensor in seen)
    found = [
        RegionBreadth(region, seeing[region], count, share_of(seeing[region], count))
        for region, count in watching.items()
    ]
    return tuple(sorted(found, key=lambda each: (-(each.share or 0.0), -each.seen, each.region)))
