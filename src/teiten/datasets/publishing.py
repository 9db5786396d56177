"""Give the loader what all survey lists say together."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from django.db import connection, transaction
from django.db.models import Q

from teiten.datasets import metrics
from teiten.datasets.annotating import note_once
from teiten.datasets.config import DatasetsConfig
from teiten.datasets.doors import ReferencePublisher
from teiten.datasets.importing import import_list
from teiten.datasets.models import AnnotationKind, EntryKind, SurveyEntry
from teiten.datasets.reading import HEADER, Defaults
from teiten.fleet.services import Act

PUBLISHED_HEADER = (*HEADER, "kind")
#: The list of what was put into use by hand (``teiten geo use --survey``, the demonstration).
INSTALLED_LIST = "installed"
_LOCK = "datasets.publish"


@dataclass(frozen=True)
class Publication:
    """What the loader uses from its next block on."""

    version: str
    entries: int


def publish(
    publisher: ReferencePublisher, *, at: datetime, config: DatasetsConfig, is_announced: bool = True
) -> Publication:
    """Write all lists as one file and use it; one at a time, whoever asks.

    Rows that are stored already keep the answer of their time.

    Args:
        publisher: the reference data of this installation.
        at: now.
        config: for how long entries are given after they held.
        is_announced: whether an annotation on the trends says so; the daily behavioural rule does not.

    Raises:
        TeitenError: when the file cannot be used; the one in use stays.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [_LOCK])
        _adopt(publisher.read_survey(), at)
        rows = merged_rows(at, config)
        version = publisher.use_survey(write_csv(rows))
        if is_announced:
            _announce(version, at=at, entries=len(rows))
    metrics.PUBLICATIONS.inc()
    return Publication(version, len(rows))


def is_published(publisher: ReferencePublisher, *, at: datetime, config: DatasetsConfig) -> bool:
    """Tell whether the loader uses what all lists say now; without any list there is nothing to use."""
    rows = merged_rows(at, config)
    return publisher.read_survey() == write_csv(rows) if rows else True


def merged_rows(at: datetime, config: DatasetsConfig) -> list[tuple[str, ...]]:
    """Give all entries that hold, will hold, or held lately, as rows of text in an order of their own.

    Days are whole UTC days: a start counts from its day, an end to the end of its day.
    """
    since = at - timedelta(days=config.survey_history_days)
    rows = SurveyEntry.objects.filter(Q(valid_to=None) | Q(valid_to__gt=since)).select_related("list")
    return sorted({_row_of(row) for row in rows})


def write_csv(rows: list[tuple[str, ...]]) -> bytes:
    """Write rows under :data:`PUBLISHED_HEADER`."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(PUBLISHED_HEADER)
    writer.writerows(rows)
    return text.getvalue().encode()


def _adopt(content: bytes | None, at: datetime) -> None:
    """Take a file that somebody put into use by hand as a list, so that publishing does not lose it."""
    head = b"" if content is None else content.partition(b"\n")[0].strip()
    if content is not None and head == ",".join(HEADER).encode():
        import_list(INSTALLED_LIST, content, file="survey list in use", defaults=Defaults(), act=Act(at))


def _row_of(row: SurveyEntry) -> tuple[str, ...]:
    source = row.reason if row.kind == EntryKind.BEHAVIOUR else row.source or row.list.name
    return (row.network, row.owner, _day(row.valid_from), _end_day(row.valid_to), source, row.kind)


def _day(at: datetime) -> str:
    return at.astimezone(timezone.utc).strftime("%Y-%m-%d")


def _end_day(at: datetime | None) -> str:
    """Give the first day on which it does not hold any more."""
    if at is None:
        return ""
    return _day(at + timedelta(days=1) - timedelta(microseconds=1))


def _announce(version: str, *, at: datetime, entries: int) -> None:
    note_once(
        f"survey:{version}",
        at=at,
        kind=AnnotationKind.RULE,
        text_ja=f"調査スキャナのリストを更新({entries}件)",
        text_en=f"Survey lists published (entries: {entries})",
    )
