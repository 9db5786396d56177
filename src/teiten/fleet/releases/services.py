"""Bring published releases to sensors, step by step, through the fleet's one roll-out mechanism."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from teiten.accounts import audit
from teiten.fleet.commands.targeting import resolve_selector
from teiten.fleet.models import SensorHealth
from teiten.fleet.releases import metrics
from teiten.fleet.releases.errors import ReleaseError
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
#: A roll-out is over then, also where some sensors were off or no bundle fitted them.
OFFERED = timedelta(days=14)


@dataclass(frozen=True)
class Promotion:
    """A roll-out that was started, and who is left out."""

    rollout: Rollout
    sensors: int
    #: Sensors that no launcher runs, or that run this release or a later one.
    left_out: int


def record_publication(published: Published, act: Act) -> None:
    """Write into the audit chain what has become public."""
    facts = {
        "root": published.root,
        "targets": published.targets,
        "snapshot": published.snapshot,
        "timestamp": published.timestamp,
        "releases": list(published.releases),
    }
    audit.append("release.published", f"targets:{published.targets}", facts, act)
    metrics.PUBLISHED.inc()


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
        ReleaseError: when it is not published, or nobody could take it.
        CommandError: when the selector is not understood.
        RolloutError: when stages or rate break a rule.
    """
    published = ReleaseRepository(folder).list_releases()
    if release not in published:
        known = ", ".join(map(str, published)) or "none"
        raise ReleaseError(f"release {release} is not published (published: {known})")
    meant = resolve_selector(selector).sensors
    fit = _list_fit(release, meant)
    if not fit:
        raise ReleaseError(
            f"none of {len(meant)} sensors could take release {release}: no launcher, or it runs already"
        )
    rollout = rollouts.start_rollout(
        kind=RolloutKind.UPDATE,
        subject=str(release),
        sensors=fit,
        stages=stages,
        per_minute=per_minute,
        soak_seconds=soak_seconds,
        not_after=act.at + OFFERED,
        act=act,
    )
    if selector.strip() == EVERYBODY:
        write_file(folder / PROMOTED, json.dumps({"release": release}).encode())
    return Promotion(rollout, len(fit), len(meant) - len(fit))


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
    late = _list_fit(release, resolve_selector(EVERYBODY).sensors, heard_since=since)
    fit = sorted(set(late) - set(tried.values_list("sensor", flat=True)))
    if not fit or release not in ReleaseRepository(folder).list_releases():
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
    """Sign anew what the base signs itself, let late sensors follow; for the periodic job."""
    repository = ReleaseRepository(folder)
    renewed = repository.renew(now=now)
    expires = repository.list_expiries()
    for role, at in expires.items():
        metrics.EXPIRES.labels(role).set(at.timestamp())
    return {
        "renewed": list(renewed),
        "expires": {role: at.isoformat() for role, at in expires.items()},
        "followed": follow(folder, act=Act(now)),
    }


def _list_fit(release: int, meant: Sequence[int], *, heard_since: datetime | None = None) -> list[int]:
    told = SensorHealth.objects.filter(sensor__in=meant, report__update__release__lt=release)
    if heard_since is not None:
        told = told.filter(heartbeat_at__gte=heard_since)
    return sorted(told.values_list("sensor", flat=True))


def _read_promoted(folder: Path) -> int:
    try:
        told = json.loads((folder / PROMOTED).read_bytes())["release"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0
    return told if isinstance(told, int) else 0
