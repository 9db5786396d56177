"""What the rows of a batch may hold, whatever their sender says."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from teiten.protocol.errors import BatchContentError
from teiten.protocol.header import BatchHeader
from teiten.traffic.columns import WIRE_COLUMNS, PacketColumns, VarBytes

VARIABLE_COLUMNS = tuple(column.name for column in WIRE_COLUMNS if column.kind == "bytes")
MAX_TCP_OPTION_BYTES = 40

#: Largest value of the columns whose type allows more than their field.
_LARGEST = {
    "ip_version": 6,
    "tcp_flags": 0x0FFF,
    "ip_df": 1,
    "ip_mf": 1,
    "fragment_offset": 0x1FFF,
}
_SIZES = {
    column.name: (16,) if column.kind == "address" else ()
    for column in WIRE_COLUMNS
    if column.kind != "bytes"
}
_TYPES = {
    column.name: np.dtype("uint8" if column.kind == "address" else column.numpy_type)
    for column in WIRE_COLUMNS
    if column.kind != "bytes"
}


def check_shapes(columns: PacketColumns, rows: int) -> None:
    """Check that every wire column is there, in its declared type and ``rows`` long.

    Raises:
        BatchContentError: naming the column.
    """
    for column in WIRE_COLUMNS:
        value = columns.get(column.name)
        if not (_is_variable(value, rows) if column.kind == "bytes" else _is_fixed(value, column.name, rows)):
            raise BatchContentError(
                f"{column.name}.type", f"column {column.name} must be {column.numpy_type} with {rows} rows"
            )


def check_contents(header: BatchHeader, columns: Mapping[str, NDArray[np.generic] | VarBytes]) -> None:
    """Check every value that can be wrong.

    Raises:
        BatchContentError: naming the column and its rule.
    """
    _check_offsets(columns["tcp_options"], "tcp_options", MAX_TCP_OPTION_BYTES)
    _check_offsets(columns["payload"], "payload", header.payload_bytes)
    _check_examples(header, columns)
    if header.rows == 0:
        return
    observed_at = _fixed(columns, "observed_at")
    if int(observed_at.min()) < header.window_start_us or int(observed_at.max()) >= header.window_end_us:
        raise BatchContentError(
            "observed_at.window", "a packet's observed_at lies outside the header's window"
        )
    for name, largest in _LARGEST.items():
        if int(_fixed(columns, name).max()) > largest:
            raise BatchContentError(f"{name}.range", f"column {name} must be at most {largest}")


def _check_examples(header: BatchHeader, columns: Mapping[str, NDArray[np.generic] | VarBytes]) -> None:
    """Check that each example goes on where the captured payload of its packet ends."""
    kept = columns["payload"]
    if not header.examples or not isinstance(kept, VarBytes):
        return
    stated = _fixed(columns, "payload_length")
    for example in header.examples:
        start, end = int(kept.offsets[example.row]), int(kept.offsets[example.row + 1])
        if not example.payload.startswith(kept.data[start:end].tobytes()):
            raise BatchContentError(
                "examples.payload", f"the example of row {example.row} does not begin with that row's payload"
            )
        if len(example.payload) > int(stated[example.row]):
            raise BatchContentError(
                "examples.length",
                f"the example of row {example.row} is longer than that row's payload_length",
            )


def _check_offsets(value: NDArray[np.generic] | VarBytes, name: str, max_bytes: int) -> None:
    if not isinstance(value, VarBytes):
        raise BatchContentError(f"{name}.type", f"column {name} must be VarBytes")
    offsets = value.offsets
    if int(offsets[0]) != 0 or int(offsets[-1]) != len(value.data):
        raise BatchContentError(f"{name}.offsets", f"the offsets of {name} must run from 0 to its size")
    if len(offsets) > 1:
        lengths = np.diff(offsets.astype(np.int64))
        if int(lengths.min()) < 0:
            raise BatchContentError(f"{name}.offsets", f"the offsets of {name} must not descend")
        if int(lengths.max()) > max_bytes:
            raise BatchContentError(f"{name}.size", f"a value of {name} is longer than {max_bytes} bytes")


def _is_variable(value: object, rows: int) -> bool:
    return (
        isinstance(value, VarBytes)
        and value.offsets.dtype == np.int32
        and value.offsets.shape == (rows + 1,)
        and value.data.dtype == np.uint8
        and value.data.ndim == 1
    )


def _is_fixed(value: object, name: str, rows: int) -> bool:
    return (
        isinstance(value, np.ndarray) and value.dtype == _TYPES[name] and value.shape == (rows, *_SIZES[name])
    )


def _fixed(columns: Mapping[str, NDArray[np.generic] | VarBytes], name: str) -> NDArray[np.int64]:
    """Give a column of whole numbers; ``check_shapes`` or the layout has settled that it is one."""
    return columns[name]  # type: ignore[return-value]  # any integer width will do for min and max
