"""On how much observation an answer rests: the :class:`Basis` of every answer, and rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from teiten.foundation.clock import from_us
from teiten.search import gaps, leaving, lines, modes, ports, roster, unreached, watched
from teiten.search.answers import Figure, Points
from teiten.search.basis import Basis, Gap, Strip
from teiten.search.desk import Desk
from teiten.search.dimensions import Dimension, Key
from teiten.search.figures import make_figure, measure, points_of, share_of
from teiten.search.lines import Counts
from teiten.search.maintenance import Planned, read_planned, sum_up
from teiten.search.members import Roster
from teiten.search.modes import Stratum
from teiten.search.periods import DAY, Window, keep_seconds
from teiten.search.predicates import Binding
from teiten.search.query import Metric, Query
from teiten.search.roster import Freshness
from teiten.search.statements import join_windows
from teiten.search.unreached import Unreached
from teiten.search.visibility import Visibility
from teiten.search.watched import Watched


@dataclass(frozen=True)
class Observation:
    """The coverage of a window and of the one before it."""

    basis: Basis
    window: Window
    family: int
    now_us: int
    #: Covered address-days per bucket, the previous window's first: ``2 * window.count``.
    days: tuple[float, ...]
    #: The same of all sensors, whether the ports that are asked about reach them or not.
    all_days: tuple[float, ...]

    def totals(self, days: Sequence[float] | None = None) -> tuple[float, float]:
        """Give the covered address-days of the previous window and of this one."""
        each = self.days if days is None else days
        return sum(each[: self.window.count]), sum(each[self.window.count :])

    def figure(self, metric: Metric, counts: Counts, *, days: Sequence[float] | None = None) -> Figure:
        """Give a line's figure beside the previous one.

        While the window is not over, the previous packets and hosts are taken in
        proportion to the time that has passed, so that like is compared with like.
        """
        if metric == "rate" and self.basis.no_rate:
            return Figure(None, None, None)
        before, now = self.totals(days)
        value = measure(metric, packets=counts.total_packets[1], hosts=counts.total_hosts[1], days=now)
        previous = measure(metric, packets=counts.total_packets[0], hosts=counts.total_hosts[0], days=before)
        if previous is not None and metric != "rate":
            previous *= self.window.elapsed_share(self.now_us)
        return make_figure(value, previous)

    def points(
        self, metric: Metric, counts: Counts, *, days: Sequence[float] | None = None
    ) -> tuple[Points, Points]:
        """Give a line bucket by bucket: this period's, and the previous one's."""
        each = self.days if days is None else days
        if metric == "rate" and self.basis.no_rate:
            nothing: Points = (None,) * self.window.count
            return nothing, nothing
        points = points_of(metric, packets=counts.packets, hosts=counts.hosts, days=each)
        return points[self.window.count :], points[: self.window.count]


def observe(desk: Desk, visibility: Visibility, query: Query, window: Window) -> Observation:
    """Read what was watched in ``window`` and the one before, for sensors that the query keeps.

    Panels of one screen ask for the same; the answer is kept for a few seconds.
    """
    family = lines.family_of(query)
    query = modes.settle(desk, visibility, query)
    sensors = roster.project(query.filters)
    found = unreached.find(desk, query, window.before().start_us, window.end_us)
    # Ports matter where one is known not to reach somebody; what is told of it depends on the viewer.
    apart = () if found is None else found.services
    return desk.remember(
        ("observation", query.dataset, sensors, query.mode, query.is_guarded, family, window, apart),
        lambda: _observe(desk, visibility, query, window, found),
        seconds=keep_seconds(desk.config.freshness_cache_seconds, window),
        viewer=None if found is None else visibility,
    )


def split_days(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    observation: Observation,
    *,
    dimension: Dimension,
    keys: Sequence[Key],
) -> tuple[Observation, Mapping[Key, tuple[float, ...]]]:
    """Give covered address-days per bucket for values that have sensors of their own, and say what they leave out.

    None for values that are seen by the same sensors as all.
    """
    span = join_windows(observation.window)
    if "dst_port" in dimension.columns:
        own, told = ports.split_ports(
            desk,
            visibility,
            query,
            observation.window,
            family=observation.family,
            all_days=observation.all_days,
            dimension=dimension,
            keys=keys,
        )
        basis = replace(observation.basis, not_counted=told or observation.basis.not_counted)
        return replace(observation, basis=basis), own
    if dimension.name == "ip_version":
        by_region = unreached.read_counted(desk, visibility, query, span)
        both = Watched.together(by_region.values(), span.count)
        days = {key: tuple(watched.to_days(both.address_seconds(int(key[0])))) for key in keys}
        return observation, days
    if dimension.name not in ("region", "sensor"):
        return observation, {}
    by_key = unreached.read_counted(desk, visibility, query, span, by=dimension.name)
    nothing = Watched.nothing(span.count)
    return observation, {
        key: tuple(watched.to_days(by_key.get(key[0], nothing).address_seconds(observation.family)))
        for key in keys
    }


def _observe(
    desk: Desk, visibility: Visibility, query: Query, window: Window, found: Unreached | None
) -> Observation:
    span = join_windows(window)
    members = roster.read_roster(desk, visibility, query, window)
    everywhere = watched.read_watched(desk, visibility, query, span)
    family = _choose_family(lines.family_of(query), Watched.together(everywhere.values(), span.count))
    left = leaving.leave_out(
        desk, visibility, query, window, found=found, members=members, seen=everywhere, family=family
    )
    by_region, members = left.by_region, left.members
    seen = Watched.together(by_region.values(), span.count)
    known = members.where(members.until_us > window.start_us)
    freshness = roster.read_freshness(desk, visibility, query, members)
    expected = left.expected.where(left.expected.until_us > window.start_us)
    planned = read_planned(desk, visibility, query, window, members=expected, family=family)
    sheet = _Sheet(query, window, family=family, known=expected, seen=seen.cut(window.count), planned=planned)
    gaps_found: tuple[Gap, ...] = ()
    if not query.dataset.startswith("import:"):
        cut = {str(region): part.cut(window.count) for region, part in by_region.items()}
        until = freshness.complete_until_us
        gaps_found = gaps.find_gaps(
            expected, cut, window, family=family, pending_from_us=until, planned=planned
        )
    basis = _make_basis(
        sheet,
        members,
        known,
        freshness,
        found=gaps_found,
        strata=modes.list_strata(desk, visibility, query, window),
        rule_versions=_read_rule_versions(desk, visibility, query, window),
    )
    return Observation(
        left.finish(basis),
        window,
        family,
        desk.clock.now_us(),
        days=tuple(watched.to_days(seen.address_seconds(family))),
        all_days=left.all_days,
    )


class _Sheet:
    """Address-seconds per bucket: covered + planned + missing = expected."""

    def __init__(
        self,
        query: Query,
        window: Window,
        *,
        family: int,
        known: Roster,
        seen: Watched,
        planned: Mapping[str, Planned],
    ) -> None:
        self.query, self.window, self.family, self.seen = query, window, family, seen
        self.covered = seen.address_seconds(family)
        is_import = query.dataset.startswith("import:")
        expected = self.covered if is_import else gaps.expect(known, window, family=family)
        # A sensor's mean count of addresses is not exact per bucket: what was watched was expected.
        self.expected = np.maximum(expected, self.covered)
        self.planned = np.minimum(sum_up(planned, window.count), self.expected - self.covered)
        self.missing = self.expected - self.covered - self.planned


def _choose_family(asked: int, seen: Watched) -> int:
    """Rates are per IPv4 address unless only IPv6 was asked for or watched."""
    if asked:
        return asked
    return 6 if seen.v6_seconds.any() and not seen.v4_seconds.any() else 4


def _make_basis(
    sheet: _Sheet,
    members: Roster,
    known: Roster,
    freshness: Freshness,
    *,
    found: tuple[Gap, ...],
    strata: Sequence[Stratum],
    rule_versions: tuple[int, ...],
) -> Basis:
    query, window = sheet.query, sheet.window
    covered, expected = float(sheet.covered.sum()), float(sheet.expected.sum())
    until = freshness.complete_until_us
    return Basis(
        dataset=query.dataset,
        start_at=from_us(window.start_us),
        end_at=from_us(window.end_us),
        covered_address_days=covered / DAY,
        expected_address_days=expected / DAY,
        share=share_of(covered, expected),
        complete_until=None if until is None else from_us(until),
        late_expected=len(set(known.sensor[~known.is_reporting].tolist()) | freshness.holed),
        sensors_seen_before=int(np.count_nonzero(members.seconds_before)),
        gaps=found,
        strip=_make_strip(window, sheet.covered, sheet.expected, sheet.seen),
        family=sheet.family,
        rule_versions=rule_versions,
        mode=query.mode,
        planned_address_days=float(sheet.planned.sum()) / DAY,
        missing_address_days=float(sheet.missing.sum()) / DAY,
        **_tell_strata(query, [each for each in strata if each.ip_version == sheet.family], covered=covered),
        **_count_members(known),
    )


def _tell_strata(query: Query, strata: Sequence[Stratum], *, covered: float) -> dict[str, Any]:
    """Tell modes and prefix lengths apart, and whether a rate would mix any."""
    apart: dict[str, float] = {}
    for stratum in strata:
        apart[stratum.mode] = apart.get(stratum.mode, 0.0) + stratum.seconds / DAY
    if query.mode in apart:
        apart[query.mode] = covered / DAY
    kept = [stratum for stratum in strata if query.mode in ("all", stratum.mode)]
    return {
        "modes_apart": apart,
        "prefix_lengths": tuple(sorted({stratum.prefix_length for stratum in kept})),
        "no_rate": tell_no_rate(query, strata),
    }


def tell_no_rate(query: Query, strata: Sequence[Stratum]) -> Literal["", "modes_mixed", "prefixes_mixed"]:
    """Tell why strata of one family have no common rate; empty when they have."""
    kept = [stratum for stratum in strata if query.mode in ("all", stratum.mode)]
    if len({stratum.mode for stratum in kept}) > 1:
        return "modes_mixed"
    lengths = {stratum.prefix_length for stratum in kept if stratum.ip_version == 6}
    return "prefixes_mixed" if len(lengths) > 1 else ""


def _count_members(known: Roster) -> dict[str, Any]:
    """Give the parts of a basis that are sums over its sensors."""
    captured, drops = int(known.captured.sum()), int(known.kernel_drops.sum())
    return {
        "sensors_watching": int(known.is_reporting.sum()),
        "sensors_known": len(known),
        "sensors_in_both": int(np.count_nonzero((known.seconds != 0) & (known.seconds_before != 0))),
        "sensors_seen": int(np.count_nonzero(known.seconds)),
        "captured_packets": captured,
        "kernel_drops": drops,
        "kernel_drop_share": share_of(drops, captured + drops),
        "excluded_packets": int(known.excluded.sum()),
        "modes": tuple(sorted({mode for modes in set(known.modes.tolist()) for mode in modes.split()})),
    }


def _make_strip(
    window: Window, covered: NDArray[np.float64], expected: NDArray[np.float64], seen: Watched
) -> Strip:
    return Strip(
        step_seconds=window.step_seconds,
        starts=window.starts,
        share=tuple(map(share_of, covered.tolist(), expected.tolist())),
        covered_address_days=tuple(watched.to_days(covered)),
        sensors=tuple(seen.sensors.tolist()),
    )


_RULE_VERSIONS = """
SELECT DISTINCT rule_version /* of the whole data set */ FROM
(SELECT rule_version FROM packets WHERE dataset = {dataset} AND observed_at >= {start} AND observed_at < {end} LIMIT {most})
ORDER BY rule_version LIMIT 100
"""
_MOST_ROWS_FOR_VERSIONS = 100_000


def _read_rule_versions(desk: Desk, visibility: Visibility, query: Query, window: Window) -> tuple[int, ...]:
    """Find rule versions by a sample of the window: they change a few times a year."""
    binding = Binding()
    statement = _RULE_VERSIONS.format(
        dataset=binding.bind("String", query.dataset),
        start=binding.instant(window.start_us),
        end=binding.instant(window.end_us),
        most=binding.bind("UInt32", _MOST_ROWS_FOR_VERSIONS),
    )
    rows = desk.select(visibility, statement, binding.parameters).to_pylist()
    return tuple(int(row["rule_version"]) for row in rows)
