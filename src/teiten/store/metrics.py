"""What the store counts."""

from teiten.foundation.metrics import Counter, Histogram

QUERY_SECONDS = Histogram(
    "teiten_store_query_seconds",
    "Time of one query, by role.",
    ["role"],
    buckets=(0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 20, 60),
)
INSERT_SECONDS = Histogram(
    "teiten_store_insert_seconds",
    "Time of one insert with its roll-ups, by table.",
    ["table"],
    buckets=(0.01, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 20, 60),
)
ERRORS = Counter("teiten_store_errors", "Statements that failed, by kind of error.", ["kind"])
BLOCKS = Counter("teiten_store_blocks", "Load blocks written, by how it went.", ["how"])
REMOVED_ROWS = Counter("teiten_store_removed_rows", "Rows removed by retention, by table.", ["table"])
REBUILT_PARTITIONS = Counter("teiten_store_rebuilt_partitions", "Days of roll-ups made again from raw rows.")
CHANGES = Counter(
    "teiten_store_changes",
    "Exclusions, returns and erasures of stored rows that were finished, by kind.",
    ["kind"],
)
BROKEN_PARTS = Counter(
    "teiten_store_broken_parts",
    "Parts of inserts set aside because a full disk left them broken, by table.",
    ["table"],
)
