"""How often a rule holds on traffic without any tool, with what the count allows to say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: One-sided error of the upper bound.
_ERROR = 0.05
_STEPS = 60


def count_false(hints: NDArray[np.uint32], bit: int) -> dict[str, Any]:
    """Count a rule's matches on packets that no tool made.

    Args:
        hints: of packets without a tool.
        bit: the rule's.
    """
    packets, found = int(hints.size), int(((hints & np.uint32(bit)) != 0).sum())
    return {
        "packets": packets,
        "false": found,
        "false_per_million": round(found * 1e6 / packets, 4) if packets else None,
        "at_most_per_million": round(bound_count(found) * 1e6 / packets, 4) if packets else None,
    }


def bound_count(found: int) -> float:
    """Give the highest Poisson mean at which so few are still seen once in twenty times."""
    low, high = 0.0, found + 10.0 + 6.0 * math.sqrt(found + 1)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(found, middle) > _ERROR else (low, middle)
    return high


def _at_most(found: int, mean: float) -> float:
    return sum(math.exp(count * math.log(mean) - mean - math.lgamma(count + 1)) for count in range(found + 1))
