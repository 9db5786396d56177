"""What the search room counts."""

from __future__ import annotations

from teiten.foundation.metrics import Counter, Histogram

CALLS = Counter(
    "teiten_search_calls_total", "Searches by call and by the table that answered.", ["call", "table"]
)
CALL_SECONDS = Histogram(
    "teiten_search_call_seconds",
    "Duration of a search.",
    ["call"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 1, 2, 5, 10, 30),
)
STATEMENT_SECONDS = Histogram(
    "teiten_search_statement_seconds",
    "Duration of one statement on the store.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)
REFUSALS = Counter("teiten_search_refusals_total", "Searches that were not answered, by reason.", ["reason"])
EXPORTED_ROWS = Counter(
    "teiten_search_exported_rows_total", "Rows that left as files, by format.", ["format"]
)
