"""What landing counts."""

from teiten.foundation.metrics import Counter, Gauge, Histogram

BATCHES = Counter(
    "teiten_landing_batches_total", "Batches by what became of the attempt to land.", ["outcome"]
)
BYTES = Counter("teiten_landing_bytes_total", "Bytes of batches that landed.")
GROUP = Histogram(
    "teiten_landing_group_batches",
    "Batches committed together.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
)
COMMIT_SECONDS = Histogram(
    "teiten_landing_commit_seconds",
    "Seconds from taking a group until its ledger rows are committed.",
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3),
)
FREE_BYTES = Gauge("teiten_landing_free_bytes", "Free disk under the segments.")
BACKLOG_BATCHES = Gauge("teiten_landing_backlog_batches", "Batches that wait for the loader.")
BACKLOG_BYTES = Gauge("teiten_landing_backlog_bytes", "Bytes that wait for the loader.")
BLOCKS = Counter("teiten_landing_blocks_total", "Load blocks by event.", ["event"])
ALARMS = Counter("teiten_landing_alarms_total", "Alarms by kind.", ["kind"])
EXPIRED = Counter(
    "teiten_landing_expired_total", "Ledger days and segments removed after their term.", ["what"]
)
