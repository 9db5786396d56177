"""The one way to write the security log."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from teiten.accounts import metrics
from teiten.accounts.models import SecurityEvent, SecurityEventKind, User


def record_event(
    kind: SecurityEventKind,
    *,
    at: datetime,
    user: User | None = None,
    actor: User | None = None,
    address: str | None = None,
    **detail: Any,
) -> SecurityEvent:
    """Append one event; ``detail`` must hold no secret and nothing that a stranger typed."""
    metrics.SECURITY_EVENTS.labels(kind.value).inc()
    return SecurityEvent.objects.create(
        at=at, kind=kind, user=user, actor=actor, address=address, detail=detail
    )
