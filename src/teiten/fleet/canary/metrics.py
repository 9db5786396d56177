"""Counters of the canaries."""

from teiten.foundation.metrics import Counter

CANARIES = Counter(
    "teiten_fleet_canaries_total",
    "Canaries: sent (repeated: of a log that was taken up before), and judged as arrived, lost or unknown.",
    ["what"],
)
