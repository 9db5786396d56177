"""Typed reading of a set of columns, for rules that know which kind they need."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from teiten.traffic.columns import PacketColumns, VarBytes

Number = TypeVar("Number", bound=np.generic)


def get_numbers(columns: PacketColumns, name: str, kind: type[Number]) -> NDArray[Number]:
    """Give a column of numbers or addresses, as it is when it is of ``kind`` already."""
    values = columns[name]
    if isinstance(values, VarBytes):
        raise TypeError(f"column {name} holds byte strings, not numbers")
    return values.astype(kind, copy=False)


def get_strings(columns: PacketColumns, name: str) -> VarBytes:
    """Give a column of byte strings."""
    values = columns[name]
    if not isinstance(values, VarBytes):
        raise TypeError(f"column {name} holds numbers, not byte strings")
    return values


def hold_all(*conditions: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell for which rows every condition holds."""
    together: NDArray[np.bool_] = np.logical_and.reduce(conditions)
    return together
