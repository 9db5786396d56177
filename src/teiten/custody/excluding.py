"""Exclusions: a sensor's data of a period are set aside, figures are made anew, and it can be undone."""

from __future__ import annotations

import logging
from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from teiten.custody import metrics
from teiten.custody.doors import CustodyStore, Facts
from teiten.custody.errors import CustodyInputError, CustodyUnknownError
from teiten.custody.models import Exclusion
from teiten.custody.models.work import UNFINISHED, WorkState
from teiten.custody.reach import (
    Reach,
    check_dataset,
    check_period,
    check_reason,
    holds_meeting,
    lock_custody,
    refuse_held,
    say_held,
)
from teiten.custody.recording import record_order
from teiten.fleet.models import Sensor
from teiten.fleet.services import Act
from teiten.foundation.clock import Clock
from teiten.foundation.errors import TeitenError
from teiten.store.errors import StoreUnavailable

_log = logging.getLogger(__name__)


def exclude(
    sensor: Sensor,
    *,
    start_at: datetime,
    end_at: datetime,
    reason: str,
    act: Act,
    dataset: str = "",
    only_check: bool = False,
) -> Exclusion:
    """Ask for a sensor's data of ``[start_at, end_at)`` to be set aside; the job ``custody.exclusions`` does it.

    What arrives later for that time is set aside too, until the exclusion is lifted. With ``only_check``
    the row is given without keeping it.

    Raises:
        CustodyInputError: naming the entry and the rule, or the exclusion that holds at that time.
        LegalHoldError: when a hold forbids it.
    """
    check_period(start_at, end_at)
    row = Exclusion(
        sensor=sensor,
        dataset=check_dataset(dataset) or sensor.dataset,
        start_at=start_at,
        end_at=end_at,
        reason=check_reason(reason),
        created_by=act.actor,
        created_at=act.at,
    )
    try:
        with transaction.atomic():
            lock_custody()
            refuse_held(_reach_of(row), f"exclusion of sensor {sensor.name}")
            _refuse_overlap(row)
            if only_check:
                return row
            row.save(force_insert=True)
            record_order("ordered", row, reason=row.reason, act=act)
    except IntegrityError as error:
        raise CustodyInputError(
            "period", f"another exclusion of sensor {sensor.name} holds at that time"
        ) from error
    metrics.EXCLUSIONS.labels("requested").inc()
    return row


def lift(number: int, *, reason: str, act: Act) -> Exclusion:
    """Ask for excluded data to be taken back in; the job ``custody.exclusions`` does it.

    Raises:
        CustodyUnknownError: when there is no such exclusion.
        CustodyInputError: when it is lifted already or its data are just being moved.
        LegalHoldError: when a hold forbids it.
    """
    told = check_reason(reason)
    with transaction.atomic():
        lock_custody()
        row = (
            Exclusion.objects.select_for_update(of=("self",))
            .select_related("sensor")
            .filter(pk=number)
            .first()
        )
        if row is None:
            raise CustodyUnknownError(f"there is no exclusion {number}; `teiten exclude list` names them")
        if row.lift_requested_at is not None:
            raise CustodyInputError(f"exclusion {number}", "was lifted already, or is just being lifted")
        if row.state == WorkState.RUNNING:
            raise CustodyInputError(
                f"exclusion {number}", "is just being carried out; lift it when it is done"
            )
        refuse_held(_reach_of(row), f"lifting of exclusion {number}")
        row.lift_requested_at, row.lifted_by, row.lift_reason = act.at, act.actor, told
        row.state, row.error = WorkState.REQUESTED, ""
        row.save(update_fields=["lift_requested_at", "lifted_by", "lift_reason", "state", "error"])
        record_order("lifted", row, reason=told, act=act)
    metrics.EXCLUSIONS.labels("lift_requested").inc()
    return row


def list_exclusions(*, with_lifted: bool = False) -> QuerySet[Exclusion]:
    """Give the exclusions, newest first."""
    rows = Exclusion.objects.select_related("sensor", "created_by", "lifted_by").order_by("-pk")
    return rows if with_lifted else rows.filter(lifted_at=None)


def run_exclusions(store: CustodyStore, clock: Clock) -> Facts:
    """Carry out what was asked for and is not done, then set aside what came late.

    Late data that cannot be set aside (their day has lost rows to retention) are said in the row's ``error``.
    One cut off half-way goes on with the next call. An exclusion that meets a hold by now
    fails, naming it; late data in a held time stay where they are.

    Raises:
        StoreUnavailable: when the store does not answer; what is left waits for the next call.
    """
    facts = {"done": 0, "failed": 0, "late": 0}
    for row in list(_unfinished()):
        facts[_carry_out(row, store, clock)] += 1
    for row in list(_in_force()):
        try:
            facts["late"] += _reapply(row, store, clock)
        except StoreUnavailable:
            raise
        except TeitenError as error:
            facts["failed"] += _note_error(row, str(error))
    return facts


def _unfinished() -> QuerySet[Exclusion]:
    return Exclusion.objects.select_related("sensor").filter(state__in=UNFINISHED).order_by("pk")


def _in_force() -> QuerySet[Exclusion]:
    rows = Exclusion.objects.select_related("sensor").filter(state=WorkState.DONE, lift_requested_at=None)
    return rows.order_by("pk")


def _carry_out(row: Exclusion, store: CustodyStore, clock: Clock) -> str:
    held = _begin(row, clock)
    if held:
        return _fail(row, held, clock)
    try:
        batches = _move(row, store)
    except StoreUnavailable:
        raise
    except TeitenError as error:
        return _fail(row, str(error), clock)
    row.state, row.finished_at, row.error = WorkState.DONE, clock.now(), ""
    row.batches, row.applied_at = row.batches + batches, clock.now()
    row.lifted_at = None if row.lift_requested_at is None else clock.now()
    row.save(update_fields=["state", "finished_at", "error", "batches", "applied_at", "lifted_at"])
    metrics.EXCLUSIONS.labels("done" if row.lifted_at is None else "lifted").inc()
    return "done"


def _begin(row: Exclusion, clock: Clock) -> str:
    """Mark a row as running; gives the reason when a hold forbids it by now.

    One that runs already goes on: nothing is lost by it, and half of it would be worse.
    """
    with transaction.atomic():
        lock_custody()
        holds = [] if row.state == WorkState.RUNNING else holds_meeting(_reach_of(row))
        if holds:
            return say_held(f"exclusion {row.pk}", holds)
        row.state = WorkState.RUNNING
        row.started_at = row.started_at or clock.now()
        row.save(update_fields=["state", "started_at"])
    return ""


def _move(row: Exclusion, store: CustodyStore) -> int:
    """Set batches aside, or take them back; gives how many were set aside now."""
    if row.lift_requested_at is None:
        facts = store.exclude_sensor(
            dataset=row.dataset, sensor=row.sensor_id, start_at=row.start_at, end_at=row.end_at
        )
        return int(facts["batches"])
    # A batch at the border of two exclusions belongs to both.
    others = _in_force().filter(sensor=row.sensor, dataset=row.dataset).exclude(pk=row.pk)
    store.include_sensor(
        dataset=row.dataset,
        sensor=row.sensor_id,
        start_at=row.start_at,
        end_at=row.end_at,
        standing=[(one.start_at, one.end_at) for one in others],
    )
    return 0


def _reapply(row: Exclusion, store: CustodyStore, clock: Clock) -> int:
    """Set aside what came since; gives how many batches that were."""
    if holds_meeting(_reach_of(row)):
        return 0
    batches = _move(row, store)
    if batches or row.error:
        row.batches += batches
        row.applied_at, row.error = clock.now(), ""
        row.save(update_fields=["batches", "applied_at", "error"])
        metrics.EXCLUSIONS.labels("late").inc()
    return batches


def _note_error(row: Exclusion, error: str) -> int:
    """Write down why late data stay where they are; gives 1 when that is news."""
    if row.error == error:
        return 0
    Exclusion.objects.filter(pk=row.pk).update(error=error)
    metrics.EXCLUSIONS.labels("failed").inc()
    _log.error("Late data could not be excluded.", extra={"exclusion": row.pk, "reason": error})
    return 1


def _fail(row: Exclusion, error: str, clock: Clock) -> str:
    row.state, row.error, row.finished_at = WorkState.FAILED, error, clock.now()
    row.save(update_fields=["state", "error", "finished_at"])
    metrics.EXCLUSIONS.labels("failed").inc()
    _log.error("An exclusion failed.", extra={"exclusion": row.pk, "reason": error})
    return "failed"


def _reach_of(row: Exclusion) -> Reach:
    return Reach(frozenset({row.sensor_id}), None, row.dataset, row.start_at, row.end_at)


def _refuse_overlap(row: Exclusion) -> None:
    others = Exclusion.objects.filter(
        sensor=row.sensor,
        dataset=row.dataset,
        lifted_at=None,
        start_at__lt=row.end_at,
        end_at__gt=row.start_at,
    )
    held = others.order_by("pk").first()
    if held is not None:
        raise CustodyInputError(
            "period",
            f"exclusion {held.pk} of sensor {row.sensor.name} holds from {held.start_at:%Y-%m-%d %H:%M} to "
            f"{held.end_at:%Y-%m-%d %H:%M} UTC; lift it first, or take another time",
        )
