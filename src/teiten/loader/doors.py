"""What the loader asks of others; ``cli`` hands it over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Placement(Protocol):
    """Where a sensor stands, and which keys it ever had."""

    @property
    def sensor(self) -> int: ...

    @property
    def region(self) -> str: ...

    @property
    def dataset(self) -> str:
        """``live`` or ``simulated``."""

    @property
    def may_import(self) -> bool: ...

    @property
    def keys(self) -> Mapping[int, bytes]:
        """Key number → 32 raw bytes, Ed25519."""


class SensorRegister(Protocol):
    def find_placement(self, sensor: int, key_no: int) -> Placement | None:
        """Find a sensor; called from one thread."""
