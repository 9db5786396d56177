-- rebuild: days
-- Coverage by day for long periods, and what is done to stored rows on purpose: exclusion, return, erasure.

-- Coverage by day, by the rules of coverage_1h: a window's time is shared out among the days it overlaps, what belongs
-- to the batch as a whole stands once, in the day in which the window starts.
CREATE TABLE IF NOT EXISTS coverage_1d
(
    dataset LowCardinality(String),
    day Date CODEC(ZSTD(1)),
    sensor UInt32 CODEC(ZSTD(1)),
    region LowCardinality(String) CODEC(ZSTD(1)),
    ip_version UInt8 CODEC(ZSTD(1)),
    prefix_length UInt8 CODEC(ZSTD(1)),
    mode LowCardinality(String) CODEC(ZSTD(1)),
    address_seconds SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    sensor_seconds SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    batches SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    rows SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    captured SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    kernel_drops SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    excluded SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    gap_us SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    clock_steps SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    last_window_end_at SimpleAggregateFunction(max, DateTime64(6, 'UTC')) CODEC(ZSTD(1)),
    landed_date SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY (dataset, day)
ORDER BY (day, sensor, region, ip_version, prefix_length, mode)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS coverage_1d_view TO coverage_1d AS
WITH
    toUnixTimestamp64Micro(window_start_at) AS start_us,
    toUnixTimestamp64Micro(window_end_at) AS end_us,
    toInt64(toUnixTimestamp(toStartOfHour(window_start_at, '$zone'))) AS first_hour,
    empty(watched_prefix) AS is_unknown,
    if(is_unknown, 1, greatest(1, intDiv(end_us - 1 - first_hour * 1000000, 3600000000) + 1)) AS hours,
    arrayJoin(range(toUInt32(hours))) AS step,
    arrayJoin(if(is_unknown, [1], arrayEnumerate(watched_prefix))) AS place,
    (first_hour + step * 3600) * 1000000 AS hour_us,
    greatest(0, least(end_us, hour_us + 3600000000) - greatest(start_us, hour_us)) / 1000000 AS overlap_seconds,
    place = 1 AND step = 0 AS is_first
SELECT
    dataset,
    toDate(toDateTime(toUInt32(first_hour + step * 3600), 'UTC'), '$zone') AS day,
    sensor,
    region,
    if(is_unknown, 0, watched_ip_version[place]) AS ip_version,
    if(is_unknown, 0, watched_prefix_length[place]) AS prefix_length,
    if(is_unknown, 'unknown', watched_mode[place]) AS mode,
    sum(if(is_unknown, 0., watched_addresses[place] * overlap_seconds)) AS address_seconds,
    sum(if(is_unknown OR place > 1, 0., overlap_seconds)) AS sensor_seconds,
    countIf(is_first) AS batches,
    sumIf(coverage.rows, is_first) AS rows,
    sumIf(coverage.captured, is_first) AS captured,
    sumIf(coverage.kernel_drops, is_first) AS kernel_drops,
    sumIf(coverage.excluded, is_first) AS excluded,
    sumIf(coverage.gap_us, is_first) AS gap_us,
    sumIf(clock_stepped, is_first) AS clock_steps,
    max(window_end_at) AS last_window_end_at,
    toDate(max(landed_at), '$zone') AS landed_date
FROM coverage
GROUP BY dataset, day, sensor, region, ip_version, prefix_length, mode;

-- Rows of excluded sensors: out of every figure, but not lost. A row moved twice replaces itself, so read with FINAL.
-- A batch is excluded as a whole; its row in coverage_excluded says so.
CREATE TABLE IF NOT EXISTS packets_excluded AS packets
ENGINE = ReplacingMergeTree
PARTITION BY (dataset, toDate(observed_at, '$zone'))
ORDER BY (sensor, epoch, batch_seq, row)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS payload_examples_excluded AS payload_examples
ENGINE = ReplacingMergeTree
PARTITION BY (dataset, day)
ORDER BY (sensor, epoch, batch_seq, row)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS coverage_excluded AS coverage
ENGINE = ReplacingMergeTree
PARTITION BY (dataset, toDate(window_start_at, '$zone'))
ORDER BY (sensor, epoch, batch_seq)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Exclusions, returns and erasures that were begun; read with FINAL. One cut short is finished before another begins.
-- arguments are emptied when it is done, so that an erased address is nowhere any more.
CREATE TABLE IF NOT EXISTS changes
(
    id UUID,
    kind LowCardinality(String),
    arguments String,
    phase LowCardinality(String),
    step UInt32,
    noted_at DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(step)
ORDER BY id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- How many rows of a batch were erased, so that neither the check nor a repeated block takes them for lost.
CREATE TABLE IF NOT EXISTS erased_rows
(
    change UUID,
    dataset LowCardinality(String),
    day Date,
    sensor UInt32,
    epoch UInt32,
    batch_seq UInt64,
    rows UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (dataset, day, sensor, epoch, batch_seq, change)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
