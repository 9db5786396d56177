"""What an observation leaves out because the ports that are asked about do not reach some sensors."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from teiten.search import lines, unreached, watched
from teiten.search.basis import Basis, NotCounted
from teiten.search.desk import Desk
from teiten.search.members import Roster
from teiten.search.periods import Window
from teiten.search.query import Query
from teiten.search.statements import join_windows
from teiten.search.unreached import Unreached
from teiten.search.visibility import Visibility
from teiten.search.watched import Watched


@dataclass(frozen=True)
class Left:
    """What is left to answer with."""

    by_region: Mapping[Hashable, Watched]
    #: Whose time counts; a sensor that is left out for the whole period is not expected in it.
    members: Roster
    #: From when to when they were expected to observe the ports; a sensor may have several rows.
    expected: Roster
    #: Covered address-days per bucket with nothing left out.
    all_days: tuple[float, ...]
    not_counted: tuple[NotCounted, ...] = ()
    #: Shares of all sensors that count in the period before and in this one, where it is only told so.
    kept: tuple[float, float] = (1.0, 1.0)

    def finish(self, basis: Basis) -> Basis:
        """Say in a basis what it leaves out."""
        before, now = self.kept
        counts = {name: round(getattr(basis, name) * now) for name in _SENSORS}
        strip = replace(basis.strip, sensors=tuple(round(count * now) for count in basis.strip.sensors))
        return replace(
            basis,
            **counts,
            sensors_in_both=round(basis.sensors_in_both * min(before, now)),
            sensors_seen_before=round(basis.sensors_seen_before * before),
            strip=strip,
            not_counted=self.not_counted,
        )


#: Figures of a basis that count sensors of the period.
_SENSORS = ("sensors_watching", "sensors_known", "sensors_seen")


def leave_out(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    window: Window,
    *,
    found: Unreached | None,
    members: Roster,
    seen: Mapping[Hashable, Watched],
    family: int,
) -> Left:
    """Leave out the time in which sensors could not have received what is asked about.

    Args:
        desk: what asks the store.
        visibility: of the viewer.
        query: what is asked.
        window: the period; the one before it belongs to it.
        found: what is known of the ports; None: nothing is left out.
        members: the sensors that were expected in both.
        seen: what was watched in both, by region.
        family: of which address-days are told.
    """
    span = join_windows(window)
    whole = Watched.together(seen.values(), span.count).address_seconds(family)
    all_days = tuple(watched.to_days(whole))
    if found is None:
        return Left(seen, members, members, all_days)
    if visibility.is_guarded:
        return _thin(desk, visibility, query, window, found=found, members=members, seen=seen, days=all_days)
    counted = unreached.take_out(desk, visibility, query, span, seen=seen, found=found)
    asked = lines.family_of(query)
    left = Watched.together(counted.values(), span.count).address_seconds(family)
    taken, watched_now = (float(each[window.count :].sum()) for each in (whole - left, whole))
    told = unreached.tell(found, members, window, family=asked, taken=taken, whole=watched_now)
    return Left(
        counted,
        _silence(found, members, window, family=asked),
        found.cut(members, family=family),
        all_days,
        (told,) if told.sensors else (),
    )


def _silence(found: Unreached, members: Roster, window: Window, *, family: int) -> Roster:
    """Let sensors that nothing could reach in a whole period have watched nothing in it, and not be expected."""
    gone, gone_before = (
        found.share_of_members(members, each, family=family) >= 1.0 for each in (window, window.before())
    )
    return replace(
        members,
        seconds=np.where(gone, 0.0, members.seconds),
        seconds_before=np.where(gone_before, 0.0, members.seconds_before),
        until_us=np.where(gone, np.minimum(members.until_us, window.start_us), members.until_us),
    )


def _thin(
    desk: Desk,
    visibility: Visibility,
    query: Query,
    window: Window,
    *,
    found: Unreached,
    members: Roster,
    seen: Mapping[Hashable, Watched],
    days: tuple[float, ...],
) -> Left:
    """Take the share of the whole data set out of everything, whatever is asked about."""
    before, now = (
        unreached.coarse_share(desk, visibility, query, found, each) for each in (window.before(), window)
    )
    kept = 1.0 - now
    expected = replace(
        members, addresses_v4=members.addresses_v4 * kept, addresses_v6=members.addresses_v6 * kept
    )
    shares = np.repeat([before, now], window.count)
    told = (NotCounted(found.names, None, now),) if now else ()
    return Left(unreached.thin(seen, shares), members, expected, days, told, (1.0 - before, kept))
