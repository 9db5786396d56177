"""Annotations: written by analysts or by the observatory itself, withdrawn, never deleted."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from teiten.accounts.models import User
from teiten.datasets import metrics
from teiten.datasets.checking import check_period, check_row
from teiten.datasets.errors import DatasetsInputError, DatasetsUnknownError
from teiten.datasets.models import Annotation, AnnotationKind
from teiten.fleet.services import Act


def create_annotation(
    *,
    at: datetime,
    kind: str,
    text_ja: str,
    text_en: str,
    act: Act,
    until_at: datetime | None = None,
    dataset: str = "",
    link: str = "",
) -> Annotation:
    """Write an annotation.

    Args:
        at: the instant that it is about.
        kind: one of :class:`AnnotationKind`.
        text_ja: what Japanese screens show.
        text_en: what English screens show.
        act: who writes it, and when.
        until_at: the end of what lasted, after ``at``.
        dataset: the data set that it is about; every one when empty.
        link: where to read more, ``http://`` or ``https://``.

    Raises:
        DatasetsInputError: naming the field and the rule; nothing was written.
    """
    if link and not link.startswith(("https://", "http://")):
        raise DatasetsInputError("link", f"{link!r} must begin with https:// or http://")
    check_period(at, until_at, field="until_at")
    row = Annotation(
        at=at,
        until_at=until_at,
        dataset=dataset.strip(),
        kind=kind,
        text_ja=text_ja.strip(),
        text_en=text_en.strip(),
        link=link.strip(),
        author=act.actor,
        created_at=act.at,
    )
    check_row(row)
    row.save(force_insert=True)
    metrics.NOTES.labels("annotation", "created").inc()
    return row


def note_once(
    occasion: str, *, at: datetime, kind: AnnotationKind, text_ja: str, text_en: str, dataset: str = ""
) -> bool:
    """Write what the observatory itself noticed, once for each ``occasion``; gives whether it was new."""
    _, is_new = Annotation.objects.get_or_create(
        occasion=occasion,
        defaults={
            "at": at,
            "kind": kind,
            "text_ja": text_ja,
            "text_en": text_en,
            "dataset": dataset,
            "created_at": at,
        },
    )
    if is_new:
        metrics.NOTES.labels("annotation", "noticed").inc()
    return is_new


def withdraw_annotation(number: int, *, at: datetime, actor: User | None) -> Annotation:
    """Take an annotation off the screens; its row stays.

    Raises:
        DatasetsUnknownError: when there is none with this number.
        DatasetsInputError: when it was withdrawn already.
    """
    with transaction.atomic():
        row = Annotation.objects.select_for_update().filter(pk=number).first()
        if row is None:
            raise DatasetsUnknownError(f"there is no annotation {number}; `teiten note list` names them")
        if row.withdrawn_at is not None:
            raise DatasetsInputError(
                f"annotation {number}", f"was withdrawn at {row.withdrawn_at:%Y-%m-%d %H:%M} UTC already"
            )
        row.withdrawn_at, row.withdrawn_by = at, actor
        row.save(update_fields=["withdrawn_at", "withdrawn_by"])
    metrics.NOTES.labels("annotation", "withdrawn").inc()
    return row
