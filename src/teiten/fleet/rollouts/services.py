"""Start, pause, resume and stop roll-outs, and take in what sensors answer."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypeAlias

from django.conf import settings
from django.db import IntegrityError, connection, transaction

from teiten.accounts import audit
from teiten.fleet.checking import checked_reason
from teiten.fleet.errors import FleetInputError
from teiten.fleet.models import Sensor
from teiten.fleet.rollouts import counting, judging, metrics, objecting, statements
from teiten.fleet.rollouts.errors import RolloutError
from teiten.fleet.rollouts.models import UNDER_WAY, Rollout, RolloutKind, RolloutState
from teiten.fleet.services import Act

_log = logging.getLogger(__name__)

Outcome: TypeAlias = Literal["ok", "failed", "refused", "expired"]
MAX_DETAIL_CHARACTERS = 200


def start_rollout(
    *,
    kind: str,
    subject: str,
    sensors: Sequence[int],
    stages: Sequence[int] = judging.DEFAULT_STAGES,
    per_minute: int,
    act: Act,
    soak_seconds: int = 0,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
) -> Rollout:
    """Enter a roll-out; the next :func:`~teiten.fleet.rollouts.advancing.advance_all` releases its first sensors.

    ``subject`` is a command's id or a release's number. An update takes the place of
    updates to older releases that are under way.

    Raises:
        RolloutError: when a rule is broken, a sensor is unknown, or the same is under way already; nothing was made.
    """
    rules = judging.Rules(tuple(stages), per_minute, soak_seconds)
    numbers = _check(kind, subject, sensors=sensors, rules=rules)
    _check_time(rules, len(numbers), since=max(act.at, not_before or act.at), until=not_after)
    rollout = Rollout(
        kind=kind,
        subject=subject,
        stages=list(stages),
        per_minute=per_minute,
        soak_seconds=soak_seconds,
        total=len(numbers),
        not_before=not_before,
        not_after=not_after,
        started_at=act.at,
        started_by=act.actor,
        changed_at=act.at,
    )
    try:
        with transaction.atomic():
            _enter(rollout, numbers, act)
    except IntegrityError as error:
        raise RolloutError(_tell_under_way(kind, subject)) from error
    return rollout


def pause(rollout: Rollout, *, reason: str, act: Act) -> Rollout:
    """Release nobody more until it is resumed; who was released stays so.

    Raises:
        RolloutError: when it is not running, or without a reason.
    """
    with transaction.atomic():
        paused = _set_state(rollout, RolloutState.PAUSED, {RolloutState.RUNNING}, reason=reason, act=act)
        record("paused", paused, act, reason=paused.reason, stage=paused.stage)
    return paused


def resume(rollout: Rollout, *, reason: str, act: Act) -> Rollout:
    """Go on after a pause or a halt, from where it stood; what went wrong so far is accepted.

    Raises:
        RolloutError: when it is neither paused nor halted, without a reason, or while what halted it still holds.
    """
    allowed = {RolloutState.PAUSED, RolloutState.HALTED}
    objection = objecting.find_objection(rollout, act.at)
    if objection is not None:
        raise RolloutError(f"roll-out {rollout.pk} cannot go on: {objection}")
    with transaction.atomic():
        resumed = _set_state(rollout, RolloutState.RUNNING, allowed, reason=reason, act=act)
        _forgive(resumed, act)
        record("resumed", resumed, act, reason=resumed.reason, stage=resumed.stage)
    return resumed


def halt(rollout: Rollout, *, reason: str, act: Act) -> Rollout:
    """Release nobody more, and take back what no sensor has fetched yet.

    Raises:
        RolloutError: when it is over, or without a reason.
    """
    allowed = {RolloutState.RUNNING, RolloutState.PAUSED}
    with transaction.atomic():
        halted = _set_state(rollout, RolloutState.HALTED, allowed, reason=reason, act=act)
        _execute(statements.WITHDRAW, rollout=halted.pk)
        record("halted", halted, act, reason=halted.reason, stage=halted.stage)
    _log.warning(
        "a roll-out was halted",
        extra={"kind": rollout.kind, "subject": rollout.subject, "reason": reason},
    )
    return halted


def stop(rollout: Rollout, *, reason: str, act: Act) -> int:
    """End it for good: who has not fetched it never will; gives how many those are.

    Raises:
        RolloutError: when it is over, or without a reason.
    """
    with transaction.atomic():
        stopped = _set_state(rollout, RolloutState.STOPPED, set(UNDER_WAY), reason=reason, act=act)
        kept = _execute(statements.CANCEL, rollout=stopped.pk, now=act.at)
        record("stopped", stopped, act, reason=stopped.reason, stage=stopped.stage, cancelled=kept)
    return kept


def report(rollout: Rollout, sensor: int, outcome: Outcome, detail: str = "", *, at: datetime) -> bool:
    """Take in one sensor's outcome; False when it had one already."""
    return bool(report_many(rollout, {sensor: (outcome, detail)}, at=at))


def report_many(
    rollout: Rollout, outcomes: Mapping[int, tuple[Outcome, str]], *, at: datetime
) -> Collection[int]:
    """Take in outcomes by sensor; gives the sensors for which they were the first."""
    with connection.cursor() as cursor:
        cursor.execute(
            statements.REPORT,
            {
                "rollout": rollout.pk,
                "sensors": list(outcomes),
                "states": [outcome for outcome, _ in outcomes.values()],
                "details": [detail[:MAX_DETAIL_CHARACTERS] for _, detail in outcomes.values()],
                "now": at,
            },
        )
        first = {sensor for (sensor,) in cursor.fetchall()}
    for sensor in first:
        metrics.OUTCOMES.labels(rollout.kind, outcomes[sensor][0]).inc()
    return first


def find_rollout(number: int) -> Rollout:
    """Give a roll-out by its number.

    Raises:
        RolloutError: when there is none.
    """
    found = Rollout.objects.filter(pk=number).first()
    if found is None:
        raise RolloutError(f"there is no roll-out {number}; `teiten rollout list` names them")
    return found


def record(what: str, rollout: Rollout, act: Act, **facts: Any) -> None:
    """Write what became of a roll-out into the audit chain."""
    metrics.CHANGES.labels(rollout.kind, what).inc()
    told = {"kind": rollout.kind, "subject": rollout.subject, **facts}
    audit.append(f"rollout.{what}", f"rollout:{rollout.pk}", told, act)


def _enter(rollout: Rollout, sensors: Sequence[int], act: Act) -> None:
    """Write a roll-out with its targets in the order of their release."""
    is_update = rollout.kind == RolloutKind.UPDATE
    silent = counting.find_silent(sensors, now=act.at, config=settings.TEITEN_FLEET)
    rollout.save(force_insert=True)
    _execute(
        statements.ENTER,
        rollout=rollout.pk,
        kind=rollout.kind,
        release=int(rollout.subject) if is_update else None,
        sensors=judging.order_sensors(f"{rollout.kind}/{rollout.subject}", sensors, silent=silent),
    )
    superseded = _supersede(rollout, act) if is_update else []
    for older in superseded:
        record("stopped", older, act, reason=older.reason, stage=older.stage)
    facts = {"sensors": rollout.total, "stages": rollout.stages, "per_minute": rollout.per_minute}
    record("started", rollout, act, **facts)


def _set_state(
    rollout: Rollout, to: RolloutState, allowed: Collection[RolloutState], *, reason: str, act: Act
) -> Rollout:
    """Change a state in the caller's transaction; the audit record is the caller's last act (it locks the chain)."""
    try:
        told = checked_reason(reason)
    except FleetInputError as error:
        raise RolloutError(str(error)) from error
    locked = Rollout.objects.select_for_update(no_key=True).get(pk=rollout.pk)
    if RolloutState(locked.state) not in allowed:
        raise RolloutError(
            f"roll-out {locked.pk} ({locked.kind} {locked.subject}) is {locked.state}; "
            f"it cannot become {to.value}"
        )
    locked.state, locked.reason, locked.changed_at = to, told, act.at
    locked.save(update_fields=["state", "reason", "changed_at"])
    return locked


def _forgive(rollout: Rollout, act: Act) -> None:
    """Let what a person has seen count against the roll-out no more; only what comes anew does."""
    standing = counting.read_standing(rollout, now=act.at, config=settings.TEITEN_FLEET)
    rollout.forgiven_failures += standing.bad
    rollout.forgiven_silent += standing.fell_silent
    rollout.save(update_fields=["forgiven_failures", "forgiven_silent"])


def _supersede(newer: Rollout, act: Act) -> list[Rollout]:
    """Stop the updates to older releases that are under way; gives them."""
    reason = f"superseded by release {newer.subject}"
    under_way = Rollout.objects.filter(kind=RolloutKind.UPDATE, state__in=UNDER_WAY).exclude(pk=newer.pk)
    older = [
        _set_state(one, RolloutState.STOPPED, set(UNDER_WAY), reason=reason, act=act)
        for one in under_way.order_by("pk")
        if int(one.subject) < int(newer.subject)
    ]
    for one in older:
        _execute(statements.CANCEL, rollout=one.pk, now=act.at)
    return older


def _check(kind: str, subject: str, *, sensors: Sequence[int], rules: judging.Rules) -> list[int]:
    fault = judging.find_fault(rules.stages, rules.per_minute, rules.soak_seconds)
    if fault is not None:
        raise RolloutError(fault)
    if kind == RolloutKind.UPDATE and not subject.isdecimal():
        raise RolloutError(f"an update's subject is the number of a release, not {subject!r}")
    numbers = sorted(set(sensors))
    if not numbers:
        raise RolloutError("a roll-out needs at least one sensor")
    known = set(Sensor.objects.filter(pk__in=numbers).values_list("pk", flat=True))
    unknown = [number for number in numbers if number not in known]
    if unknown:
        raise RolloutError(f"there is no sensor {', '.join(map(str, unknown[:5]))}")
    return numbers


def _check_time(rules: judging.Rules, total: int, *, since: datetime, until: datetime | None) -> None:
    """Refuse what its own end would cut off, whatever the sensors answer."""
    if until is None:
        return
    shortage = judging.find_shortage(rules, total, (until - since).total_seconds())
    if shortage is not None:
        raise RolloutError(f"its time is over before everybody could have it: {shortage}")


def _tell_under_way(kind: str, subject: str) -> str:
    """Say which roll-out stands in the way, how it stands, and what ends it."""
    found = Rollout.objects.filter(kind=kind, subject=subject, state__in=UNDER_WAY).first()
    if found is None:  # it has ended in this very moment
        return f"a roll-out of {kind} {subject} was under way already; try again"
    why = f", {found.reason}" if found.reason else ""
    go_on = "resume or stop" if found.state != RolloutState.RUNNING else "pause or stop"
    return (
        f"a roll-out of {kind} {subject} is under way already: number {found.pk}, {found.state}{why}; "
        f"`teiten rollout show {found.pk}` says how far it is, `teiten rollout` {go_on} changes it"
    )


def _execute(statement: str, **values: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return int(cursor.rowcount)
