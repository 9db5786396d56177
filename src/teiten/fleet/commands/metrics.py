"""Counters of commands."""

from teiten.foundation.metrics import Counter

SUBMITTED = Counter(
    "teiten_fleet_commands_submitted_total", "Envelopes handed in, by what became of them.", ["outcome"]
)
DELIVERED = Counter("teiten_fleet_commands_delivered_total", "Commands given to sensors that asked.")
RESULTS = Counter(
    "teiten_fleet_command_results_total",
    "Answers of sensors, by state or by the code of their refusal.",
    ["outcome"],
)
