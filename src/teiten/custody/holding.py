"""Legal holds: from the order to the release, nothing removes what they name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timezone

from django.db import transaction
from django.db.models import Min, Q

from teiten.custody import metrics
from teiten.custody.errors import CustodyInputError, CustodyUnknownError
from teiten.custody.models import Erasure, HoldScope, LegalHold
from teiten.custody.models.work import WorkState
from teiten.custody.reach import (
    check_dataset,
    check_period,
    check_reason,
    describe_hold,
    lock_custody,
    read_network,
)
from teiten.custody.recording import record_order
from teiten.fleet.models import Sensor
from teiten.fleet.services import Act


@dataclass(frozen=True)
class StandingHold:
    """Days of data sets that nothing removes."""

    #: None: every data set.
    dataset: str | None
    start_at: datetime
    #: None: without end.
    end_at: datetime | None
    reason: str


def hold(
    *,
    scope: str,
    reason: str,
    act: Act,
    start_at: datetime,
    end_at: datetime | None = None,
    dataset: str = "",
    sensor: Sensor | None = None,
    network: str = "",
) -> LegalHold:
    """Hold observations: no erasure, exclusion or retention touches them until the release.

    Args:
        scope: ``dataset``, ``sensor`` or ``address``; names which of the last three is needed.
        reason: why; it stays on record.
        act: who orders it, and when.
        start_at: from which time of observation on.
        end_at: to which; without end when None.
        dataset: for the other scopes it narrows the hold, all data sets when empty.
        sensor: for the scope ``sensor``.
        network: for the scope ``address``.

    Raises:
        CustodyInputError: naming the entry and the rule; nothing was changed.
    """
    check_period(start_at, end_at)
    row = LegalHold(
        scope=_check_scope(scope, dataset=dataset, sensor=sensor, network=network),
        dataset=check_dataset(dataset),
        sensor=sensor,
        network=read_network("network", network) if network else "",
        start_at=start_at,
        end_at=end_at,
        reason=check_reason(reason),
        created_by=act.actor,
        created_at=act.at,
    )
    with transaction.atomic():
        lock_custody()
        _refuse_running_erasure(row)
        row.save(force_insert=True)
        record_order("ordered", row, reason=row.reason, act=act)
    metrics.HOLDS.labels("ordered").inc()
    return row


def release(number: int, *, reason: str, act: Act) -> LegalHold:
    """End a hold; what is past its term goes with the next retention.

    Raises:
        CustodyUnknownError: when there is no such hold.
        CustodyInputError: when it was released already, or without a reason.
    """
    told = check_reason(reason)
    with transaction.atomic():
        lock_custody()
        row = LegalHold.objects.filter(pk=number).first()
        if row is None:
            raise CustodyUnknownError(f"there is no legal hold {number}; `teiten hold list` names them")
        if row.released_at is not None:
            raise CustodyInputError(
                f"legal hold {number}", f"was released at {row.released_at:%Y-%m-%d %H:%M} UTC already"
            )
        row.released_at, row.released_by, row.release_reason = act.at, act.actor, told
        row.save(update_fields=["released_at", "released_by", "release_reason"])
        record_order("released", row, reason=told, act=act)
    metrics.HOLDS.labels("released").inc()
    return row


def list_holds(*, with_released: bool = False) -> list[LegalHold]:
    """Give the holds, newest first."""
    rows = LegalHold.objects.select_related("sensor", "created_by", "released_by").order_by("-pk")
    return list(rows if with_released else rows.filter(released_at=None))


def standing_holds() -> list[StandingHold]:
    """Give the holds in force as retention needs them, oldest first.

    Whatever a hold is about, retention leaves the whole of its days: it works by days.
    """
    rows = LegalHold.objects.select_related("sensor").filter(released_at=None).order_by("pk")
    return [StandingHold(row.dataset or None, row.start_at, row.end_at, describe_hold(row)) for row in rows]


def earliest_held() -> date | None:
    """Give the first UTC day that a hold in force names: batches that landed from then on stay in the archive."""
    first = LegalHold.objects.filter(released_at=None).aggregate(first=Min("start_at"))["first"]
    return None if first is None else first.astimezone(timezone.utc).date()


def _check_scope(scope: str, *, dataset: str, sensor: Sensor | None, network: str) -> HoldScope:
    given = {HoldScope.DATASET: dataset, HoldScope.SENSOR: sensor, HoldScope.ADDRESS: network}
    if scope not in HoldScope.values:
        raise CustodyInputError("scope", f"{scope!r} is none of {', '.join(HoldScope.values)}")
    wanted = HoldScope(scope)
    if not given[wanted]:
        raise CustodyInputError(wanted.value, f"is missing; a hold with the scope {scope} names it")
    for other in (HoldScope.SENSOR, HoldScope.ADDRESS):
        if other is not wanted and given[other]:
            raise CustodyInputError(other.value, f"does not belong to a hold with the scope {scope}")
    return wanted


def _refuse_running_erasure(row: LegalHold) -> None:
    running = Erasure.objects.filter(state=WorkState.RUNNING, end_at__gt=row.start_at).order_by("pk")
    if row.end_at is not None:
        running = running.filter(Q(start_at=None) | Q(start_at__lt=row.end_at))
    if row.dataset:
        running = running.filter(dataset__in=["", row.dataset])
    found = running.first()
    if found is not None:
        raise CustodyInputError(
            "period",
            f"erasure {found.pk} is running and may remove what is to be held; wait for its end "
            "(`teiten erase list`), or hold another time",
        )
