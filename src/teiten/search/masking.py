"""The one masking function: what a viewer may not see does not leave this room.

Which column needs what is in :mod:`teiten.search.permissions`. Figures are masked where
they are counted (:mod:`teiten.search.guarding`), questions where they come in
(:mod:`teiten.search.admission`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa

from teiten.search.conditions import Expression, walk
from teiten.search.errors import NotPermitted
from teiten.search.fields import FIELDS
from teiten.search.permissions import PERMISSIONS, WORDS
from teiten.search.visibility import Permission, Visibility

def is_masked(visibility: Visibility, column: str) -> bool:
    """Tell whether a column (or anything unknown) is hidden from the viewer."""
    permission = PERMISSIONS.get(column)
    return permission is None or not visibility.grants(permission)


def list_masked(visibility: Visibility, columns: Iterable[str]) -> tuple[str, ...]:
    """Name those of ``columns`` that the viewer may not see."""
    return tuple(column for column in columns if is_masked(visibility, column))


def list_visible(visibility: Visibility, columns: Iterable[str]) -> tuple[str, ...]:
    """Name those of ``columns`` that the viewer may see."""
    return tuple(column for column in columns if not is_masked(visibility, column))


def mask_batch(visibility: Visibility, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Empty every column that the viewer may not see; names and types stay.

    Statements do not select such columns in the first place; this is the last door
    that rows, packets and exports pass, so that a forgotten column shows nothing.
    """
    hidden = set(list_masked(visibility, batch.schema.names))
    arrays = [
        pa.nulls(batch.num_rows, part.type) if part.name in hidden else batch.column(index)
        for index, part in enumerate(batch.schema)
    ]
    fields = [pa.field(part.name, part.type) if part.name in hidden else part for part in batch.schema]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields, metadata=batch.schema.metadata))  # type: ignore[arg-type]  # the stubs forbid what the schema itself gives


def check_filters(visibility: Visibility, filters: Expression | None) -> None:
    """Refuse a filter by something masked: its count would tell what the column hides.

    Raises:
        NotPermitted: naming the field.
    """
    for condition in walk(filters):
        permission = FIELDS[condition.field].permission
        if not visibility.grants(permission):
            raise NotPermitted(
                f"a {visibility.role} may not filter by {condition.field}: it would tell {WORDS[permission]};"
                " remove the condition, or ask the operator for an analyst's role",
                field=condition.field,
            )


def check_column(visibility: Visibility, column: str, permission: Permission) -> None:
    """Refuse to split or rank by something masked.

    Raises:
        NotPermitted: naming the column.
    """
    if not visibility.grants(permission):
        raise NotPermitted(
            f"a {visibility.role} may not see {column}: it would tell {WORDS[permission]};"
            " choose another dimension, or ask the operator for an analyst's role",
            field=column,
        )


def choose_columns(visibility: Visibility, columns: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Part columns into those to select and those to show as masked."""
    return list_visible(visibility, columns), list_masked(visibility, columns)
