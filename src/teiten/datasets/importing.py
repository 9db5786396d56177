"""Bring survey lists in, and stop using them: each a single transaction, one list at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction

from teiten.datasets import metrics
from teiten.datasets.checking import check_row
from teiten.datasets.entries import StatedEntry
from teiten.datasets.errors import DatasetsInputError, DatasetsUnknownError
from teiten.datasets.merging import HeldEntry, Merge, merge
from teiten.datasets.models import EntryKind, ListFormat, SurveyEntry, SurveyImport, SurveyList
from teiten.datasets.reading import Defaults, read_list
from teiten.fleet.services import Act

#: The list that the behavioural rule writes.
BEHAVIOUR_LIST = "behaviour"
_ROWS_AT_ONCE = 2_000


@dataclass(frozen=True)
class Statement:
    """What is said of a list as a whole."""

    format: ListFormat
    title: str = ""
    version: str = ""
    #: Where it comes from: the name of a file.
    source: str = ""
    sha256: str = ""


def import_list(name: str, content: bytes, *, file: str, defaults: Defaults, act: Act) -> SurveyImport:
    """Take a file as what the list ``name`` says from now on.

    Raises:
        DatasetsInputError: naming the line or entry and the rule; nothing was changed.
    """
    if name == BEHAVIOUR_LIST:
        raise DatasetsInputError("list", f"{name!r} is written by the behavioural rule; take another name")
    try:
        stated = read_list(content, file=file, defaults=defaults)
    except DatasetsInputError:
        metrics.IMPORTS.labels("refused").inc()
        raise
    about = Statement(
        ListFormat(stated.format),
        stated.title,
        stated.version,
        file[-300:],
        hashlib.sha256(content).hexdigest(),
    )
    return replace_entries(name, stated.entries, about=about, act=act)


def replace_entries(
    name: str,
    entries: Sequence[StatedEntry],
    *,
    about: Statement,
    act: Act,
    kind: EntryKind = EntryKind.LISTED,
) -> SurveyImport:
    """Make ``entries`` what the list says from now on; what it says no longer is closed and kept.

    Raises:
        DatasetsInputError: when the name breaks a rule.
    """
    with transaction.atomic():
        row = _lock_list(name, about, act)
        done = merge(_held_of(row), entries, now=act.at)
        _write(row, done, act=act, kind=kind)
        record = SurveyImport.objects.create(
            list=row,
            at=act.at,
            actor=act.actor,
            source=about.source,
            sha256=about.sha256,
            added=len(done.add),
            changed=len(done.change),
            closed=len(done.close) + len(done.drop),
            kept=len(done.keep),
        )
    metrics.IMPORTS.labels("done").inc()
    for what, count in (("added", record.added), ("changed", record.changed), ("closed", record.closed)):
        metrics.ENTRIES.labels(what).inc(count)
    return record


def remove_list(name: str, *, act: Act) -> SurveyImport:
    """Stop using a list: everything that it says is closed now; its history stays.

    Raises:
        DatasetsUnknownError: when there is no such list.
        DatasetsInputError: when it was removed already.
    """
    with transaction.atomic():
        row = SurveyList.objects.select_for_update().filter(name=name).first()
        if row is None:
            raise DatasetsUnknownError(f"there is no survey list {name!r}; `teiten survey list` names them")
        if row.removed_at is not None:
            raise DatasetsInputError(
                f"survey list {name}", f"was removed at {row.removed_at:%Y-%m-%d %H:%M} UTC already"
            )
        record = replace_entries(
            name, (), about=Statement(ListFormat(row.format), row.title, row.version, "removed"), act=act
        )
        SurveyList.objects.filter(pk=row.pk).update(removed_at=act.at)
    return record


def _lock_list(name: str, about: Statement, act: Act) -> SurveyList:
    """Give the list's row, made when it is new, locked until the transaction ends."""
    new = SurveyList(name=name, format=about.format, created_at=act.at, imported_at=act.at)
    if not SurveyList.objects.filter(name=name).exists():
        check_row(new)
        SurveyList.objects.bulk_create([new], ignore_conflicts=True)
    row = SurveyList.objects.select_for_update().get(name=name)
    row.format, row.title, row.version = about.format, about.title, about.version
    row.imported_at, row.removed_at = act.at, None
    row.save()
    return row


def _held_of(row: SurveyList) -> list[HeldEntry]:
    fields = ("id", "network", "owner", "valid_from", "valid_to", "source", "reason")
    return [HeldEntry(*values) for values in row.entries.values_list(*fields)]


def _write(row: SurveyList, done: Merge, *, act: Act, kind: EntryKind) -> None:
    SurveyEntry.objects.filter(pk__in=done.drop).delete()
    SurveyEntry.objects.filter(pk__in=done.close).update(valid_to=act.at, closed_at=act.at)
    changed = dict(done.change)
    rows = list(SurveyEntry.objects.filter(pk__in=changed))
    for entry in rows:
        said = changed[entry.pk]
        entry.valid_to, entry.source, entry.reason, entry.closed_at = (
            said.valid_to,
            said.source,
            said.reason,
            None,
        )
    SurveyEntry.objects.bulk_update(
        rows, ["valid_to", "source", "reason", "closed_at"], batch_size=_ROWS_AT_ONCE
    )
    SurveyEntry.objects.bulk_create(
        [
            SurveyEntry(
                list=row, network=entry.network, owner=entry.owner, valid_from=start_at, valid_to=entry.valid_to,
                source=entry.source, kind=kind, reason=entry.reason, added_at=act.at,
            )
            for entry, start_at in done.add
        ],
        batch_size=_ROWS_AT_ONCE,
    )  # fmt: skip
