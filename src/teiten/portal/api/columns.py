"""The columns of a packet as the API describes them, from ``teiten.traffic.columns``."""

from __future__ import annotations

from dataclasses import dataclass

from teiten.search.masking import is_masked
from teiten.search.visibility import Visibility
from teiten.traffic.columns import COLUMNS, Kind

_JSON_TYPES: dict[Kind, str] = {
    "instant": "string (ISO 8601, UTC)",
    "address": "string",
    "u8": "integer",
    "u16": "integer",
    "u32": "integer",
    "u64": "integer",
    "bytes": "string (hexadecimal)",
    "text": "string",
    "code": "string",
}


@dataclass(frozen=True)
class ColumnView:
    """One column for a reader of the API."""

    name: str
    #: Type in JSON; ``payload_hash`` is hexadecimal text, since JSON numbers lose 64-bit integers.
    type: str
    unit: str
    meaning: str
    source: str
    is_masked: bool


def list_columns(visibility: Visibility) -> tuple[ColumnView, ...]:
    """Describe every column."""
    return tuple(
        ColumnView(
            name=column.name,
            type="string (16 hexadecimal digits)"
            if column.name == "payload_hash"
            else _JSON_TYPES[column.kind],
            unit=column.unit,
            meaning=column.meaning,
            source=column.source,
            is_masked=is_masked(visibility, column.name),
        )
        for column in COLUMNS
    )
