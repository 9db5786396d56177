"""Bring published releases to sensors, step by step, through the fleet's one roll-out mechanism."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.db import transaction

from teiten.fleet.commands.targeting import count_candidates, resolve_selector
from teiten.fleet.releases import memory, metrics
from teiten.fleet.releases.errors import ReleaseError
from teiten.fleet.releases.fitting import Fit, find_fit
from teiten.fleet.releases.folder import write_file
from teiten.fleet.releases.repository import Published, ReleaseRepository
from teiten.fleet.rollouts import services as rollouts
from teiten.fleet.rollouts.models import (
    UNDER_WAY,
    Rollout,
    RolloutKind,
    RolloutState,
    RolloutTarget,
    TargetState,
)
from teiten.fleet.services import Act

#: A release's probation (10 minutes) and a heartbeat: sooner nothing can be known of a stage.
SOAK_SECONDS = 900
#: At most so many sensors begin to fetch a bundle each minute: 20 MB each, 20 MB/s in all.
PER_MINUTE = 60
EVERYBODY = "all"
#: File of the repository that names the release which everybody shall run.
PROMOTED = "promoted.json"
#: Who was heard so lately is there.
RECENT = timedelta(minutes=10)
#: What to do about a role that has expired.
WAYS_OUT = {
    "root": "`teiten release rotate` drafts it anew; two people sign, then `teiten release publish`",
    "targets": "`teiten release build` drafts them anew; two people sign, then `teiten release publish`",
    "snapshot": "`teiten release renew` signs it; the worker does so by itself where it runs",
    "timestamp": "`teiten release renew` signs it; the worker does so by itself where it runs",
}
#: A roll-out is over then, also where some sensors were off or no bundle fitted them.
OFFERED = timedelta(days=14)


@dataclass(frozen=True)
class Plan:
    """Whom a promotion would reach."""

    release: int
    #: Sensors that the selector means.
    meant: int
    #: Whether these are all that there are.
    is_everybody: bool
    fit: Fit


@dataclass(frozen=True)
class Promotion:
    """A roll-out that was started, and who is left out."""

    rollout: Rollout
    plan: Plan

    @property
    def sensors(self) -> int:
        return len(self.plan.fit.sensors)

    @property
    def left_out(self) -> int:
        return self.plan.meant - self.sensors


def publish(folder: Path, *, act: Act) -> Published:
    """Make signed drafts public, and write it down; without the database nothing is published.

    Raises:
        ReleaseError: when signatures are missing, or sensors would take nothing of it.
    """
    repository = ReleaseRepository(folder)
    repository.check_made()
    with transaction.atomic():
        seen = memory.find_seen()
        memory.check_publishable(repository, seen)
        published = repository.publish(now=act.at, seen=seen.published if seen else None)
        memory.record_publication(published, act)
    metrics.PUBLISHED.inc()
    return published


def halt_unpublished(folder: Path, *, act: Act) -> list[Rollout]:
    """Halt the roll-outs of releases that are on offer no more; gives them."""
    repository = ReleaseRepository(folder)
    if repository.read_versions() is None:
        return []
    offered = repository.list_releases()
    going = (RolloutState.RUNNING, RolloutState.PAUSED)
    under_way = Rollout.objects.filter(kind=RolloutKind.UPDATE, state__in=going).order_by("pk")
    reason = "its release is on offer no more; promote another, or stop it"
    return [
        rollouts.halt(one, reason=reason, act=act) for one in under_way if int(one.subject) not in offered
    ]


def plan_promotion(release: int, *, folder: Path, selector: str, now: datetime) -> Plan:
    """Say whom a promotion would reach; changes nothing.

    Raises:
        ReleaseError: when it is not published, sensors would take nothing now, or nobody could take it.
        SelectorError: when the selector is not understood.
    """
    repository = ReleaseRepository(folder)
    published = repository.list_releases()
    if release not in published:
        known = ", ".join(map(str, published)) or "none"
        raise ReleaseError(f"release {release} is not published (published: {known})")
    _check_takeable(repository, now)
    meant = resolve_selector(selector).sensors
    everybody = len(meant) == count_candidates()
    plan = Plan(release, len(meant), everybody, find_fit(repository, release, meant))
    if not plan.fit.sensors:
        why = "; ".join(f"{count} {reason}" for reason, count in plan.fit.left_out.items())
        raise ReleaseError(
            f"none of {len(meant)} sensors could take release {release}: {why or 'the selector means nobody'}"
        )
    return plan


def promote(
    release: int,
    *,
    folder: Path,
    selector: str,
    stages: Sequence[int],
    per_minute: int,
    soak_seconds: int,
    act: Act,
) -> Promotion:
    """Let sensors take a published release, a few first.

    Raises:
        ReleaseError: when it is not published, nobody could take it, or a newer one is under way.
        SelectorError: when the selector is not understood.
        RolloutError: when stages or rate break a rule.
    """
    plan = plan_promotion(release, folder=folder, selector=selector, now=act.at)
    _refuse_older(release, plan.fit.sensors)
    rollout = rollouts.start_rollout(
        kind=RolloutKind.UPDATE,
        subject=str(release),
        sensors=plan.fit.sensors,
        stages=stages,
        per_minute=per_minute,
        soak_seconds=soak_seconds,
        not_after=act.at + OFFERED,
        act=act,
    )
    if selector.strip() == EVERYBODY:
        write_file(folder / PROMOTED, json.dumps({"release": release}).encode())
    return Promotion(rollout, plan)


def follow(folder: Path, *, act: Act) -> int:
    """Bring what was rolled out to everybody to sensors that came, or came back, since; gives how many those are."""
    release = _read_promoted(folder)
    done = Rollout.objects.filter(kind=RolloutKind.UPDATE, subject=str(release), state=RolloutState.DONE)
    under_way = Rollout.objects.filter(kind=RolloutKind.UPDATE, state__in=UNDER_WAY)
    if not release or not done.exists() or under_way.exists():
        return 0
    # Who gave it up will not take it again; who was kept from it by a full disk or a wrong clock may by now.
    tried = RolloutTarget.objects.filter(rollout__in=done, state=TargetState.FAILED).exclude(
        detail__startswith="blocked:"
    )
    since = act.at - RECENT
    repository = ReleaseRepository(folder)
    if release not in repository.list_releases():
        return 0
    everybody = resolve_selector(EVERYBODY).sensors
    late = find_fit(repository, release, everybody, heard_since=since, is_blocked_fit=False).sensors
    fit = sorted(set(late) - set(tried.values_list("sensor", flat=True)))
    if not fit:
        return 0
    rollouts.start_rollout(
        kind=RolloutKind.UPDATE,
        subject=str(release),
        sensors=fit,
        stages=(100,),
        per_minute=PER_MINUTE,
        not_after=act.at + OFFERED,
        act=act,
    )
    return len(fit)


def find_under_way(release: int) -> Rollout:
    """Give the roll-out of a release that is not over.

    Raises:
        ReleaseError: when there is none.
    """
    found = Rollout.objects.filter(kind=RolloutKind.UPDATE, subject=str(release), state__in=UNDER_WAY).first()
    if found is None:
        raise ReleaseError(
            f"release {release} is not being rolled out; `teiten release status` shows what is"
        )
    return found


def look_after(folder: Path, *, now: datetime) -> dict[str, object]:
    """Sign anew what the base signs itself, let late sensors follow; for the periodic job.

    Raises:
        ReleaseError: when the folder is older than what was public; nothing is signed then.
    """
    repository, act = ReleaseRepository(folder), Act(now)
    renewed = renew(folder, act=act)
    expires = repository.list_expiries()
    for role, at in expires.items():
        metrics.EXPIRES.labels(role).set(at.timestamp())
    halt_unpublished(folder, act=act)
    return {
        "renewed": list(renewed),
        "expires": {role: at.isoformat() for role, at in expires.items()},
        "followed": follow(folder, act=act),
    }


def renew(folder: Path, *, act: Act) -> tuple[str, ...]:
    """Sign snapshot and timestamp anew when half of their life is over; gives which were.

    Raises:
        ReleaseError: when the folder is older than what was public.
    """
    repository = ReleaseRepository(folder)
    if repository.read_versions() is None:
        return ()
    with transaction.atomic():
        loss = memory.find_loss(repository, memory.find_seen())
        if loss is not None:
            raise ReleaseError(loss)
        renewed = repository.renew(now=act.at)
        present = repository.read_versions()
        if renewed and present is not None:
            memory.record_renewal(present, act)
    return renewed


def _check_takeable(repository: ReleaseRepository, now: datetime) -> None:
    """Refuse to promote what no launcher would take: an older repository, or one that was not signed in time."""
    loss = memory.find_loss(repository, memory.find_seen())
    if loss is not None:
        raise ReleaseError(loss)
    over = {role: at for role, at in repository.list_expiries().items() if at <= now}
    if over:
        told = ", ".join(f"{role} on {at:%Y-%m-%d %H:%M} UTC" for role, at in over.items())
        ways_out = "; ".join(dict.fromkeys(WAYS_OUT[role] for role in over))
        raise ReleaseError(f"sensors take no update, because the repository has expired ({told}): {ways_out}")


def _refuse_older(release: int, sensors: Sequence[int]) -> None:
    """Refuse to bring sensors an older release while a newer one is on its way to them."""
    newer = RolloutTarget.objects.filter(
        rollout__kind=RolloutKind.UPDATE,
        rollout__state__in=UNDER_WAY,
        release__gt=release,
        sensor__in=sensors,
    ).exclude(state=TargetState.CANCELLED)
    first = newer.select_related("rollout").order_by("rollout").first()
    if first is not None:
        other = first.rollout
        raise ReleaseError(
            f"release {other.subject} is being rolled out (roll-out {other.pk}, {other.state}) to {newer.count()} of these "
            f"sensors, and sensors never go back: stop it first (`teiten release stop {other.subject} --reason …`); old code "
            "comes back under a higher number"
        )


def _read_promoted(folder: Path) -> int:
    try:
        told = json.loads((folder / PROMOTED).read_bytes())["release"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0
    return told if isinstance(told, int) else 0
