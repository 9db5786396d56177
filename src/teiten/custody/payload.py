"""Payload may hold strangers' words: whoever looks says why, and the reason stays on record."""

from __future__ import annotations

from datetime import datetime, timedelta

from teiten.accounts.models import User
from teiten.custody import metrics
from teiten.custody.errors import CustodyInputError
from teiten.custody.models import PayloadReason
from teiten.custody.models.payload import LONGEST, SHORTEST_REASON

_LONGEST_MINUTES = int(LONGEST / timedelta(minutes=1))


def request_payload(user: User, *, reason: str, minutes: int, at: datetime) -> PayloadReason:
    """Open payload to one person for ``minutes``; the reason is logged for ever.

    It opens nothing to a person whose role does not allow payload at all: that is
    asked besides, by ``search.visibility``.

    Raises:
        CustodyInputError: when the reason has less than 10 characters, or the minutes are not 1 to 60.
    """
    told = " ".join(reason.split())
    if len(told) < SHORTEST_REASON:
        raise CustodyInputError(
            "reason", f"say why in at least {SHORTEST_REASON} characters; it stays on record"
        )
    if not 1 <= minutes <= _LONGEST_MINUTES:
        raise CustodyInputError(
            "minutes", f"{minutes} is not 1 to {_LONGEST_MINUTES}; ask again when they are over"
        )
    row = PayloadReason.objects.create(
        user=user, reason=told, at=at, until_at=at + timedelta(minutes=minutes)
    )
    metrics.PAYLOAD_REASONS.inc()
    return row


def active_reason(user: User, at: datetime) -> PayloadReason | None:
    """Give the reason that opens payload to a person now, the one that lasts longest; None when none does."""
    return (
        PayloadReason.objects.filter(user=user, at__lte=at, until_at__gt=at)
        .order_by("-until_at", "-pk")
        .first()
    )
