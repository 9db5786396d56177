"""What a change of stored data touches, and which legal holds that meets."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from django.db import connection
from django.db.models import Q

from teiten.custody import metrics
from teiten.custody.errors import CustodyInputError, LegalHoldError
from teiten.custody.models import HoldScope, LegalHold

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_DATASET = re.compile(r"live|simulated|import:[a-z0-9][a-z0-9-]{0,39}")
_LOCK = "custody"


@dataclass(frozen=True)
class Reach:
    """Observations by sensor, address, data set and time; what is None or empty is not narrowed."""

    sensors: frozenset[int] | None = None
    network: str | None = None
    dataset: str = ""
    start_at: datetime | None = None
    end_at: datetime | None = None


def lock_custody() -> None:
    """Let one transaction at a time decide about holds and what they forbid; held until it ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [_LOCK])


def holds_meeting(reach: Reach) -> list[LegalHold]:
    """Give the holds in force that ``reach`` touches, oldest first.

    A hold on a sensor meets a change by address, and the other way round, wherever their
    times touch: what is stored is not asked whether both are really in one packet.
    """
    holds = LegalHold.objects.select_related("sensor").filter(released_at=None)
    if reach.end_at is not None:
        holds = holds.filter(start_at__lt=reach.end_at)
    if reach.start_at is not None:
        holds = holds.filter(Q(end_at=None) | Q(end_at__gt=reach.start_at))
    if reach.dataset:
        holds = holds.filter(dataset__in=["", reach.dataset])
    return [hold for hold in holds.order_by("pk") if _touches(hold, reach)]


def refuse_held(reach: Reach, what: str) -> None:
    """Refuse a change that a hold forbids; call it under :func:`lock_custody`.

    Raises:
        LegalHoldError: naming the change, each hold, and the way out.
    """
    holds = holds_meeting(reach)
    if holds:
        metrics.REFUSALS.labels(what.split(" ", 1)[0]).inc()
        raise LegalHoldError(say_held(what, holds), [hold.pk for hold in holds])


def say_held(what: str, holds: Sequence[LegalHold]) -> str:
    """Say which holds forbid a change, and the way out."""
    named = "; ".join(describe_hold(hold) for hold in holds[:5])
    more = f" and {len(holds) - 5} more" if len(holds) > 5 else ""
    return (
        f"{what} meets {named}{more}; nothing was changed. "
        "Leave that time and data out, or have the hold released first (`teiten hold release`)"
    )


def describe_hold(hold: LegalHold) -> str:
    """Write a hold in one line."""
    about = {
        HoldScope.DATASET: f"data set {hold.dataset}",
        HoldScope.SENSOR: f"sensor {hold.sensor.name if hold.sensor else ''}",
        HoldScope.ADDRESS: f"address {hold.network}",
    }[HoldScope(hold.scope)]
    until = "further notice" if hold.end_at is None else f"{hold.end_at:%Y-%m-%d %H:%M} UTC"
    return f"legal hold {hold.pk} ({about}, {hold.start_at:%Y-%m-%d %H:%M} UTC to {until}: {hold.reason})"


def read_network(entry: str, text: str, *, shortest: dict[int, int] | None = None) -> str:
    """Give the canonical form of a prefix, or of an address as a prefix of itself.

    Args:
        entry: what messages call it.
        text: as typed.
        shortest: the shortest length that is allowed, by version of IP; any when None.

    Raises:
        CustodyInputError: when it is none, has host bits, or is too broad.
    """
    try:
        network = ipaddress.ip_network(text.strip())
    except ValueError as error:
        raise CustodyInputError(entry, f"{text!r} is no address and no prefix ({error})") from error
    least = 0 if shortest is None else shortest[network.version]
    if network.prefixlen < least:
        raise CustodyInputError(
            entry, f"{text} is too broad; IPv{network.version} here is /{least} or longer"
        )
    return str(network)


def check_dataset(dataset: str) -> str:
    """Give the name of a data set, or '' for all.

    Raises:
        CustodyInputError: when no data set can have this name.
    """
    if dataset and not _DATASET.fullmatch(dataset):
        raise CustodyInputError("dataset", f"{dataset!r} cannot exist; use live, simulated or import:NAME")
    return dataset


def check_period(start_at: datetime | None, end_at: datetime | None) -> None:
    """Refuse a reversed period.

    Raises:
        CustodyInputError: naming both instants.
    """
    if start_at is not None and end_at is not None and end_at <= start_at:
        raise CustodyInputError(
            "period",
            f"is reversed: the end {end_at:%Y-%m-%d %H:%M} UTC is not after the start {start_at:%Y-%m-%d %H:%M} UTC",
        )


def check_reason(reason: str) -> str:
    """Give a reason without outer blanks.

    Raises:
        CustodyInputError: when there is none.
    """
    if not reason.strip():
        raise CustodyInputError("reason", "say why; it stays on record")
    return reason.strip()


def _touches(hold: LegalHold, reach: Reach) -> bool:
    if hold.scope == HoldScope.SENSOR:
        return reach.sensors is None or hold.sensor_id in reach.sensors
    if hold.scope == HoldScope.ADDRESS and reach.network is not None:
        return _overlap(ipaddress.ip_network(hold.network), ipaddress.ip_network(reach.network))
    return True


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)
