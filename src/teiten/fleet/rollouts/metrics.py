"""Counters of roll-outs."""

from teiten.foundation.metrics import Counter

RELEASED = Counter(
    "teiten_fleet_rollout_released_total", "Sensors released to a roll-out, by kind.", ["kind"]
)
OUTCOMES = Counter(
    "teiten_fleet_rollout_outcomes_total",
    "Targets of roll-outs that ended, by kind and outcome.",
    ["kind", "outcome"],
)
CHANGES = Counter(
    "teiten_fleet_rollout_changes_total",
    "Changes of roll-outs' states, by kind and state.",
    ["kind", "state"],
)
