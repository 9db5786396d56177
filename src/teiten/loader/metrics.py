"""What the loader counts."""

from teiten.foundation.metrics import Counter, Gauge, Histogram

ROWS = Counter("teiten_loader_rows_total", "Packet rows put into the store.")
BATCHES = Counter(
    "teiten_loader_batches_total", "Batches by outcome: loaded, or the quarantine code.", ["outcome"]
)
CANARIES = Counter(
    "teiten_loader_canaries_total",
    "Packets from probers' addresses in the form of canaries: arrived, or ordinary; misdated: of these, of another slot.",
    ["outcome"],
)
BLOCK_SECONDS = Histogram(
    "teiten_loader_block_seconds",
    "Seconds from composing a block to its last mark.",
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100),
)
DELAY_SECONDS = Histogram(
    "teiten_loader_delay_seconds",
    "Seconds from the receipt of a block's oldest batch until its rows can be seen.",
    buckets=(0.2, 0.5, 1, 2, 3, 5, 10, 15, 30, 60, 300, 3600, 86400),
)
ATTEMPTS = Gauge("teiten_loader_failed_attempts", "Failures in a row; above a few, the loader is stuck.")
FAILURES = Counter("teiten_loader_failures_total", "Blocks that have to be tried again, by cause.", ["cause"])
BACKLOG_BATCHES = Gauge("teiten_loader_backlog_batches", "Batches that wait for the loader.")
LAG_SECONDS = Gauge("teiten_loader_lag_seconds", "Age of the oldest batch that waits.")
