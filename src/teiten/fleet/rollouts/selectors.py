"""What a person may read about roll-outs; every function starts from the viewer.

None is the command line, which sees all. Operators and analysts see roll-outs whole, others how it went with their own
organisation's sensors.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from django.db.models import Count, QuerySet

from teiten.accounts.models import User
from teiten.fleet.rollouts.judging import limit_of
from teiten.fleet.rollouts.models import Rollout, RolloutTarget, TargetState
from teiten.fleet.selectors import may_see_all


def rollouts_visible_to(viewer: User | None, *, kind: str | None = None) -> QuerySet[Rollout]:
    """Give roll-outs, newest first; to a member those that reach a sensor of its organisation."""
    rollouts = Rollout.objects.select_related("started_by").order_by("-pk")
    if kind is not None:
        rollouts = rollouts.filter(kind=kind)
    if viewer is None or may_see_all(viewer):
        return rollouts
    own = RolloutTarget.objects.filter(sensor__organisation=viewer.organisation_id)
    return rollouts.filter(pk__in=own.values("rollout"))


def targets_visible_to(viewer: User | None, rollout: Rollout) -> QuerySet[RolloutTarget]:
    """Give a roll-out's targets in the order of their release."""
    targets = rollout.targets.select_related("sensor").order_by("position")
    return (
        targets
        if viewer is None or may_see_all(viewer)
        else targets.filter(sensor__organisation=viewer.organisation_id)
    )


def count_states(viewer: User | None, rollout: Rollout) -> Mapping[str, int]:
    """Count a roll-out's targets by state, every state named."""
    counted = targets_visible_to(viewer, rollout).order_by().values_list("state").annotate(Count("pk"))
    return {state.value: 0 for state in TargetState} | dict(counted)


def count_states_of(viewer: User | None, rollouts: Collection[int]) -> Mapping[int, Mapping[str, int]]:
    """Count the targets of many roll-outs by state in one statement, every state named; as :func:`count_states` does for one."""
    targets = RolloutTarget.objects.filter(rollout__in=rollouts)
    if viewer is not None and not may_see_all(viewer):
        targets = targets.filter(sensor__organisation=viewer.organisation_id)
    counted = {number: {state.value: 0 for state in TargetState} for number in rollouts}
    for rollout, state, number in targets.order_by().values_list("rollout", "state").annotate(Count("pk")):
        counted[rollout][state] = number
    return counted


def count_rings(viewer: User | None, rollout: Rollout) -> list[tuple[int, Mapping[str, int]]]:
    """Count targets by state for each stage: (percent, counts of what that stage added)."""
    rows = targets_visible_to(viewer, rollout).values_list("position", "state")
    rings: list[tuple[int, dict[str, int]]] = [(percent, {}) for percent in rollout.stages]
    limits = [limit_of(rollout.total, percent) for percent in rollout.stages]
    for position, state in rows:
        ring = next(number for number, limit in enumerate(limits) if position < limit)
        rings[ring][1][state] = rings[ring][1].get(state, 0) + 1
    return [(percent, counts) for percent, counts in rings]


def released_to(kind: str, subject: str) -> set[int]:
    """Give the sensors to which something has been released by now."""
    targets = RolloutTarget.objects.filter(rollout__kind=kind, rollout__subject=subject)
    held = (TargetState.WAITING, TargetState.CANCELLED)
    return set(targets.exclude(state__in=held).exclude(released_at=None).values_list("sensor", flat=True))
