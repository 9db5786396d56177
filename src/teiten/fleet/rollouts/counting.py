"""Count how far a roll-out is, and who is silent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import connection

from teiten.fleet import health
from teiten.fleet.config import FleetConfig
from teiten.fleet.rollouts import statements
from teiten.fleet.rollouts.judging import Standing
from teiten.fleet.rollouts.models import Rollout

_RATE_WINDOW = timedelta(minutes=1)


def find_silent(sensors: Sequence[int], *, now: datetime, config: FleetConfig) -> set[int]:
    """Give those of ``sensors`` that do not speak now."""
    with connection.cursor() as cursor:
        cursor.execute(
            statements.SILENT, {"sensors": list(sensors), "silent_before": silent_before(now, config)}
        )
        return {sensor for (sensor,) in cursor.fetchall()}


def silent_before(now: datetime, config: FleetConfig) -> datetime:
    """Give the instant before which a last heartbeat means silence."""
    return now - health.silence_allowed(config)


def read_standing(rollout: Rollout, *, now: datetime, config: FleetConfig) -> Standing:
    """Count a roll-out's targets."""
    with connection.cursor() as cursor:
        cursor.execute(
            statements.STANDING,
            {
                "rollout": rollout.pk,
                "now": now,
                "minute_ago": now - _RATE_WINDOW,
                "silent_before": silent_before(now, config),
            },
        )
        *counts, last_at = cursor.fetchone()
    total, released, recent, ok, bad, fell_silent, owing, open_targets = counts
    return Standing(
        stage=rollout.stage,
        total=total,
        released=released,
        released_last_minute=recent,
        ok=ok,
        bad=max(0, bad - rollout.forgiven_failures),
        fell_silent=max(0, fell_silent - rollout.forgiven_silent),
        owing=owing,
        open=open_targets,
        quiet_seconds=0.0 if last_at is None else (now - last_at).total_seconds(),
    )
