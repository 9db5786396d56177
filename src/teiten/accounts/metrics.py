"""Counters of the accounts room."""

from teiten.foundation.metrics import Counter

SECURITY_EVENTS = Counter("teiten_accounts_security_events_total", "Security events, by kind.", ["kind"])
TOKEN_CHECKS = Counter("teiten_accounts_token_checks_total", "API tokens presented, by outcome.", ["outcome"])
AUDIT_RECORDS = Counter(
    "teiten_accounts_audit_records_total", "Records appended to the audit chain, by kind.", ["kind"]
)
