"""Names of fingerprints, payloads and probes: given by analysts, for a time, withdrawn, never deleted."""

from __future__ import annotations

import re
from datetime import datetime

from django.db import connection, transaction
from django.db.models import Q

from teiten.accounts.models import User
from teiten.datasets import metrics
from teiten.datasets.checking import check_period, check_row
from teiten.datasets.errors import DatasetsInputError, DatasetsUnknownError
from teiten.datasets.models import FingerprintKind, FingerprintName
from teiten.fleet.services import Act

#: What a value of each kind looks like, with an example for the message.
_FORMS = {
    FingerprintKind.TCP_FP: (
        re.compile(r"^\d{1,5}:[0-9-]*:\d*:\d*$"),
        "64240:2-4-8-1-3:1460:7",
    ),
    FingerprintKind.PAYLOAD_HASH: (re.compile(r"^[0-9a-f]{16}$"), "16 hexadecimal digits"),
    FingerprintKind.PROBE: (re.compile(r"^\S.{0,99}$"), "a probe label"),
}


def name_fingerprint(
    *,
    kind: str,
    value: str,
    name: str,
    act: Act,
    valid_from: datetime,
    valid_to: datetime | None = None,
    version: str = "",
    note: str = "",
) -> FingerprintName:
    """Give a name to a value of a column, for a time.

    Args:
        kind: one of :class:`FingerprintKind`.
        value: as the screens write it.
        name: what it is called.
        act: who names it, and when.
        valid_from: from when on the name holds.
        valid_to: until when; until further notice when None.
        version: of what the name means, such as a release of a tool.
        note: what it rests on.

    Raises:
        DatasetsInputError: naming the field and the rule, or the name that holds at that time; nothing was written.
    """
    value = _check_value(kind, value)
    check_period(valid_from, valid_to, field="valid_to")
    row = FingerprintName(
        kind=kind,
        value=value,
        name=name.strip(),
        version=version.strip(),
        valid_from=valid_from,
        valid_to=valid_to,
        note=note.strip(),
        author=act.actor,
        created_at=act.at,
    )
    check_row(row)
    with transaction.atomic():
        _lock_value(kind, value)
        _refuse_overlap(row)
        row.save(force_insert=True)
    metrics.NOTES.labels("name", "created").inc()
    return row


def withdraw_name(number: int, *, at: datetime, actor: User | None) -> FingerprintName:
    """Take a name back; its row stays.

    Raises:
        DatasetsUnknownError: when there is none with this number.
        DatasetsInputError: when it was withdrawn already.
    """
    with transaction.atomic():
        row = FingerprintName.objects.select_for_update().filter(pk=number).first()
        if row is None:
            raise DatasetsUnknownError(f"there is no name {number}; `teiten name list` names them")
        if row.withdrawn_at is not None:
            raise DatasetsInputError(
                f"name {number}", f"was withdrawn at {row.withdrawn_at:%Y-%m-%d %H:%M} UTC already"
            )
        row.withdrawn_at, row.withdrawn_by = at, actor
        row.save(update_fields=["withdrawn_at", "withdrawn_by"])
    metrics.NOTES.labels("name", "withdrawn").inc()
    return row


def _check_value(kind: str, value: str) -> str:
    if kind not in FingerprintKind.values:
        raise DatasetsInputError("kind", f"{kind!r} is none of {', '.join(FingerprintKind.values)}")
    form, example = _FORMS[FingerprintKind(kind)]
    value = value.strip()
    if not form.match(value):
        raise DatasetsInputError("value", f"{value!r} is no {kind}; write it as the screens do ({example})")
    return value


def _lock_value(kind: str, value: str) -> None:
    """Let one at a time name a value, so that two names cannot slip past each other."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"name:{kind}:{value}"])


def _refuse_overlap(row: FingerprintName) -> None:
    others = FingerprintName.objects.filter(kind=row.kind, value=row.value, withdrawn_at=None)
    others = others.filter(Q(valid_to=None) | Q(valid_to__gt=row.valid_from))
    if row.valid_to is not None:
        others = others.filter(valid_from__lt=row.valid_to)
    held = others.order_by("valid_from", "pk").first()
    if held is not None:
        until = "further notice" if held.valid_to is None else f"{held.valid_to:%Y-%m-%d %H:%M} UTC"
        raise DatasetsInputError(
            "valid_from",
            f"{row.value} is called {held.name!r} (name {held.pk}) from {held.valid_from:%Y-%m-%d %H:%M} UTC to {until}; "
            f"withdraw that one (`teiten name withdraw {held.pk}`) or take another time",
        )
