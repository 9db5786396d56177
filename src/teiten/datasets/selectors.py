"""What screens ask of the data sets. None of it is anybody's secret: every signed-in person may read it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Q, QuerySet

from teiten.datasets.models import (
    Annotation,
    FingerprintName,
    SurveyEntry,
    SurveyImport,
    SurveyList,
)


@dataclass(frozen=True)
class SurveyReason:
    """Why an address counts as a survey scanner at a time."""

    owner: str
    #: Name of the list that says so.
    list: str
    #: The entry's network that holds the address.
    network: str
    #: ``listed`` or ``behaviour``.
    kind: str
    #: What the behavioural rule found; empty for a listed one.
    reason: str
    source: str
    valid_from: datetime
    #: None: until further notice.
    valid_to: datetime | None


@dataclass(frozen=True)
class ListRow:
    """One survey list with what holds of it now."""

    name: str
    format: str
    title: str
    version: str
    imported_at: datetime
    removed_at: datetime | None
    #: Entries that hold now, and all that ever held.
    holding: int
    entries: int


def annotations_between(
    start_at: datetime, end_at: datetime, dataset: str | None = None, *, kinds: Iterable[str] = ()
) -> list[Annotation]:
    """Give the annotations that touch ``[start_at, end_at)``, oldest first.

    ``dataset`` leaves out those about other data sets; those about all of them stay.
    """
    rows = Annotation.objects.select_related("author").filter(withdrawn_at=None, at__lt=end_at)
    rows = rows.filter(Q(at__gte=start_at) | Q(until_at__gt=start_at))
    if dataset is not None:
        rows = rows.filter(dataset__in=["", dataset])
    wanted = list(kinds)
    return list((rows.filter(kind__in=wanted) if wanted else rows).order_by("at", "pk"))


def list_annotations(*, with_withdrawn: bool = False) -> QuerySet[Annotation]:
    """Give annotations, newest first, for the page on which they are written."""
    rows = Annotation.objects.select_related("author", "withdrawn_by").order_by("-at", "-pk")
    return rows if with_withdrawn else rows.filter(withdrawn_at=None)


def names_of(kind: str, values: Iterable[str], at: datetime) -> dict[str, FingerprintName]:
    """Give value → name for those of ``values`` that have one at ``at``; at most one holds at a time."""
    rows = FingerprintName.objects.select_related("author").filter(
        kind=kind, value__in=list(values), withdrawn_at=None, valid_from__lte=at
    )
    held = rows.filter(Q(valid_to=None) | Q(valid_to__gt=at)).order_by("value", "pk")
    return {row.value: row for row in held}


def list_names(
    *, kind: str | None = None, value: str | None = None, with_withdrawn: bool = False
) -> QuerySet[FingerprintName]:
    """Give names, newest first."""
    rows = FingerprintName.objects.select_related("author", "withdrawn_by").order_by("-created_at", "-pk")
    if kind is not None:
        rows = rows.filter(kind=kind)
    if value is not None:
        rows = rows.filter(value=value)
    return rows if with_withdrawn else rows.filter(withdrawn_at=None)


def survey_reasons(address: str, at: datetime) -> list[SurveyReason]:
    """Give the entries that make ``address`` a survey scanner at ``at``, the narrowest network first.

    What was removed or closed since still counts for the time for which it held.
    """
    rows = SurveyEntry.objects.select_related("list").filter(valid_from__lte=at)
    rows = rows.filter(Q(valid_to=None) | Q(valid_to__gt=at))
    rows = rows.extra(where=["network::inet >>= %s::inet"], params=[address])
    ordered = rows.extra(
        select={"length": "masklen(network::inet)"}, order_by=["-length", "-valid_from", "id"]
    )
    return [_reason_of(row) for row in ordered]


def list_surveys(at: datetime) -> list[ListRow]:
    """Give the survey lists, by name, with the number of entries that hold at ``at``."""
    holds = Q(entries__valid_from__lte=at) & (Q(entries__valid_to=None) | Q(entries__valid_to__gt=at))
    rows = SurveyList.objects.annotate(
        holding=Count("entries", filter=holds), number=Count("entries")
    ).order_by("name")
    return [
        ListRow(
            name=row.name,
            format=row.format,
            title=row.title,
            version=row.version,
            imported_at=row.imported_at,
            removed_at=row.removed_at,
            holding=row.holding,
            entries=row.number,
        )
        for row in rows
    ]


def entries_of(name: str, *, at: datetime | None = None) -> QuerySet[SurveyEntry]:
    """Give the entries of a list, those that hold at ``at`` or all of its history."""
    rows = SurveyEntry.objects.filter(list__name=name).order_by("network", "valid_from", "pk")
    if at is None:
        return rows
    return rows.filter(Q(valid_to=None) | Q(valid_to__gt=at), valid_from__lte=at)


def imports_of(name: str) -> QuerySet[SurveyImport]:
    """Give what changed a list, newest first."""
    return SurveyImport.objects.select_related("actor").filter(list__name=name).order_by("-at", "-pk")


def _reason_of(row: SurveyEntry) -> SurveyReason:
    return SurveyReason(
        owner=row.owner,
        list=row.list.name,
        network=row.network,
        kind=row.kind,
        reason=row.reason,
        source=row.source,
        valid_from=row.valid_from,
        valid_to=row.valid_to,
    )
