"""Forget old batches: ledger days, their segments and receipts; never their numbers."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, time, timedelta, timezone
from pathlib import Path

import psycopg
from psycopg import sql

from teiten.foundation.clock import Clock
from teiten.landing import metrics, partitions, queries
from teiten.landing.config import LandingConfig
from teiten.landing.errors import LandingUnavailable
from teiten.landing.segments import folder_of

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Expired:
    """What was removed, and what could not be yet."""

    #: Names of ledger partitions that are gone.
    days: tuple[str, ...]
    #: Names of segment files that are gone.
    segments: tuple[str, ...]
    #: Partitions past their term that stay, because batches in them are not loaded.
    kept: tuple[str, ...]


def expire(config: LandingConfig, dsn: str, clock: Clock, *, days: int | None = None) -> Expired:
    """Remove what landed more than ``days`` (the setting ``keep_days``) whole UTC days ago.

    A day with batches that have not been loaded stays, and so do their segments.

    Raises:
        LandingUnavailable: when the database does not answer.
    """
    kept_days = config.keep_days if days is None else days
    first_kept = clock.now().astimezone(timezone.utc).date() - timedelta(days=kept_days)
    before = datetime.combine(first_kept, time(), tzinfo=timezone.utc)
    try:
        with psycopg.connect(dsn, autocommit=True) as connection:
            gone, kept = _drop_days(connection, before)
            connection.execute(queries.get("forget_blocks"), {"before": before})
            removed = _remove_segments(connection, folder_of(config), before)
    except psycopg.OperationalError as error:
        raise LandingUnavailable(f"the ledger's database does not answer: {error}") from error
    return Expired(tuple(gone), tuple(removed), tuple(kept))


def _drop_days(connection: psycopg.Connection, before: datetime) -> tuple[list[str], list[str]]:
    gone: list[str] = []
    kept: list[str] = []
    for (name,) in connection.execute(queries.get("list_partitions")).fetchall():
        start, end = partitions.bounds_of(partitions.day_of(name))
        if end > before:
            continue
        row = connection.execute(queries.get("count_unfinished"), {"start": start, "end": end}).fetchone()
        if row and row[0]:
            _log.warning("a ledger day stays past its term", extra={"partition": name, "unfinished": row[0]})
            kept.append(name)
            continue
        connection.execute(sql.SQL("DROP TABLE landing.{}").format(sql.Identifier(name)))
        metrics.EXPIRED.labels("day").inc()
        gone.append(name)
    return gone, kept


def _remove_segments(connection: psycopg.Connection, folder: Path, before: datetime) -> list[str]:
    """Remove the files first: a row without a file is tried again, a file without a row never would be."""
    removed = []
    for (name,) in connection.execute(queries.get("list_old_segments"), {"before": before}).fetchall():
        (folder / name).unlink(missing_ok=True)
        connection.execute(queries.get("forget_segment"), {"name": name})
        metrics.EXPIRED.labels("segment").inc()
        removed.append(name)
    return removed
