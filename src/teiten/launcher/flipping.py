"""Change the release in use, and finish what a power cut has left half-done.

Every change is a row of single durable steps; ``at`` names the instants between them,
where tests kill the process. :func:`settle` runs before every other work and leads each
of those instants to one of two ends: the new release on probation, or the old one.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from teiten.launcher.machine import Machine
from teiten.launcher.places import Places
from teiten.launcher.releases import Pending, ReleaseShelf
from teiten.launcher.reporting import write_report
from teiten.launcher.restarting import Restarter

_log = logging.getLogger(__name__)


def _nothing(point: str) -> None:
    """Stand where tests kill the process."""


@dataclass
class Bench:
    """What the launcher works with."""

    places: Places
    machine: Machine
    restarter: Restarter
    at: Callable[[str], None] = _nothing
    shelf: ReleaseShelf = field(init=False)

    def __post_init__(self) -> None:
        self.shelf = ReleaseShelf(self.places, self.machine)


def flip(bench: Bench, release: int, *, probation_seconds: int) -> None:
    """Put a complete release on probation and start it."""
    shelf = bench.shelf
    shelf.forget_starts(release)
    shelf.begin_probation(release, previous=shelf.current, seconds=probation_seconds)
    bench.at("flip.pending")
    shelf.owe_restart(release)
    bench.at("flip.owed")
    shelf.turn_to(release)
    bench.at("flip.turned")
    write_report(shelf, blocked="")
    restart_all(bench)


def commit(bench: Bench, pending: Pending) -> None:
    """Keep the release on probation, and the one before it."""
    shelf = bench.shelf
    shelf.commit(pending.release)
    bench.at("commit.committed")
    shelf.end_probation()
    bench.at("commit.ended")
    shelf.prune({pending.release, pending.previous})
    shelf.forget_starts(pending.release)
    bench.at("commit.pruned")
    write_report(shelf)
    _log.info("A release has proven itself", extra={"release": pending.release})


def roll_back(bench: Bench, pending: Pending, why: str, *, is_doubtful: bool) -> None:
    """Go back to the release before; the given-up one is marked first, so that no cut forgets it."""
    shelf = bench.shelf
    _log.error("A release is rolled back", extra={"release": pending.release, "reason": why})
    with _as_far_as_disk_lets():
        shelf.mark_bad(pending.release, why, is_doubtful=is_doubtful)
    bench.at("back.marked")
    turn_back(bench, pending)


def turn_back(bench: Bench, pending: Pending) -> None:
    """Use the release before the one on probation."""
    shelf = bench.shelf
    target = find_fallback(shelf, pending)
    if target:
        with _as_far_as_disk_lets():
            shelf.owe_restart(target)
        bench.at("back.owed")
        _turn_in_any_case(shelf, target)
        bench.at("back.turned")
    shelf.end_probation()
    bench.at("back.ended")
    write_report(shelf)
    if target:
        restart_all(bench)
    shelf.prune({target, pending.release, shelf.committed})
    bench.at("back.pruned")


@contextlib.contextmanager
def _as_far_as_disk_lets() -> Iterator[None]:
    """Go on without a note that a full or broken disk does not take: going back comes first."""
    try:
        yield
    except OSError as error:
        _log.error("The disk does not take a note", extra={"error": str(error)})


def _turn_in_any_case(shelf: ReleaseShelf, target: int) -> None:
    """Turn the link, making room for it first where there is none."""
    try:
        shelf.turn_to(target)
    except OSError:
        shelf.prune({target})
        shelf.turn_to(target)


def restart_all(bench: Bench) -> None:
    """Start the units anew; the debt is paid only afterwards."""
    bench.at("restart.before")
    bench.restarter.restart(capture=True)
    bench.at("restart.done")
    bench.shelf.pay_restart()
    bench.at("restart.paid")


def settle(bench: Bench) -> None:
    """Bring everything to a consistent state, whatever the last run was doing when it ended."""
    shelf = bench.shelf
    with _as_far_as_disk_lets():
        shelf.remove_parts()
    _mend_link(shelf)
    pending = shelf.read_pending()
    if pending is not None:
        pending = _settle_probation(bench, pending)
    elif shelf.current not in (0, shelf.committed):
        _adopt(bench)
    if shelf.owes_restart():
        restart_all(bench)
    else:
        shelf.pay_restart()


def _settle_probation(bench: Bench, pending: Pending) -> Pending | None:
    shelf = bench.shelf
    if pending.release == shelf.committed and pending.release == shelf.current:
        commit(bench, pending)  # cut between the commit and its end
        return None
    bad = shelf.list_bad().get(pending.release)
    if pending.release == shelf.current and bad is not None and not shelf.may_try(pending.release):
        turn_back(bench, pending)  # cut after the mark
        return None
    if pending.release != shelf.current:
        shelf.end_probation()  # cut before the link was turned, or after it was turned back
        return None
    return pending


def _adopt(bench: Bench) -> None:
    """Put a release on probation that is in use and whose mark was lost."""
    shelf = bench.shelf
    if not shelf.committed:
        shelf.commit(shelf.current)  # the first one: there is nothing to go back to
        return
    shelf.begin_probation(shelf.current, previous=shelf.committed, seconds=600)


def _mend_link(shelf: ReleaseShelf) -> None:
    """Let ``current`` point at something that can be started, if anything can."""
    if shelf.current:
        return
    wanted = find_fallback(shelf, shelf.read_pending())
    if wanted:
        _log.error("`current` led nowhere; it is mended", extra={"release": wanted})
        shelf.owe_restart(wanted)
        shelf.turn_to(wanted)


def find_fallback(shelf: ReleaseShelf, pending: Pending | None) -> int:
    """Give the release to go back to; 0 when there is no other."""
    given_up = pending.release if pending is not None else 0
    first = (pending.previous if pending is not None else 0, shelf.committed, shelf.previous)
    others = (one.release for one in shelf.list_complete())
    bad = shelf.list_bad()
    for release in (*first, *others):
        if release and release != given_up and release not in bad and shelf.has(release):
            return release
    return 0
