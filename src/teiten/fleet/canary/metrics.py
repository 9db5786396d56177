"""Counters of the canaries."""

from teiten.foundation.metrics import Counter

CANARIES = Counter(
    "teiten_fleet_canaries_total", "Canaries: sent, and judged as arrived, lost or unknown.", ["what"]
)
