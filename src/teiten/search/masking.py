"""The one masking function: what a viewer may not see does not leave this room.

Which column needs what is in :mod:`teiten.search.permissions`. Figures are masked where
they are counted (:mod:`teiten.search.guarding`), questions where they come in
(:mod:`teiten.search.admission`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import pyarrow as pa

from teiten.search.answers import DatasetExtent
from teiten.search.basis import Basis
from teiten.search.conditions import Expression, walk
from teiten.search.errors import NotPermitted
from teiten.search.fields import FIELDS
from teiten.search.permissions import PERMISSIONS, WORDS
from teiten.search.visibility import Permission, Visibility

#: Any answer of the search: a frozen dataclass with a basis.
Answer = TypeVar("Answer", bound=Any)


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


def mask_answer(visibility: Visibility, answer: Answer) -> Answer:
    """Make what an answer rests on no finer than the viewer may see; its figures were made so when counted."""
    if not visibility.is_guarded:
        return answer
    return replace(answer, basis=mask_basis(visibility, answer.basis))


def mask_basis(visibility: Visibility, basis: Basis) -> Basis:
    """Coarsen what a flood towards one sensor, or its failure, would show in the coverage."""
    if not visibility.is_guarded:
        return basis
    until = basis.complete_until
    told = replace(
        basis,
        complete_until=None if until is None else until.replace(minute=0, second=0, microsecond=0),
        # A flood towards one address would raise these, and no k stands behind them.
        captured_packets=0,
        kernel_drops=0,
        kernel_drop_share=None,
        excluded_packets=0,
        gaps=tuple(gap for gap in basis.gaps if gap.sensors >= visibility.least_sensors),
        least_sensors=visibility.least_sensors,
    )
    others = basis.sensors_known - len(visibility.own_sensors)
    return told if others >= visibility.least_sensors else _withhold(told)


def _withhold(basis: Basis) -> Basis:
    """Take away what fewer than *k* sensors of others watched: it would tell when one of them fails."""
    nothing = (0,) * len(basis.strip.starts)
    strip = replace(
        basis.strip,
        share=(None,) * len(nothing),
        covered_address_days=tuple(map(float, nothing)),
        sensors=nothing,
    )
    return replace(
        basis,
        **dict.fromkeys(_FIGURES, 0),  # type: ignore[arg-type]  # all of them are numbers
        share=None,
        complete_until=None,
        gaps=(),
        strip=strip,
        modes=(),
        modes_apart={},
        prefix_lengths=(),
        not_counted=(),
    )


#: Figures of the coverage itself.
_FIGURES = (
    "covered_address_days", "expected_address_days", "planned_address_days", "missing_address_days", "late_expected",
    "sensors_watching", "sensors_known", "sensors_in_both", "sensors_seen", "sensors_seen_before",
)  # fmt: skip


def mask_extents(visibility: Visibility, extents: Iterable[DatasetExtent]) -> tuple[DatasetExtent, ...]:
    """Coarsen the data sets' counts and newest instants."""
    if not visibility.is_guarded:
        return tuple(extents)
    return tuple(
        replace(
            extent,
            first_at=extent.first_at.replace(minute=0, second=0, microsecond=0),
            last_at=extent.last_at.replace(minute=0, second=0, microsecond=0),
            packets=coarsen(extent.packets),
        )
        for extent in extents
    )


def coarsen(count: int) -> int:
    """Give the first two digits of a total over all sensors."""
    step: int = max(10, 10 ** (len(str(count)) - 2))
    return count // step * step
