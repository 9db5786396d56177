"""Counters of the custody room."""

from teiten.foundation.metrics import Counter

HOLDS = Counter("teiten_custody_holds_total", "Legal holds, by what was done.", ["done"])
REFUSALS = Counter("teiten_custody_refusals_total", "What a legal hold refused.", ["what"])
ERASURES = Counter("teiten_custody_erasures_total", "Erasures, by kind and what was done.", ["kind", "done"])
EXCLUSIONS = Counter(
    "teiten_custody_exclusions_total", "Exclusions of sensors' data, by what was done.", ["done"]
)
PAYLOAD_REASONS = Counter("teiten_custody_payload_reasons_total", "Reasons given to see payload.")
DISCLOSURES = Counter("teiten_custody_disclosures_total", "Disclosures written down.", ["channel", "level"])
