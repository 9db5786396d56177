"""The one masking function: what a viewer may not see does not leave this room.

Hiding the destination is not enough (`docs/design.md` §7): Mirai's sequence number
*is* the destination, Masscan's IP id and sequence narrow it, ICMP quotes and
payloads contain it, and a hash over a captured quote can be searched by trying
every address. So all of these need the same permission as what they betray. What
tells one sensor from another (its number, its batches, when they landed, its VLAN)
goes with the sensor.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa

from teiten.search.conditions import Expression, walk
from teiten.search.errors import NotPermitted
from teiten.search.fields import FIELDS
from teiten.search.visibility import Permission, Visibility
from teiten.traffic.columns import COLUMNS

_DESTINATION = ("dst_addr", "tcp_seq", "tcp_ack", "ip_id")
_PAYLOAD = ("payload", "payload_hash")
_SENSOR = ("sensor", "epoch", "batch_seq", "row", "landed_at", "vlan")

#: Column → permission, for every column of a packet.
PERMISSIONS: dict[str, Permission] = {
    **{column.name: "open" for column in COLUMNS},
    **dict.fromkeys(_DESTINATION, "destination"),
    **dict.fromkeys(_PAYLOAD, "payload"),
    **dict.fromkeys(_SENSOR, "sensor"),
}
_WORDS: dict[Permission, str] = {
    "open": "nothing",
    "sensor": "which sensor saw a packet",
    "destination": "where a sensor stands",
    "payload": "what a payload holds",
}


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
                f"a {visibility.role} may not filter by {condition.field}: it would tell {_WORDS[permission]};"
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
            f"a {visibility.role} may not see {column}: it would tell {_WORDS[permission]};"
            " choose another dimension, or ask the operator for an analyst's role",
            field=column,
        )


def choose_columns(visibility: Visibility, columns: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Part columns into those to select and those to show as masked."""
    return list_visible(visibility, columns), list_masked(visibility, columns)
