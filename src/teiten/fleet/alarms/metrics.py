"""Counters of the alarms."""

from teiten.foundation.metrics import Counter, Gauge

ALARMS = Counter("teiten_fleet_alarms_total", "Alarms, by kind and what became of them.", ["kind", "what"])
OPEN = Gauge(
    "teiten_fleet_alarms_open_count", "Alarms that are open, parts of a group not counted.", ["kind"]
)
MAILS = Counter("teiten_fleet_alarm_mails_total", "Mails about alarms, by outcome.", ["outcome"])
