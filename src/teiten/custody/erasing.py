"""Erasures: an address, or what an organisation's sensors observed, is forgotten and stays so.

An order is a row; the job ``custody.erasures`` carries it out, goes on after a crash, and
for some months applies it again to what arrives late. Then the record forgets the address.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q, QuerySet

from teiten.accounts.models import Organisation, Role, User
from teiten.custody import metrics, withdrawal
from teiten.custody.config import CustodyConfig
from teiten.custody.doors import CustodyStore, Facts
from teiten.custody.errors import CustodyInputError, CustodyUnknownError
from teiten.custody.models import Erasure, ErasureKind
from teiten.custody.models.work import UNFINISHED, WorkState
from teiten.custody.reach import (
    Reach,
    check_dataset,
    check_period,
    check_reason,
    holds_meeting,
    lock_custody,
    read_network,
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

#: A shorter prefix is no person's or host's, but a piece of the Internet.
SHORTEST_PREFIX = {4: 16, 6: 32}


def erase_address(
    network: str,
    *,
    reason: str,
    act: Act,
    dataset: str = "",
    start_at: datetime | None = None,
    end_at: datetime | None = None,
    only_check: bool = False,
) -> Erasure:
    """Ask for every packet from or to ``network`` to be erased; the job ``custody.erasures`` does it.

    Args:
        network: an address or a prefix, /16 (IPv6: /32) or longer.
        reason: why; it stays on record.
        act: who asks, and when.
        dataset: only this data set; all when empty.
        start_at: from which time of observation on; from the first when None.
        end_at: to which, at most now; now when None.
        only_check: see whether it could be ordered, and give the row without keeping it.

    Raises:
        CustodyInputError: naming the entry and the rule.
        LegalHoldError: when a hold forbids it; nothing was changed.
    """
    end_at = end_at or act.at
    check_period(start_at, end_at)
    if end_at > act.at:
        raise CustodyInputError(
            "period", f"ends at {end_at:%Y-%m-%d %H:%M} UTC, after now; what comes cannot be erased"
        )
    row = Erasure(
        kind=ErasureKind.ADDRESS,
        network=read_network("network", network, shortest=SHORTEST_PREFIX),
        dataset=check_dataset(dataset),
        start_at=start_at,
        end_at=end_at,
        reason=check_reason(reason),
        requested_by=act.actor,
        requested_at=act.at,
    )
    with transaction.atomic():
        lock_custody()
        refuse_held(reach_of(row), f"erasure of {row.network}")
        if only_check:
            return row
        row.save(force_insert=True)
        record_order("ordered", row, reason=row.reason, act=act)
    metrics.ERASURES.labels(row.kind, "requested").inc()
    return row


def erase_organisation(
    organisation: Organisation, *, reason: str, act: Act, keeps_data: bool = False, only_check: bool = False
) -> Erasure:
    """Take an organisation out: accounts closed and sensors revoked at once, its sensors' packets erased by the job.

    Args:
        organisation: the one that leaves.
        reason: why; it stays on record.
        act: who asks, and when.
        keeps_data: leave what its sensors observed, as the agreement with it may say.
        only_check: see whether it could be ordered, and give the row without keeping it.

    Raises:
        CustodyInputError: when it was done already, the person who asks or every operator belongs to it, or
            without a reason.
        LegalHoldError: when a hold forbids it; nothing was changed.
    """
    row = Erasure(
        kind=ErasureKind.ORGANISATION,
        organisation=organisation,
        end_at=act.at,
        keeps_data=keeps_data,
        reason=check_reason(reason),
        requested_by=act.actor,
        requested_at=act.at,
    )
    if act.actor is not None and act.actor.organisation_id == organisation.pk:
        raise CustodyInputError("organisation", "is your own; another organisation's operator must do it")
    with transaction.atomic():
        lock_custody()
        _refuse_second(organisation, keeps_data=keeps_data)
        _refuse_last_operators(organisation)
        row.sensors = list(
            Sensor.objects.filter(organisation=organisation).order_by("pk").values_list("pk", flat=True)
        )
        if not keeps_data:
            refuse_held(reach_of(row), f"erasure of organisation {organisation.code}")
        if only_check:
            return row
        row.progress = dict(withdrawal.withdraw(organisation, reason=row.reason, act=act))
        if keeps_data or not row.sensors:
            row.state, row.finished_at = WorkState.DONE, act.at
        row.save(force_insert=True)
        record_order("ordered", row, reason=row.reason, act=act)
    metrics.ERASURES.labels(row.kind, "requested").inc()
    return row


def retry_erasure(number: int) -> Erasure:
    """Let a failed erasure be tried again.

    Raises:
        CustodyUnknownError: when there is no such erasure.
        CustodyInputError: when it has not failed.
    """
    row = Erasure.objects.filter(pk=number).first()
    if row is None:
        raise CustodyUnknownError(f"there is no erasure {number}; `teiten erase list` names them")
    if not Erasure.objects.filter(pk=number, state=WorkState.FAILED).update(
        state=WorkState.REQUESTED, error=""
    ):
        raise CustodyInputError(f"erasure {number}", f"is {row.state}; only a failed one is tried again")
    row.refresh_from_db()
    return row


def erased_networks() -> list[str]:
    """Give the networks whose erasure is done and not forgotten yet."""
    rows = Erasure.objects.filter(kind=ErasureKind.ADDRESS, state=WorkState.DONE, dataset="", start_at=None)
    return list(rows.exclude(network="").order_by("pk").values_list("network", flat=True))


def list_erasures() -> QuerySet[Erasure]:
    """Give the erasures, newest first."""
    return Erasure.objects.select_related("organisation", "requested_by").order_by("-pk")


def run_erasures(store: CustodyStore, clock: Clock, config: CustodyConfig) -> Facts:
    """Carry out what was asked for and is not done; then erase again what came late.

    Raises:
        StoreUnavailable: when the store does not answer; what is left waits for the next call.
    """
    facts = {"erased": 0, "done": 0, "failed": 0, "late": 0, "forgotten": 0}
    for row in list(Erasure.objects.filter(state__in=UNFINISHED).order_by("pk")):
        outcome = _carry_out(row, store, clock)
        facts[outcome] += 1
        facts["erased"] += int(row.progress.get("rows", 0)) if outcome == "done" else 0
    for row in list(_due_again(clock.now(), config)):
        try:
            facts["late"] += _reapply(row, store, clock)
        except StoreUnavailable:
            raise
        except TeitenError as error:
            facts[_fail(row, str(error), clock)] += 1
    facts["forgotten"] = _forget_addresses(clock.now(), config)
    return facts


def reach_of(row: Erasure) -> Reach:
    """Say what an erasure touches."""
    sensors = frozenset(row.sensors) if row.kind == ErasureKind.ORGANISATION else None
    return Reach(sensors, row.network or None, row.dataset, row.start_at, row.end_at)


def _carry_out(row: Erasure, store: CustodyStore, clock: Clock) -> str:
    held = _begin(row, clock)
    if held:
        return _fail(row, held, clock)
    try:
        _count_first(row, store)
        rows = _erase(row, store)
    except StoreUnavailable:
        raise
    except TeitenError as error:
        return _fail(row, str(error), clock)
    row.state, row.error = WorkState.DONE, ""
    row.finished_at = row.applied_at = clock.now()
    row.progress = {**row.progress, "rows": rows}
    row.save(update_fields=["state", "error", "finished_at", "applied_at", "progress"])
    metrics.ERASURES.labels(row.kind, "done").inc()
    return "done"


def _begin(row: Erasure, clock: Clock) -> str:
    """Mark a row as running; gives the reason when a hold forbids it by now.

    One that runs already goes on: no hold can have been ordered on what it touches.
    """
    with transaction.atomic():
        lock_custody()
        holds = [] if row.state == WorkState.RUNNING else holds_meeting(reach_of(row))
        if holds:
            return say_held(f"erasure {row.pk}", holds)
        row.state = WorkState.RUNNING
        row.started_at = row.started_at or clock.now()
        row.save(update_fields=["state", "started_at"])
    return ""


def _count_first(row: Erasure, store: CustodyStore) -> None:
    """Write down once how many rows there are to erase: after a crash some of them are gone."""
    if "counted" in row.progress:
        return
    reach = reach_of(row)
    facts = store.count_rows(
        network=reach.network,
        sensors=row.sensors or None,
        start_at=row.start_at,
        end_at=row.end_at,
        dataset=row.dataset or None,
    )
    row.progress = {**row.progress, "counted": int(facts["rows"])}
    row.save(update_fields=["progress"])


def _erase(row: Erasure, store: CustodyStore) -> int:
    if row.kind == ErasureKind.ADDRESS:
        facts = store.erase_address(
            network=row.network, start_at=row.start_at, end_at=row.end_at, dataset=row.dataset or None
        )
    else:
        facts = store.erase_sensors(
            sensors=row.sensors, start_at=row.start_at, end_at=row.end_at, dataset=row.dataset or None
        )
    return int(facts["rows"])


def _due_again(now: datetime, config: CustodyConfig) -> QuerySet[Erasure]:
    rows = Erasure.objects.filter(state=WorkState.DONE, keeps_data=False)
    rows = rows.filter(Q(kind=ErasureKind.ADDRESS) & ~Q(network="") | Q(kind=ErasureKind.ORGANISATION))
    return rows.filter(
        finished_at__gt=now - timedelta(days=config.reapply_days),
        applied_at__lte=now - timedelta(hours=config.reapply_hours),
    ).order_by("pk")


def _reapply(row: Erasure, store: CustodyStore, clock: Clock) -> int:
    """Erase what came since, unless a hold was ordered on it; gives how many rows that were."""
    with transaction.atomic():
        lock_custody()
        if holds_meeting(reach_of(row)):
            return 0
        # While it runs, no hold can be ordered on what it touches; cut off, it is carried out again.
        Erasure.objects.filter(pk=row.pk).update(state=WorkState.RUNNING)
    rows = _erase(row, store)
    row.applied_at = clock.now()
    row.progress = {**row.progress, "late_rows": int(row.progress.get("late_rows", 0)) + rows}
    row.save(update_fields=["state", "applied_at", "progress"])
    if rows:
        metrics.ERASURES.labels(row.kind, "late").inc()
    return rows


def _forget_addresses(now: datetime, config: CustodyConfig) -> int:
    over = Erasure.objects.filter(
        kind=ErasureKind.ADDRESS,
        state=WorkState.DONE,
        finished_at__lte=now - timedelta(days=config.reapply_days),
    )
    return over.exclude(network="").update(network="")


def _fail(row: Erasure, error: str, clock: Clock) -> str:
    row.state, row.error, row.finished_at = WorkState.FAILED, error, clock.now()
    row.save(update_fields=["state", "error", "finished_at"])
    metrics.ERASURES.labels(row.kind, "failed").inc()
    _log.error("An erasure failed.", extra={"erasure": row.pk, "reason": error})
    return "failed"


def _refuse_second(organisation: Organisation, *, keeps_data: bool) -> None:
    earlier = Erasure.objects.filter(organisation=organisation).exclude(state=WorkState.FAILED)
    done = earlier.order_by("-pk").first()
    if done is not None and (keeps_data or not done.keeps_data):
        raise CustodyInputError(
            f"organisation {organisation.code}", f"was taken out by erasure {done.pk} already"
        )


def _refuse_last_operators(organisation: Organisation) -> None:
    others = User.objects.filter(role=Role.OPERATOR, is_active=True).exclude(organisation=organisation)
    if not others.exists():
        raise CustodyInputError(
            f"organisation {organisation.code}",
            "has the only operators; make one in another organisation first",
        )
