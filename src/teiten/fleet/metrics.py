"""Counters of the fleet room."""

from teiten.foundation.metrics import Counter, Histogram

IDENTIFIED = Counter(
    "teiten_fleet_identify_total", "Sensors looked up for a request, by outcome.", ["outcome"]
)
HEARTBEATS = Counter("teiten_fleet_heartbeats_total", "Heartbeats, by outcome.", ["outcome"])
ENROLMENTS = Counter("teiten_fleet_enrolments_total", "Enrolments, by outcome.", ["outcome"])
ROTATIONS = Counter("teiten_fleet_key_rotations_total", "Key rotations, by outcome.", ["outcome"])
RECOVERIES = Counter("teiten_fleet_recoveries_total", "Recoveries of sensors, by outcome.", ["outcome"])
EVENTS = Counter("teiten_fleet_sensor_events_total", "Events of sensors, by kind.", ["kind"])
GROUP_SIZE = Histogram(
    "teiten_fleet_group_size_count",
    "Requests answered by one statement, by door.",
    ["door"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)
ADDRESSES = Counter(
    "teiten_fleet_addresses_total",
    "Public addresses that heartbeats told of, by what became of them.",
    ["outcome"],
)
