-- What the store knows about itself.

-- Load blocks that are wholly in the store; the last row that a block writes.
CREATE TABLE IF NOT EXISTS blocks
(
    block UUID,
    loaded_at DateTime64(6, 'UTC'),
    rows UInt64,
    batches UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY block
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;

-- What retention removed, so that neither the check nor a rebuild takes a thinned day for a loss.
CREATE TABLE IF NOT EXISTS removals
(
    dataset LowCardinality(String),
    day Date,
    table LowCardinality(String),
    rows UInt64,
    removed_at DateTime64(6, 'UTC')
)
ENGINE = MergeTree
ORDER BY (dataset, day, table, removed_at)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
