"""Rules that several kinds of rows share."""

from __future__ import annotations

from datetime import datetime

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db.models import Model

from teiten.datasets.errors import DatasetsInputError


def check_row(row: Model) -> None:
    """Check fields, uniqueness and constraints of a row.

    Raises:
        DatasetsInputError: naming the first field that breaks a rule.
    """
    try:
        row.full_clean()
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        name = type(row).__name__ if field == NON_FIELD_ERRORS else field
        raise DatasetsInputError(name, " ".join(map(str, messages))) from error


def check_period(start_at: datetime, end_at: datetime | None, *, field: str) -> None:
    """Refuse a period that ends before it begins.

    Raises:
        DatasetsInputError: naming ``field`` and both instants.
    """
    if end_at is not None and end_at <= start_at:
        raise DatasetsInputError(
            field,
            f"{end_at:%Y-%m-%d %H:%M} UTC is not after the start {start_at:%Y-%m-%d %H:%M} UTC; swap them",
        )
