"""What the sensors of the fleet benchmark saw of the base."""

from __future__ import annotations

import collections
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Figures:
    """What happened since it was last asked."""

    ack_ms: list[float] = field(default_factory=list)
    beat_ms: list[float] = field(default_factory=list)
    #: How late duties began, by the load's own fault.
    late_ms: list[float] = field(default_factory=list)
    errors: collections.Counter[str] = field(default_factory=collections.Counter)
    batches: int = 0
    rows: int = 0
    sent_bytes: int = 0
    answered_at: list[float] = field(default_factory=list)
    updated_at: list[float] = field(default_factory=list)
    loaded: int = 0

    def tell(self) -> dict[str, Any]:
        return {
            "ack_ms": percentiles(self.ack_ms),
            "beat_ms": percentiles(self.beat_ms),
            "late_ms": percentiles(self.late_ms),
            "beats": len(self.beat_ms),
            "errors": dict(self.errors),
            "batches": self.batches,
            "rows": self.rows,
            "mb": round(self.sent_bytes / 1e6, 1),
            "answered_at": sorted(self.answered_at),
            "updated_at": sorted(self.updated_at),
            "loaded": self.loaded,
        }


def percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values) or [0.0]

    def at(percent: int) -> float:
        return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 1)

    return {"p50": at(50), "p95": at(95), "p99": at(99), "max": round(ordered[-1], 1)}
