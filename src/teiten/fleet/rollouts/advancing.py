"""Bring every roll-out one tick further: look, decide, do, in one transaction each.

A crash between two statements undoes both; two workers at once find the row locked
and leave it; doing it twice decides the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from teiten.fleet.checking import MAX_REASON_CHARACTERS
from teiten.fleet.config import FleetConfig
from teiten.fleet.rollouts import counting, judging, metrics, objecting, services, statements
from teiten.fleet.rollouts.counting import read_standing
from teiten.fleet.rollouts.judging import Rules, Step
from teiten.fleet.rollouts.models import UNDER_WAY, Rollout, RolloutKind, RolloutState
from teiten.fleet.services import Act


def advance_all(now: datetime, config: FleetConfig) -> Mapping[str, int]:
    """Bring what is under way further; gives how many sensors were released and how many roll-outs were halted."""
    released = halted = 0
    for number in Rollout.objects.filter(state__in=UNDER_WAY).order_by("pk").values_list("pk", flat=True):
        done = advance(number, now=now, config=config)
        released += done.count
        halted += done.action == "halt"
    return {"released": released, "halted": halted}


def advance(number: int, *, now: datetime, config: FleetConfig) -> Step:
    """Bring one roll-out further; gives the last step, with the sensors released in all."""
    with transaction.atomic():
        rollout = Rollout.objects.select_for_update(skip_locked=True, no_key=True).filter(pk=number).first()
        if rollout is None or rollout.state not in UNDER_WAY:
            return Step("wait")
        _tidy(rollout, now, config)
        objection = _find_objection(rollout, now)
        if objection is not None:
            services.halt(rollout, reason=objection[:MAX_REASON_CHARACTERS], act=Act(now))
            return Step("halt", reason=objection)
        if rollout.state != RolloutState.RUNNING or (rollout.not_before or now) > now:
            return Step("wait")
        return _go_on(rollout, now, config)


def _go_on(rollout: Rollout, now: datetime, config: FleetConfig) -> Step:
    rules = _rules_of(rollout, config)
    released, entered = 0, []
    while True:
        step = judging.decide(rules, read_standing(rollout, now=now, config=config))
        if step.action == "release":
            released += _release(rollout, step.count, now, config)
        elif step.action == "advance":
            rollout.stage, rollout.changed_at = step.stage, now
            rollout.save(update_fields=["stage", "changed_at"])
            entered.append(step.stage)
        else:
            break
    if step.action == "halt":
        services.halt(rollout, reason=step.reason, act=Act(now))
    # Records last: who holds the end of the chain must wait for nobody.
    for stage in entered:
        services.record("advanced", rollout, Act(now), stage=stage, percent=rollout.stages[stage])
    if step.action == "finish":
        finish(rollout, now)
    return Step(step.action, count=released, reason=step.reason)


def _find_objection(rollout: Rollout, now: datetime) -> str | None:
    """Ask who knows what is rolled out, as long as somebody could still be given it."""
    is_over = rollout.not_after is not None and rollout.not_after <= now
    if is_over or rollout.state not in (RolloutState.RUNNING, RolloutState.PAUSED):
        return None
    return objecting.find_objection(rollout, now)


def finish(rollout: Rollout, now: datetime, reason: str = "") -> None:
    """Write down that everybody has answered, or cannot any more."""
    rollout.state, rollout.reason, rollout.changed_at = RolloutState.DONE, reason, now
    rollout.save(update_fields=["state", "reason", "changed_at"])
    services.record("done", rollout, Act(now), reason=reason)


def _tidy(rollout: Rollout, now: datetime, config: FleetConfig) -> None:
    """Settle what heartbeats and the clock say."""
    if rollout.kind == RolloutKind.UPDATE:
        patience = timedelta(seconds=config.update_blocked_seconds)
        settled = _fetch(
            statements.SETTLE_UPDATES, rollout=rollout.pk, now=now, blocked_before=now - patience
        )
        for (state,) in settled:
            metrics.OUTCOMES.labels(rollout.kind, state).inc()
    _count(statements.CANCEL_REVOKED, rollout=rollout.pk, now=now)
    if rollout.not_after is None or now < rollout.not_after:
        return
    grace = timedelta(seconds=config.result_grace_seconds)
    expired = _count(statements.EXPIRE, rollout=rollout.pk, now=now, fetched_before=now - grace)
    metrics.OUTCOMES.labels(rollout.kind, "expired").inc(expired)
    if rollout.state != RolloutState.HALTED and read_standing(rollout, now=now, config=config).open == 0:
        finish(rollout, now, "its time is over")


def _release(rollout: Rollout, count: int, now: datetime, config: FleetConfig) -> int:
    released = _count(
        statements.RELEASE,
        rollout=rollout.pk,
        count=count,
        now=now,
        silent_before=counting.silent_before(now, config),
    )
    metrics.RELEASED.labels(rollout.kind).inc(released)
    return released


def _rules_of(rollout: Rollout, config: FleetConfig) -> Rules:
    return Rules(
        stages=tuple(rollout.stages),
        per_minute=rollout.per_minute,
        soak_seconds=rollout.soak_seconds,
        bad_share=config.rollout_bad_share,
    )


def _fetch(statement: str, **values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())


def _count(statement: str, **values: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return int(cursor.rowcount)
