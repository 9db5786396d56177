"""The sensors that were expected to watch: one of them, and all of them column by column."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Member:
    """One sensor of the roster."""

    sensor: int
    region: str
    #: Expected time, µs.
    from_us: int
    until_us: int
    #: Mean addresses watched, by family.
    addresses_v4: float
    addresses_v6: float
    last_window_end_us: int
    is_reporting: bool
    #: Seconds watched in the period, and in the one before.
    seconds: float
    seconds_before: float
    captured: int
    kernel_drops: int
    excluded: int
    modes: tuple[str, ...]

    def addresses(self, family: int) -> float:
        return self.addresses_v6 if family == 6 else self.addresses_v4


@dataclass(frozen=True)
class Roster:
    """All members, an array for each field of :class:`Member`: ten thousand objects would cost more than the statements."""

    sensor: NDArray[np.int64]
    region: NDArray[np.object_]
    from_us: NDArray[np.int64]
    until_us: NDArray[np.int64]
    addresses_v4: NDArray[np.float64]
    addresses_v6: NDArray[np.float64]
    last_window_end_us: NDArray[np.int64]
    is_reporting: NDArray[np.bool_]
    seconds: NDArray[np.float64]
    seconds_before: NDArray[np.float64]
    captured: NDArray[np.int64]
    kernel_drops: NDArray[np.int64]
    excluded: NDArray[np.int64]
    #: Words with a blank between them.
    modes: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.sensor)

    def where(self, mask: NDArray[np.bool_]) -> Roster:
        """Keep the members for which ``mask`` holds."""
        return Roster(*(getattr(self, each.name)[mask] for each in fields(self)))

    def addresses(self, family: int) -> NDArray[np.float64]:
        return self.addresses_v6 if family == 6 else self.addresses_v4

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """The members one by one."""
        columns: list[Any] = [getattr(self, each.name).tolist() for each in fields(self)]
        columns[-1] = [tuple(words.split()) for words in columns[-1]]
        return tuple(Member(*values) for values in zip(*columns, strict=True))

    @classmethod
    def of(cls, members: Iterable[Member]) -> Roster:
        """Put members together."""
        rows = [(*astuple(member)[:-1], " ".join(member.modes)) for member in members]
        columns = zip(*rows, strict=True) if rows else [()] * len(fields(cls))
        return cls(*(np.array(column, dtype=kind) for column, kind in zip(columns, _KINDS, strict=True)))


_WHOLE, _REAL, _TEXT = np.int64, np.float64, np.object_
_KINDS: tuple[Any, ...] = (
    _WHOLE, _TEXT, _WHOLE, _WHOLE, _REAL, _REAL, _WHOLE, np.bool_, _REAL, _REAL, _WHOLE, _WHOLE, _WHOLE, _TEXT,
)  # fmt: skip
