-- What was watched. One row per batch, also when it holds no packet; a batch repeated by a loader replaces itself.
-- watched_* are parallel arrays, one element per prefix; an import that watched nothing known has them empty.
-- watched_addresses: 2^(32 - length) of an IPv4 prefix; an IPv6 prefix counts as one in the stratum of its length.

CREATE TABLE IF NOT EXISTS coverage
(
    dataset LowCardinality(String),
    sensor UInt32 CODEC(ZSTD(1)),
    epoch UInt32 CODEC(ZSTD(1)),
    batch_seq UInt64 CODEC(Delta, ZSTD(1)),
    key_no UInt32 CODEC(ZSTD(1)),
    region LowCardinality(String) CODEC(ZSTD(1)),
    window_start_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    window_end_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    rows UInt32 CODEC(ZSTD(1)),
    captured UInt64 CODEC(ZSTD(1)),
    kernel_drops UInt64 CODEC(ZSTD(1)),
    excluded UInt64 CODEC(ZSTD(1)),
    gap_us UInt64 CODEC(ZSTD(1)),
    clock_offset_us Nullable(Int64) CODEC(ZSTD(1)),
    clock_stepped UInt8 CODEC(ZSTD(1)),
    payload_bytes UInt16 CODEC(ZSTD(1)),
    boot_id String CODEC(ZSTD(1)),
    software LowCardinality(String) CODEC(ZSTD(1)),
    watched_prefix Array(String) CODEC(ZSTD(1)),
    watched_ip_version Array(UInt8) CODEC(ZSTD(1)),
    watched_prefix_length Array(UInt8) CODEC(ZSTD(1)),
    watched_mode Array(LowCardinality(String)) CODEC(ZSTD(1)),
    watched_addresses Array(Float64) CODEC(ZSTD(1)),
    landed_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    block UUID CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY (dataset, toDate(window_start_at, '$zone'))
ORDER BY (sensor, epoch, batch_seq)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;

-- Coverage by hour. A window's time is shared out exactly among the hours it overlaps; what belongs to the batch as a
-- whole (rows, captured, drops, gap …) stands once: in the hour in which the window starts, with its first prefix.
-- So every column may be summed over any set of rows, and address_seconds also by IP version, prefix length and mode.
CREATE TABLE IF NOT EXISTS coverage_1h
(
    dataset LowCardinality(String),
    hour DateTime('UTC') CODEC(Delta, ZSTD(1)),
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
PARTITION BY (dataset, toDate(hour, '$zone'))
ORDER BY (hour, sensor, region, ip_version, prefix_length, mode)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS coverage_1h_view TO coverage_1h AS
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
    toDateTime(toUInt32(first_hour + step * 3600), 'UTC') AS hour,
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
GROUP BY dataset, hour, sensor, region, ip_version, prefix_length, mode;

-- Tombstones: batches that a sensor's bounded spool dropped. They are repeated until receipted, so read with FINAL.
CREATE TABLE IF NOT EXISTS lost_batches
(
    dataset LowCardinality(String),
    sensor UInt32 CODEC(ZSTD(1)),
    epoch UInt32 CODEC(ZSTD(1)),
    first_seq UInt64 CODEC(ZSTD(1)),
    last_seq UInt64 CODEC(ZSTD(1)),
    region LowCardinality(String) CODEC(ZSTD(1)),
    window_start_at DateTime64(6, 'UTC') CODEC(ZSTD(1)),
    window_end_at DateTime64(6, 'UTC') CODEC(ZSTD(1)),
    landed_at DateTime64(6, 'UTC') CODEC(ZSTD(1)),
    block UUID CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY (dataset, toDate(window_start_at, '$zone'))
ORDER BY (sensor, epoch, first_seq, last_seq)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;
