CREATE TABLE actors_1d
(
    `dataset` LowCardinality(String),
    `day` Date CODEC(ZSTD(1)),
    `actor` LowCardinality(String) CODEC(ZSTD(1)),
    `nature` UInt8 CODEC(ZSTD(1)),
    `survey` UInt8 CODEC(ZSTD(1)),
    `ip_version` UInt8 CODEC(ZSTD(1)),
    `answering` UInt8 CODEC(ZSTD(1)),
    `packets` SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    `sources` AggregateFunction(uniqCombined(12), IPv6) CODEC(ZSTD(1)),
    `sensor_bits` SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    `sensors` AggregateFunction(groupBitmap, UInt32) CODEC(ZSTD(1)),
    `landed_date` SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))) ENGINE = AggregatingMergeTree PARTITION BY (dataset, day) ORDER BY (day, actor, nature, survey, ip_version, answering) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW actors_1d_view TO actors_1d
(
    `dataset` LowCardinality(String),
    `day` Date,
    `actor` LowCardinality(String),
    `nature` UInt8,
    `survey` UInt8,
    `ip_version` UInt8,
    `answering` UInt8,
    `packets` UInt64,
    `sources` AggregateFunction(uniqCombined(12), IPv6),
    `sensor_bits` UInt64,
    `sensors` AggregateFunction(groupBitmap, UInt32),
    `landed_date` Date) AS SELECT dataset, toDate(observed_at, 'Asia/Tokyo') AS day, actor, nature, survey, ip_version, answering, count() AS packets, uniqCombinedState(12)(src_addr) AS sources, groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits, groupBitmapState(sensor) AS sensors, toDate(max(landed_at), 'Asia/Tokyo') AS landed_date FROM packets WHERE survey != 0 GROUP BY dataset, day, actor, nature, survey, ip_version, answering;

CREATE TABLE actors_1h
(
    `dataset` LowCardinality(String),
    `hour` DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    `actor` LowCardinality(String) CODEC(ZSTD(1)),
    `nature` UInt8 CODEC(ZSTD(1)),
    `survey` UInt8 CODEC(ZSTD(1)),
    `ip_version` UInt8 CODEC(ZSTD(1)),
    `answering` UInt8 CODEC(ZSTD(1)),
    `packets` SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    `sensor_bits` SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    `sources` AggregateFunction(uniqCombined(12), IPv6) CODEC(ZSTD(1)),
    `landed_date` SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))) ENGINE = AggregatingMergeTree PARTITION BY (dataset, toDate(hour, 'Asia/Tokyo')) ORDER BY (hour, actor, nature, survey, ip_version, answering) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW actors_1h_view TO actors_1h
(
    `dataset` LowCardinality(String),
    `hour` DateTime('UTC'),
    `actor` LowCardinality(String),
    `nature` UInt8,
    `survey` UInt8,
    `ip_version` UInt8,
    `answering` UInt8,
    `packets` UInt64,
    `sensor_bits` UInt64,
    `sources` AggregateFunction(uniqCombined(12), IPv6),
    `landed_date` Date) AS SELECT dataset, toTimeZone(toStartOfHour(observed_at, 'Asia/Tokyo'), 'UTC') AS hour, actor, nature, survey, ip_version, answering, count() AS packets, groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits, uniqCombinedState(12)(src_addr) AS sources, toDate(max(landed_at), 'Asia/Tokyo') AS landed_date FROM packets WHERE survey != 0 GROUP BY dataset, hour, actor, nature, survey, ip_version, answering;

CREATE TABLE blocks
(
    `block` UUID,
    `loaded_at` DateTime64(6, 'UTC'),
    `rows` UInt64,
    `batches` UInt64) ENGINE = ReplacingMergeTree ORDER BY block SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE TABLE changes
(
    `id` UUID,
    `kind` LowCardinality(String),
    `arguments` String,
    `phase` LowCardinality(String),
    `step` UInt32,
    `noted_at` DateTime64(6, 'UTC')) ENGINE = ReplacingMergeTree(step) ORDER BY id SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 8192;

CREATE TABLE countries_1d
(
    `dataset` LowCardinality(String),
    `day` Date CODEC(ZSTD(1)),
    `country` LowCardinality(String) CODEC(ZSTD(1)),
    `nature` UInt8 CODEC(ZSTD(1)),
    `survey` UInt8 CODEC(ZSTD(1)),
    `ip_version` UInt8 CODEC(ZSTD(1)),
    `answering` UInt8 CODEC(ZSTD(1)),
    `packets` SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    `sensor_bits` SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    `sensors` AggregateFunction(groupBitmap, UInt32) CODEC(ZSTD(1)),
    `sources` AggregateFunction(uniqCombined(12), IPv6) CODEC(ZSTD(1)),
    `landed_date` SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))) ENGINE = AggregatingMergeTree PARTITION BY (dataset, day) ORDER BY (day, country, nature, survey, ip_version, answering) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW countries_1d_view TO countries_1d
(
    `dataset` LowCardinality(String),
    `day` Date,
    `country` LowCardinality(String),
    `nature` UInt8,
    `survey` UInt8,
    `ip_version` UInt8,
    `answering` UInt8,
    `packets` UInt64,
    `sensor_bits` UInt64,
    `sensors` AggregateFunction(groupBitmap, UInt32),
    `sources` AggregateFunction(uniqCombined(12), IPv6),
    `landed_date` Date) AS SELECT dataset, toDate(observed_at, 'Asia/Tokyo') AS day, country, nature, survey, ip_version, answering, count() AS packets, groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits, groupBitmapState(sensor) AS sensors, uniqCombinedState(12)(src_addr) AS sources, toDate(max(landed_at), 'Asia/Tokyo') AS landed_date FROM packets GROUP BY dataset, day, country, nature, survey, ip_version, answering;

CREATE TABLE countries_1h
(
    `dataset` LowCardinality(String),
    `hour` DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    `country` LowCardinality(String) CODEC(ZSTD(1)),
    `region` LowCardinality(String) CODEC(ZSTD(1)),
    `nature` UInt8 CODEC(ZSTD(1)),
    `survey` UInt8 CODEC(ZSTD(1)),
    `ip_version` UInt8 CODEC(ZSTD(1)),
    `answering` UInt8 CODEC(ZSTD(1)),
    `packets` SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    `sensor_bits` SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    `sources` AggregateFunction(uniqCombined(12), IPv6) CODEC(ZSTD(1)),
    `landed_date` SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))) ENGINE = AggregatingMergeTree PARTITION BY (dataset, toDate(hour, 'Asia/Tokyo')) PRIMARY KEY (hour, country, region, nature, survey, ip_version) ORDER BY (hour, country, region, nature, survey, ip_version, answering) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW countries_1h_view TO countries_1h
(
    `dataset` LowCardinality(String),
    `hour` DateTime('UTC'),
    `country` LowCardinality(String),
    `region` LowCardinality(String),
    `nature` UInt8,
    `survey` UInt8,
    `ip_version` UInt8,
    `answering` UInt8,
    `packets` UInt64,
    `sensor_bits` UInt64,
    `sources` AggregateFunction(uniqCombined(12), IPv6),
    `landed_date` Date) AS SELECT dataset, toTimeZone(toStartOfHour(observed_at, 'Asia/Tokyo'), 'UTC') AS hour, country, region, nature, survey, ip_version, answering, count() AS packets, groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits, uniqCombinedState(12)(src_addr) AS sources, toDate(max(landed_at), 'Asia/Tokyo') AS landed_date FROM packets GROUP BY dataset, hour, country, region, nature, survey, ip_version, answering;

CREATE TABLE coverage
(
    `dataset` LowCardinality(String),
    `sensor` UInt32 CODEC(ZSTD(1)),
    `epoch` UInt32 CODEC(ZSTD(1)),
    `batch_seq` UInt64 CODEC(Delta(8), ZSTD(1)),
    `key_no` UInt32 CODEC(ZSTD(1)),
    `region` LowCardinality(String) CODEC(ZSTD(1)),
    `window_start_at` DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    `window_end_at` DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    `rows` UInt32 CODEC(ZSTD(1)),
    `captured` UInt64 CODEC(ZSTD(1)),
    `kernel_drops` UInt64 CODEC(ZSTD(1)),
    `excluded` UInt64 CODEC(ZSTD(1)),
    `gap_us` UInt64 CODEC(ZSTD(1)),
    `clock_offset_us` Nullable(Int64) CODEC(ZSTD(1)),
    `clock_stepped` UInt8 CODEC(ZSTD(1)),
    `payload_bytes` UInt16 CODEC(ZSTD(1)),
    `boot_id` String CODEC(ZSTD(1)),
    `software` LowCardinality(String) CODEC(ZSTD(1)),
    `watched_prefix` Array(String) CODEC(ZSTD(1)),
    `watched_ip_version` Array(UInt8) CODEC(ZSTD(1)),
    `watched_prefix_length` Array(UInt8) CODEC(ZSTD(1)),
    `watched_mode` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `watched_addresses` Array(Float64) CODEC(ZSTD(1)),
    `landed_at` DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    `block` UUID CODEC(ZSTD(1))) ENGINE = ReplacingMergeTree PARTITION BY (dataset, toDate(window_start_at, 'Asia/Tokyo')) ORDER BY (sensor, epoch, batch_seq) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE TABLE coverage_1d
(
    `dataset` LowCardinality(String),
    `day` Date CODEC(ZSTD(1)),
    `sensor` UInt32 CODEC(ZSTD(1)),
    `region` LowCardinality(String) CODEC(ZSTD(1)),
    `ip_version` UInt8 CODEC(ZSTD(1)),
    `prefix_length` UInt8 CODEC(ZSTD(1)),
    `mode` LowCardinality(String) CODEC(ZSTD(1)),
    `address_seconds` SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    `sensor_seconds` SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    `batches` SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    `rows` SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    `captured` SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    `kernel_drops` SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    `excluded` SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    `gap_us` SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    `clock_steps` SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    `last_window_end_at` SimpleAggregateFunction(max, DateTime64(6, 'UTC')) CODEC(ZSTD(1)),
    `landed_date` SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))) ENGINE = AggregatingMergeTree PARTITION BY (dataset, day) ORDER BY (day, sensor, region, ip_version, prefix_length, mode) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW coverage_1d_view TO coverage_1d
(
    `dataset` LowCardinality(String),
    `day` Date,
    `sensor` UInt32,
    `region` LowCardinality(String),
    `ip_version` UInt8,
    `prefix_length` UInt8,
    `mode` String,
    `address_seconds` Float64,
    `sensor_seconds` Float64,
    `batches` UInt64,
    `rows` UInt64,
    `captured` UInt64,
    `kernel_drops` UInt64,
    `excluded` UInt64,
    `gap_us` UInt64,
    `clock_steps` UInt64,
    `last_window_end_at` DateTime64(6, 'UTC'),
    `landed_date` Date) AS WITH toUnixTimestamp64Micro(window_start_at) AS start_us, toUnixTimestamp64Micro(window_end_at) AS end_us, toInt64(toUnixTimestamp(toStartOfHour(window_start_at, 'Asia/Tokyo'))) AS first_hour, empty(watched_prefix) AS is_unknown, if(is_unknown, 1, greatest(1, intDiv((end_us - 1) - (first_hour * 1000000), 3600000000) + 1)) AS hours, arrayJoin(range(toUInt32(hours))) AS step, arrayJoin(if(is_unknown, [1], arrayEnumerate(watched_prefix))) AS place, (first_hour + (step * 3600)) * 1000000 AS hour_us, greatest(0, least(end_us, hour_us + 3600000000) - greatest(start_us, hour_us)) / 1000000 AS overlap_seconds, (place = 1) AND (step = 0) AS is_first SELECT dataset, toDate(toDateTime(toUInt32(first_hour + (step * 3600)), 'UTC'), 'Asia/Tokyo') AS day, sensor, region, if(is_unknown, 0, watched_ip_version[place]) AS ip_version, if(is_unknown, 0, watched_prefix_length[place]) AS prefix_length, if(is_unknown, 'unknown', watched_mode[place]) AS mode, sum(if(is_unknown, 0., (watched_addresses[place]) * overlap_seconds)) AS address_seconds, sum(if(is_unknown OR (place > 1), 0., overlap_seconds)) AS sensor_seconds, countIf(is_first) AS batches, sumIf(coverage.rows, is_first) AS rows, sumIf(coverage.captured, is_first) AS captured, sumIf(coverage.kernel_drops, is_first) AS kernel_drops, sumIf(coverage.excluded, is_first) AS excluded, sumIf(coverage.gap_us, is_first) AS gap_us, sumIf(clock_stepped, is_first) AS clock_steps, max(window_end_at) AS last_window_end_at, toDate(max(landed_at), 'Asia/Tokyo') AS landed_date FROM coverage GROUP BY dataset, day, sensor, region, ip_version, prefix_length, mode;

CREATE TABLE coverage_1h
(
    `dataset` LowCardinality(String),
    `hour` DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    `sensor` UInt32 CODEC(ZSTD(1)),
    `region` LowCardinality(String) CODEC(ZSTD(1)),
    `ip_version` UInt8 CODEC(ZSTD(1)),
    `prefix_length` UInt8 CODEC(ZSTD(1)),
    `mode` LowCardinality(String) CODEC(ZSTD(1)),
    `address_seconds` SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    `sensor_seconds` SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    `batches` SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    `rows` SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    `captured` SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    `kernel_drops` SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    `excluded` SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    `gap_us` SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    `clock_steps` SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    `last_window_end_at` SimpleAggregateFunction(max, DateTime64(6, 'UTC')) CODEC(ZSTD(1)),
    `landed_date` SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))) ENGINE = AggregatingMergeTree PARTITION BY (dataset, toDate(hour, 'Asia/Tokyo')) ORDER BY (hour, sensor, region, ip_version, prefix_length, mode) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW coverage_1h_view TO coverage_1h
(
    `dataset` LowCardinality(String),
    `hour` DateTime('UTC'),
    `sensor` UInt32,
    `region` LowCardinality(String),
    `ip_version` UInt8,
    `prefix_length` UInt8,
    `mode` String,
    `address_seconds` Float64,
    `sensor_seconds` Float64,
    `batches` UInt64,
    `rows` UInt64,
    `captured` UInt64,
    `kernel_drops` UInt64,
    `excluded` UInt64,
    `gap_us` UInt64,
    `clock_steps` UInt64,
    `last_window_end_at` DateTime64(6, 'UTC'),
    `landed_date` Date) AS WITH toUnixTimestamp64Micro(window_start_at) AS start_us, toUnixTimestamp64Micro(window_end_at) AS end_us, toInt64(toUnixTimestamp(toStartOfHour(window_start_at, 'Asia/Tokyo'))) AS first_hour, empty(watched_prefix) AS is_unknown, if(is_unknown, 1, greatest(1, intDiv((end_us - 1) - (first_hour * 1000000), 3600000000) + 1)) AS hours, arrayJoin(range(toUInt32(hours))) AS step, arrayJoin(if(is_unknown, [1], arrayEnumerate(watched_prefix))) AS place, (first_hour + (step * 3600)) * 1000000 AS hour_us, greatest(0, least(end_us, hour_us + 3600000000) - greatest(start_us, hour_us)) / 1000000 AS overlap_seconds, (place = 1) AND (step = 0) AS is_first SELECT dataset, toDateTime(toUInt32(first_hour + (step * 3600)), 'UTC') AS hour, sensor, region, if(is_unknown, 0, watched_ip_version[place]) AS ip_version, if(is_unknown, 0, watched_prefix_length[place]) AS prefix_length, if(is_unknown, 'unknown', watched_mode[place]) AS mode, sum(if(is_unknown, 0., (watched_addresses[place]) * overlap_seconds)) AS address_seconds, sum(if(is_unknown OR (place > 1), 0., overlap_seconds)) AS sensor_seconds, countIf(is_first) AS batches, sumIf(coverage.rows, is_first) AS rows, sumIf(coverage.captured, is_first) AS captured, sumIf(coverage.kernel_drops, is_first) AS kernel_drops, sumIf(coverage.excluded, is_first) AS excluded, sumIf(coverage.gap_us, is_first) AS gap_us, sumIf(clock_stepped, is_first) AS clock_steps, max(window_end_at) AS last_window_end_at, toDate(max(landed_at), 'Asia/Tokyo') AS landed_date FROM coverage GROUP BY dataset, hour, sensor, region, ip_version, prefix_length, mode;

CREATE TABLE coverage_excluded
(
    `dataset` LowCardinality(String),
    `sensor` UInt32 CODEC(ZSTD(1)),
    `epoch` UInt32 CODEC(ZSTD(1)),
    `batch_seq` UInt64 CODEC(Delta(8), ZSTD(1)),
    `key_no` UInt32 CODEC(ZSTD(1)),
    `region` LowCardinality(String) CODEC(ZSTD(1)),
    `window_start_at` DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    `window_end_at` DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    `rows` UInt32 CODEC(ZSTD(1)),
    `captured` UInt64 CODEC(ZSTD(1)),
    `kernel_drops` UInt64 CODEC(ZSTD(1)),
    `excluded` UInt64 CODEC(ZSTD(1)),
    `gap_us` UInt64 CODEC(ZSTD(1)),
    `clock_offset_us` Nullable(Int64) CODEC(ZSTD(1)),
    `clock_stepped` UInt8 CODEC(ZSTD(1)),
    `payload_bytes` UInt16 CODEC(ZSTD(1)),
    `boot_id` String CODEC(ZSTD(1)),
    `software` LowCardinality(String) CODEC(ZSTD(1)),
    `watched_prefix` Array(String) CODEC(ZSTD(1)),
    `watched_ip_version` Array(UInt8) CODEC(ZSTD(1)),
    `watched_prefix_length` Array(UInt8) CODEC(ZSTD(1)),
    `watched_mode` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `watched_addresses` Array(Float64) CODEC(ZSTD(1)),
    `landed_at` DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    `block` UUID CODEC(ZSTD(1))) ENGINE = ReplacingMergeTree PARTITION BY (dataset, toDate(window_start_at, 'Asia/Tokyo')) ORDER BY (sensor, epoch, batch_seq) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 8192;

CREATE TABLE coverage_regions_1d
(
    `dataset` LowCardinality(String),
    `day` Date CODEC(ZSTD(1)),
    `region` LowCardinality(String) CODEC(ZSTD(1)),
    `ip_version` UInt8 CODEC(ZSTD(1)),
    `prefix_length` UInt8 CODEC(ZSTD(1)),
    `mode` LowCardinality(String) CODEC(ZSTD(1)),
    `address_seconds` SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    `sensor_seconds` SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    `sensors` AggregateFunction(groupBitmap, UInt32) CODEC(ZSTD(1)),
    `landed_date` SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))) ENGINE = AggregatingMergeTree PARTITION BY (dataset, day) ORDER BY (day, region, ip_version, prefix_length, mode) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW coverage_regions_1d_view TO coverage_regions_1d
(
    `dataset` LowCardinality(String),
    `day` Date,
    `region` LowCardinality(String),
    `ip_version` UInt8,
    `prefix_length` UInt8,
    `mode` LowCardinality(String),
    `address_seconds` Float64,
    `sensor_seconds` Float64,
    `sensors` AggregateFunction(groupBitmap, UInt32),
    `landed_date` SimpleAggregateFunction(max, Date)) AS SELECT dataset, day, region, ip_version, prefix_length, mode, sum(coverage_1d.address_seconds) AS address_seconds, sum(coverage_1d.sensor_seconds) AS sensor_seconds, groupBitmapStateIf(sensor, (coverage_1d.sensor_seconds > 0) OR (coverage_1d.address_seconds > 0)) AS sensors, max(coverage_1d.landed_date) AS landed_date FROM coverage_1d GROUP BY dataset, day, region, ip_version, prefix_length, mode;

CREATE TABLE coverage_regions_1h
(
    `dataset` LowCardinality(String),
    `hour` DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    `region` LowCardinality(String) CODEC(ZSTD(1)),
    `ip_version` UInt8 CODEC(ZSTD(1)),
    `prefix_length` UInt8 CODEC(ZSTD(1)),
    `mode` LowCardinality(String) CODEC(ZSTD(1)),
    `address_seconds` SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    `sensor_seconds` SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    `sensors` AggregateFunction(groupBitmap, UInt32) CODEC(ZSTD(1)),
    `landed_date` SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))) ENGINE = AggregatingMergeTree PARTITION BY (dataset, toDate(hour, 'Asia/Tokyo')) ORDER BY (hour, region, ip_version, prefix_length, mode) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW coverage_regions_1h_view TO coverage_regions_1h
(
    `dataset` LowCardinality(String),
    `hour` DateTime('UTC'),
    `region` LowCardinality(String),
    `ip_version` UInt8,
    `prefix_length` UInt8,
    `mode` LowCardinality(String),
    `address_seconds` Float64,
    `sensor_seconds` Float64,
    `sensors` AggregateFunction(groupBitmap, UInt32),
    `landed_date` SimpleAggregateFunction(max, Date)) AS SELECT dataset, hour, region, ip_version, prefix_length, mode, sum(coverage_1h.address_seconds) AS address_seconds, sum(coverage_1h.sensor_seconds) AS sensor_seconds, groupBitmapStateIf(sensor, (coverage_1h.sensor_seconds > 0) OR (coverage_1h.address_seconds > 0)) AS sensors, max(coverage_1h.landed_date) AS landed_date FROM coverage_1h GROUP BY dataset, hour, region, ip_version, prefix_length, mode;

CREATE TABLE erased_rows
(
    `change` UUID,
    `dataset` LowCardinality(String),
    `day` Date,
    `sensor` UInt32,
    `epoch` UInt32,
    `batch_seq` UInt64,
    `rows` UInt64) ENGINE = ReplacingMergeTree ORDER BY (dataset, day, sensor, epoch, batch_seq, change) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 8192;

CREATE TABLE fingerprints_1d
(
    `dataset` LowCardinality(String),
    `day` Date CODEC(ZSTD(1)),
    `tcp_fp` LowCardinality(String) CODEC(ZSTD(1)),
    `nature` UInt8 CODEC(ZSTD(1)),
    `survey` UInt8 CODEC(ZSTD(1)),
    `ip_version` UInt8 CODEC(ZSTD(1)),
    `answering` UInt8 CODEC(ZSTD(1)),
    `packets` SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    `sensor_bits` SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    `sensors` AggregateFunction(groupBitmap, UInt32) CODEC(ZSTD(1)),
    `sources` AggregateFunction(uniqCombined(12), IPv6) CODEC(ZSTD(1)),
    `landed_date` SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))) ENGINE = AggregatingMergeTree PARTITION BY (dataset, day) PRIMARY KEY (day, tcp_fp, nature, survey, ip_version) ORDER BY (day, tcp_fp, nature, survey, ip_version, answering) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW fingerprints_1d_view TO fingerprints_1d
(
    `dataset` LowCardinality(String),
    `day` Date,
    `tcp_fp` LowCardinality(String),
    `nature` UInt8,
    `survey` UInt8,
    `ip_version` UInt8,
    `answering` UInt8,
    `packets` UInt64,
    `sensor_bits` UInt64,
    `sensors` AggregateFunction(groupBitmap, UInt32),
    `sources` AggregateFunction(uniqCombined(12), IPv6),
    `landed_date` Date) AS SELECT dataset, toDate(observed_at, 'Asia/Tokyo') AS day, tcp_fp, nature, survey, ip_version, answering, count() AS packets, groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits, groupBitmapState(sensor) AS sensors, uniqCombinedState(12)(src_addr) AS sources, toDate(max(landed_at), 'Asia/Tokyo') AS landed_date FROM packets GROUP BY dataset, day, tcp_fp, nature, survey, ip_version, answering;

CREATE TABLE fingerprints_1h
(
    `dataset` LowCardinality(String),
    `hour` DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    `tcp_fp` LowCardinality(String) CODEC(ZSTD(1)),
    `nature` UInt8 CODEC(ZSTD(1)),
    `survey` UInt8 CODEC(ZSTD(1)),
    `ip_version` UInt8 CODEC(ZSTD(1)),
    `answering` UInt8 CODEC(ZSTD(1)),
    `packets` SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    `sensor_bits` SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    `sources` AggregateFunction(uniqCombined(12), IPv6) CODEC(ZSTD(1)),
    `landed_date` SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))) ENGINE = AggregatingMergeTree PARTITION BY (dataset, toDate(hour, 'Asia/Tokyo')) ORDER BY (hour, tcp_fp, nature, survey, ip_version, answering) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW fingerprints_1h_view TO fingerprints_1h
(
    `dataset` LowCardinality(String),
    `hour` DateTime('UTC'),
    `tcp_fp` LowCardinality(String),
    `nature` UInt8,
    `survey` UInt8,
    `ip_version` UInt8,
    `answering` UInt8,
    `packets` UInt64,
    `sensor_bits` UInt64,
    `sources` AggregateFunction(uniqCombined(12), IPv6),
    `landed_date` Date) AS SELECT dataset, toTimeZone(toStartOfHour(observed_at, 'Asia/Tokyo'), 'UTC') AS hour, tcp_fp, nature, survey, ip_version, answering, count() AS packets, groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits, uniqCombinedState(12)(src_addr) AS sources, toDate(max(landed_at), 'Asia/Tokyo') AS landed_date FROM packets WHERE tcp_fp != '' GROUP BY dataset, hour, tcp_fp, nature, survey, ip_version, answering;

CREATE TABLE fingerprints_ports_1d
(
    `dataset` LowCardinality(String),
    `day` Date CODEC(ZSTD(1)),
    `tcp_fp` LowCardinality(String) CODEC(ZSTD(1)),
    `protocol` UInt8 CODEC(ZSTD(1)),
    `dst_port` UInt16 CODEC(ZSTD(1)),
    `nature` UInt8 CODEC(ZSTD(1)),
    `survey` UInt8 CODEC(ZSTD(1)),
    `ip_version` UInt8 CODEC(ZSTD(1)),
    `answering` UInt8 CODEC(ZSTD(1)),
    `packets` SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    `first_seen_at` SimpleAggregateFunction(min, DateTime('UTC')) CODEC(T64, ZSTD(1)),
    `sensor_bits` SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    `landed_date` SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))) ENGINE = AggregatingMergeTree PARTITION BY (dataset, day) ORDER BY (day, tcp_fp, protocol, dst_port, nature, survey, ip_version, answering) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW fingerprints_ports_1d_view TO fingerprints_ports_1d
(
    `dataset` LowCardinality(String),
    `day` Date,
    `tcp_fp` LowCardinality(String),
    `protocol` UInt8,
    `dst_port` UInt16,
    `nature` UInt8,
    `survey` UInt8,
    `ip_version` UInt8,
    `answering` UInt8,
    `packets` UInt64,
    `first_seen_at` DateTime('UTC'),
    `sensor_bits` UInt64,
    `landed_date` Date) AS SELECT dataset, toDate(observed_at, 'Asia/Tokyo') AS day, tcp_fp, protocol, dst_port, nature, survey, ip_version, answering, count() AS packets, toDateTime(min(observed_at), 'UTC') AS first_seen_at, groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits, toDate(max(landed_at), 'Asia/Tokyo') AS landed_date FROM packets WHERE tcp_fp != '' GROUP BY dataset, day, tcp_fp, protocol, dst_port, nature, survey, ip_version, answering;

CREATE TABLE kinds_1d
(
    `dataset` LowCardinality(String),
    `day` Date CODEC(ZSTD(1)),
    `nature` UInt8 CODEC(ZSTD(1)),
    `survey` UInt8 CODEC(ZSTD(1)),
    `ip_version` UInt8 CODEC(ZSTD(1)),
    `answering` UInt8 CODEC(ZSTD(1)),
    `packets` SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    `sensor_bits` SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    `sources` AggregateFunction(uniqCombined(12), IPv6) CODEC(ZSTD(1)),
    `landed_date` SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))) ENGINE = AggregatingMergeTree PARTITION BY (dataset, day) ORDER BY (day, nature, survey, ip_version, answering) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW kinds_1d_view TO kinds_1d
(
    `dataset` LowCardinality(String),
    `day` Date,
    `nature` UInt8,
    `survey` UInt8,
    `ip_version` UInt8,
    `answering` UInt8,
    `packets` UInt64,
    `sensor_bits` UInt64,
    `sources` AggregateFunction(uniqCombined(12), IPv6),
    `landed_date` SimpleAggregateFunction(max, Date)) AS SELECT dataset, toDate(hour, 'Asia/Tokyo') AS day, nature, survey, ip_version, answering, sum(totals_1h.packets) AS packets, groupBitOr(totals_1h.sensor_bits) AS sensor_bits, uniqCombinedMergeState(12)(totals_1h.sources) AS sources, max(totals_1h.landed_date) AS landed_date FROM totals_1h GROUP BY dataset, day, nature, survey, ip_version, answering;

CREATE TABLE kinds_1h
(
    `dataset` LowCardinality(String),
    `hour` DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    `nature` UInt8 CODEC(ZSTD(1)),
    `survey` UInt8 CODEC(ZSTD(1)),
    `ip_version` UInt8 CODEC(ZSTD(1)),
    `answering` UInt8 CODEC(ZSTD(1)),
    `packets` SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    `sensor_bits` SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    `sources` AggregateFunction(uniqCombined(12), IPv6) CODEC(ZSTD(1)),
    `landed_date` SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))) ENGINE = AggregatingMergeTree PARTITION BY (dataset, toDate(hour, 'Asia/Tokyo')) ORDER BY (hour, nature, survey, ip_version, answering) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW kinds_1h_view TO kinds_1h
(
    `dataset` LowCardinality(String),
    `hour` DateTime('UTC'),
    `nature` UInt8,
    `survey` UInt8,
    `ip_version` UInt8,
    `answering` UInt8,
    `packets` UInt64,
    `sensor_bits` UInt64,
    `sources` AggregateFunction(uniqCombined(12), IPv6),
    `landed_date` SimpleAggregateFunction(max, Date)) AS SELECT dataset, hour, nature, survey, ip_version, answering, sum(totals_1h.packets) AS packets, groupBitOr(totals_1h.sensor_bits) AS sensor_bits, uniqCombinedMergeState(12)(totals_1h.sources) AS sources, max(totals_1h.landed_date) AS landed_date FROM totals_1h GROUP BY dataset, hour, nature, survey, ip_version, answering;

CREATE TABLE lost_batches
(
    `dataset` LowCardinality(String),
    `sensor` UInt32 CODEC(ZSTD(1)),
    `epoch` UInt32 CODEC(ZSTD(1)),
    `first_seq` UInt64 CODEC(ZSTD(1)),
    `last_seq` UInt64 CODEC(ZSTD(1)),
    `region` LowCardinality(String) CODEC(ZSTD(1)),
    `window_start_at` DateTime64(6, 'UTC') CODEC(ZSTD(1)),
    `window_end_at` DateTime64(6, 'UTC') CODEC(ZSTD(1)),
    `landed_at` DateTime64(6, 'UTC') CODEC(ZSTD(1)),
    `block` UUID CODEC(ZSTD(1))) ENGINE = ReplacingMergeTree PARTITION BY (dataset, toDate(window_start_at, 'Asia/Tokyo')) ORDER BY (sensor, epoch, first_seq, last_seq) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE TABLE networks_1d
(
    `dataset` LowCardinality(String),
    `day` Date CODEC(ZSTD(1)),
    `asn` UInt32 CODEC(ZSTD(1)),
    `nature` UInt8 CODEC(ZSTD(1)),
    `survey` UInt8 CODEC(ZSTD(1)),
    `ip_version` UInt8 CODEC(ZSTD(1)),
    `answering` UInt8 CODEC(ZSTD(1)),
    `packets` SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    `sensor_bits` SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    `landed_date` SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))) ENGINE = AggregatingMergeTree PARTITION BY (dataset, day) ORDER BY (day, asn, nature, survey, ip_version, answering) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW networks_1d_view TO networks_1d
(
    `dataset` LowCardinality(String),
    `day` Date,
    `asn` UInt32,
    `nature` UInt8,
    `survey` UInt8,
    `ip_version` UInt8,
    `answering` UInt8,
    `packets` UInt64,
    `sensor_bits` UInt64,
    `landed_date` SimpleAggregateFunction(max, Date)) AS SELECT dataset, toDate(hour, 'Asia/Tokyo') AS day, asn, nature, survey, ip_version, answering, sum(networks_1h.packets) AS packets, groupBitOr(networks_1h.sensor_bits) AS sensor_bits, max(networks_1h.landed_date) AS landed_date FROM networks_1h GROUP BY dataset, day, asn, nature, survey, ip_version, answering;

CREATE TABLE networks_1h
(
    `dataset` LowCardinality(String),
    `hour` DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    `asn` UInt32 CODEC(ZSTD(1)),
    `nature` UInt8 CODEC(ZSTD(1)),
    `survey` UInt8 CODEC(ZSTD(1)),
    `ip_version` UInt8 CODEC(ZSTD(1)),
    `answering` UInt8 CODEC(ZSTD(1)),
    `packets` SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    `sensor_bits` SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    `sources` AggregateFunction(uniqCombined(12), IPv6) CODEC(ZSTD(1)),
    `landed_date` SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))) ENGINE = AggregatingMergeTree PARTITION BY (dataset, toDate(hour, 'Asia/Tokyo')) PRIMARY KEY (hour, asn, nature, survey, ip_version) ORDER BY (hour, asn, nature, survey, ip_version, answering) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW networks_1h_view TO networks_1h
(
    `dataset` LowCardinality(String),
    `hour` DateTime('UTC'),
    `asn` UInt32,
    `nature` UInt8,
    `survey` UInt8,
    `ip_version` UInt8,
    `answering` UInt8,
    `packets` UInt64,
    `sensor_bits` UInt64,
    `sources` AggregateFunction(uniqCombined(12), IPv6),
    `landed_date` Date) AS SELECT dataset, toTimeZone(toStartOfHour(observed_at, 'Asia/Tokyo'), 'UTC') AS hour, asn, nature, survey, ip_version, answering, count() AS packets, groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits, uniqCombinedState(12)(src_addr) AS sources, toDate(max(landed_at), 'Asia/Tokyo') AS landed_date FROM packets GROUP BY dataset, hour, asn, nature, survey, ip_version, answering;

CREATE TABLE networks_regions_1d
(
    `dataset` LowCardinality(String),
    `day` Date CODEC(ZSTD(1)),
    `asn` UInt32 CODEC(ZSTD(1)),
    `region` LowCardinality(String) CODEC(ZSTD(1)),
    `country` LowCardinality(String) CODEC(ZSTD(1)),
    `nature` UInt8 CODEC(ZSTD(1)),
    `survey` UInt8 CODEC(ZSTD(1)),
    `ip_version` UInt8 CODEC(ZSTD(1)),
    `answering` UInt8 CODEC(ZSTD(1)),
    `packets` SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    `sensor_bits` SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    `landed_date` SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))) ENGINE = AggregatingMergeTree PARTITION BY (dataset, day) PRIMARY KEY (day, asn, region, nature, survey, ip_version) ORDER BY (day, asn, region, nature, survey, ip_version, answering, country) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW networks_regions_1d_view TO networks_regions_1d
(
    `dataset` LowCardinality(String),
    `day` Date,
    `asn` UInt32,
    `region` LowCardinality(String),
    `country` LowCardinality(String),
    `nature` UInt8,
    `survey` UInt8,
    `ip_version` UInt8,
    `answering` UInt8,
    `packets` UInt64,
    `sensor_bits` UInt64,
    `landed_date` Date) AS SELECT dataset, toDate(observed_at, 'Asia/Tokyo') AS day, asn, region, country, nature, survey, ip_version, answering, count() AS packets, groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits, toDate(max(landed_at), 'Asia/Tokyo') AS landed_date FROM packets GROUP BY dataset, day, asn, region, country, nature, survey, ip_version, answering;

CREATE TABLE packets
(
    `dataset` LowCardinality(String),
    `sensor` UInt32 CODEC(T64, ZSTD(1)),
    `epoch` UInt32 CODEC(ZSTD(1)),
    `batch_seq` UInt64 CODEC(T64, ZSTD(1)),
    `row` UInt32 CODEC(T64, ZSTD(1)),
    `region` LowCardinality(String) CODEC(ZSTD(1)),
    `answering` UInt8 CODEC(ZSTD(1)),
    `observed_at` DateTime64(6, 'UTC') CODEC(T64, ZSTD(1)),
    `ip_version` UInt8 CODEC(ZSTD(1)),
    `src_addr` IPv6 CODEC(ZSTD(1)),
    `dst_addr` IPv6 CODEC(ZSTD(1)),
    `protocol` UInt8 CODEC(ZSTD(1)),
    `src_port` UInt16 CODEC(ZSTD(1)),
    `dst_port` UInt16 CODEC(ZSTD(1)),
    `icmp_type` UInt8 CODEC(ZSTD(1)),
    `icmp_code` UInt8 CODEC(ZSTD(1)),
    `tcp_flags` UInt16 CODEC(ZSTD(1)),
    `tcp_seq` UInt32 CODEC(ZSTD(1)),
    `tcp_ack` UInt32 CODEC(ZSTD(1)),
    `tcp_window` UInt16 CODEC(ZSTD(1)),
    `tcp_options` String CODEC(ZSTD(1)),
    `ttl` UInt8 CODEC(ZSTD(1)),
    `ip_id` UInt32 CODEC(ZSTD(1)),
    `ip_df` UInt8 CODEC(ZSTD(1)),
    `ip_mf` UInt8 CODEC(ZSTD(1)),
    `fragment_offset` UInt16 CODEC(ZSTD(1)),
    `tos` UInt8 CODEC(ZSTD(1)),
    `total_length` UInt32 CODEC(ZSTD(1)),
    `vlan` UInt16 CODEC(ZSTD(1)),
    `payload_length` UInt32 CODEC(ZSTD(1)),
    `payload_hash` UInt64 CODEC(ZSTD(1)),
    `payload` String CODEC(ZSTD(3)),
    `parse_marks` UInt16 CODEC(ZSTD(1)),
    `nature` UInt8 CODEC(ZSTD(1)),
    `validity` UInt8 CODEC(ZSTD(1)),
    `probe` LowCardinality(String) CODEC(ZSTD(1)),
    `hints` UInt32 CODEC(ZSTD(1)),
    `rule_version` UInt16 CODEC(ZSTD(1)),
    `tcp_fp` LowCardinality(String) CODEC(ZSTD(1)),
    `country` LowCardinality(String) CODEC(ZSTD(1)),
    `asn` UInt32 CODEC(ZSTD(1)),
    `survey` UInt8 CODEC(ZSTD(1)),
    `actor` LowCardinality(String) CODEC(ZSTD(1)),
    `landed_at` DateTime64(6, 'UTC') CODEC(GCD, T64, ZSTD(1))) ENGINE = MergeTree PARTITION BY (dataset, toDate(observed_at, 'Asia/Tokyo')) ORDER BY (toStartOfHour(observed_at, 'Asia/Tokyo'), src_addr, dst_port, observed_at) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE TABLE packets_excluded
(
    `dataset` LowCardinality(String),
    `sensor` UInt32 CODEC(T64, ZSTD(1)),
    `epoch` UInt32 CODEC(ZSTD(1)),
    `batch_seq` UInt64 CODEC(T64, ZSTD(1)),
    `row` UInt32 CODEC(T64, ZSTD(1)),
    `region` LowCardinality(String) CODEC(ZSTD(1)),
    `answering` UInt8 CODEC(ZSTD(1)),
    `observed_at` DateTime64(6, 'UTC') CODEC(T64, ZSTD(1)),
    `ip_version` UInt8 CODEC(ZSTD(1)),
    `src_addr` IPv6 CODEC(ZSTD(1)),
    `dst_addr` IPv6 CODEC(ZSTD(1)),
    `protocol` UInt8 CODEC(ZSTD(1)),
    `src_port` UInt16 CODEC(ZSTD(1)),
    `dst_port` UInt16 CODEC(ZSTD(1)),
    `icmp_type` UInt8 CODEC(ZSTD(1)),
    `icmp_code` UInt8 CODEC(ZSTD(1)),
    `tcp_flags` UInt16 CODEC(ZSTD(1)),
    `tcp_seq` UInt32 CODEC(ZSTD(1)),
    `tcp_ack` UInt32 CODEC(ZSTD(1)),
    `tcp_window` UInt16 CODEC(ZSTD(1)),
    `tcp_options` String CODEC(ZSTD(1)),
    `ttl` UInt8 CODEC(ZSTD(1)),
    `ip_id` UInt32 CODEC(ZSTD(1)),
    `ip_df` UInt8 CODEC(ZSTD(1)),
    `ip_mf` UInt8 CODEC(ZSTD(1)),
    `fragment_offset` UInt16 CODEC(ZSTD(1)),
    `tos` UInt8 CODEC(ZSTD(1)),
    `total_length` UInt32 CODEC(ZSTD(1)),
    `vlan` UInt16 CODEC(ZSTD(1)),
    `payload_length` UInt32 CODEC(ZSTD(1)),
    `payload_hash` UInt64 CODEC(ZSTD(1)),
    `payload` String CODEC(ZSTD(3)),
    `parse_marks` UInt16 CODEC(ZSTD(1)),
    `nature` UInt8 CODEC(ZSTD(1)),
    `validity` UInt8 CODEC(ZSTD(1)),
    `probe` LowCardinality(String) CODEC(ZSTD(1)),
    `hints` UInt32 CODEC(ZSTD(1)),
    `rule_version` UInt16 CODEC(ZSTD(1)),
    `tcp_fp` LowCardinality(String) CODEC(ZSTD(1)),
    `country` LowCardinality(String) CODEC(ZSTD(1)),
    `asn` UInt32 CODEC(ZSTD(1)),
    `survey` UInt8 CODEC(ZSTD(1)),
    `actor` LowCardinality(String) CODEC(ZSTD(1)),
    `landed_at` DateTime64(6, 'UTC') CODEC(GCD, T64, ZSTD(1))) ENGINE = ReplacingMergeTree PARTITION BY (dataset, toDate(observed_at, 'Asia/Tokyo')) ORDER BY (sensor, epoch, batch_seq, row) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 8192;

CREATE TABLE payload_examples
(
    `dataset` LowCardinality(String),
    `day` Date DEFAULT toDate(observed_at, 'Asia/Tokyo') CODEC(ZSTD(1)),
    `payload_hash` UInt64 CODEC(ZSTD(1)),
    `sensor` UInt32 CODEC(ZSTD(1)),
    `epoch` UInt32 CODEC(ZSTD(1)),
    `batch_seq` UInt64 CODEC(ZSTD(1)),
    `row` UInt32 CODEC(ZSTD(1)),
    `observed_at` DateTime64(6, 'UTC') CODEC(ZSTD(1)),
    `src_addr` IPv6 CODEC(ZSTD(1)),
    `protocol` UInt8 CODEC(ZSTD(1)),
    `dst_port` UInt16 CODEC(ZSTD(1)),
    `payload_length` UInt32 CODEC(ZSTD(1)),
    `payload` String CODEC(ZSTD(3)),
    `landed_at` DateTime64(6, 'UTC') CODEC(ZSTD(1))) ENGINE = ReplacingMergeTree PARTITION BY (dataset, day) ORDER BY (payload_hash, sensor, epoch, batch_seq, row) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE TABLE payload_examples_excluded
(
    `dataset` LowCardinality(String),
    `day` Date DEFAULT toDate(observed_at, 'Asia/Tokyo') CODEC(ZSTD(1)),
    `payload_hash` UInt64 CODEC(ZSTD(1)),
    `sensor` UInt32 CODEC(ZSTD(1)),
    `epoch` UInt32 CODEC(ZSTD(1)),
    `batch_seq` UInt64 CODEC(ZSTD(1)),
    `row` UInt32 CODEC(ZSTD(1)),
    `observed_at` DateTime64(6, 'UTC') CODEC(ZSTD(1)),
    `src_addr` IPv6 CODEC(ZSTD(1)),
    `protocol` UInt8 CODEC(ZSTD(1)),
    `dst_port` UInt16 CODEC(ZSTD(1)),
    `payload_length` UInt32 CODEC(ZSTD(1)),
    `payload` String CODEC(ZSTD(3)),
    `landed_at` DateTime64(6, 'UTC') CODEC(ZSTD(1))) ENGINE = ReplacingMergeTree PARTITION BY (dataset, day) ORDER BY (sensor, epoch, batch_seq, row) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 8192;

CREATE TABLE payloads_1d
(
    `dataset` LowCardinality(String),
    `day` Date CODEC(ZSTD(1)),
    `payload_hash` UInt64 CODEC(ZSTD(1)),
    `protocol` UInt8 CODEC(ZSTD(1)),
    `dst_port` UInt16 CODEC(ZSTD(1)),
    `probe` LowCardinality(String) CODEC(ZSTD(1)),
    `nature` UInt8 CODEC(ZSTD(1)),
    `survey` UInt8 CODEC(ZSTD(1)),
    `ip_version` UInt8 CODEC(ZSTD(1)),
    `answering` UInt8 CODEC(ZSTD(1)),
    `packets` SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    `first_seen_at` SimpleAggregateFunction(min, DateTime('UTC')) CODEC(T64, ZSTD(1)),
    `sensor_bits` SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    `landed_date` SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))) ENGINE = AggregatingMergeTree PARTITION BY (dataset, day) ORDER BY (day, payload_hash, protocol, dst_port, probe, nature, survey, ip_version, answering) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW payloads_1d_view TO payloads_1d
(
    `dataset` LowCardinality(String),
    `day` Date,
    `payload_hash` UInt64,
    `protocol` UInt8,
    `dst_port` UInt16,
    `probe` LowCardinality(String),
    `nature` UInt8,
    `survey` UInt8,
    `ip_version` UInt8,
    `answering` UInt8,
    `packets` UInt64,
    `first_seen_at` DateTime('UTC'),
    `sensor_bits` UInt64,
    `landed_date` Date) AS SELECT dataset, toDate(observed_at, 'Asia/Tokyo') AS day, payload_hash, protocol, dst_port, probe, nature, survey, ip_version, answering, count() AS packets, toDateTime(min(observed_at), 'UTC') AS first_seen_at, groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits, toDate(max(landed_at), 'Asia/Tokyo') AS landed_date FROM packets WHERE payload_hash != 0 GROUP BY dataset, day, payload_hash, protocol, dst_port, probe, nature, survey, ip_version, answering;

CREATE TABLE ports_1d
(
    `dataset` LowCardinality(String),
    `day` Date CODEC(ZSTD(1)),
    `protocol` UInt8 CODEC(ZSTD(1)),
    `dst_port` UInt16 CODEC(ZSTD(1)),
    `nature` UInt8 CODEC(ZSTD(1)),
    `survey` UInt8 CODEC(ZSTD(1)),
    `ip_version` UInt8 CODEC(ZSTD(1)),
    `answering` UInt8 CODEC(ZSTD(1)),
    `packets` SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    `sensor_bits` SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    `sensors` AggregateFunction(groupBitmap, UInt32) CODEC(ZSTD(1)),
    `landed_date` SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))) ENGINE = AggregatingMergeTree PARTITION BY (dataset, day) ORDER BY (day, protocol, dst_port, nature, survey, ip_version, answering) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW ports_1d_view TO ports_1d
(
    `dataset` LowCardinality(String),
    `day` Date,
    `protocol` UInt8,
    `dst_port` UInt16,
    `nature` UInt8,
    `survey` UInt8,
    `ip_version` UInt8,
    `answering` UInt8,
    `packets` UInt64,
    `sensor_bits` UInt64,
    `sensors` AggregateFunction(groupBitmap, UInt32),
    `landed_date` Date) AS SELECT dataset, toDate(observed_at, 'Asia/Tokyo') AS day, protocol, dst_port, nature, survey, ip_version, answering, count() AS packets, groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits, groupBitmapState(sensor) AS sensors, toDate(max(landed_at), 'Asia/Tokyo') AS landed_date FROM packets GROUP BY dataset, day, protocol, dst_port, nature, survey, ip_version, answering;

CREATE TABLE ports_1h
(
    `dataset` LowCardinality(String),
    `hour` DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    `protocol` UInt8 CODEC(ZSTD(1)),
    `dst_port` UInt16 CODEC(ZSTD(1)),
    `nature` UInt8 CODEC(ZSTD(1)),
    `survey` UInt8 CODEC(ZSTD(1)),
    `ip_version` UInt8 CODEC(ZSTD(1)),
    `answering` UInt8 CODEC(ZSTD(1)),
    `packets` SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    `sensor_bits` SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    `sources` AggregateFunction(uniqCombined(12), IPv6) CODEC(ZSTD(1)),
    `landed_date` SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))) ENGINE = AggregatingMergeTree PARTITION BY (dataset, toDate(hour, 'Asia/Tokyo')) PRIMARY KEY (hour, protocol, dst_port, nature, survey, ip_version) ORDER BY (hour, protocol, dst_port, nature, survey, ip_version, answering) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW ports_1h_view TO ports_1h
(
    `dataset` LowCardinality(String),
    `hour` DateTime('UTC'),
    `protocol` UInt8,
    `dst_port` UInt16,
    `nature` UInt8,
    `survey` UInt8,
    `ip_version` UInt8,
    `answering` UInt8,
    `packets` UInt64,
    `sensor_bits` UInt64,
    `sources` AggregateFunction(uniqCombined(12), IPv6),
    `landed_date` Date) AS SELECT dataset, toTimeZone(toStartOfHour(observed_at, 'Asia/Tokyo'), 'UTC') AS hour, protocol, dst_port, nature, survey, ip_version, answering, count() AS packets, groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits, uniqCombinedState(12)(src_addr) AS sources, toDate(max(landed_at), 'Asia/Tokyo') AS landed_date FROM packets GROUP BY dataset, hour, protocol, dst_port, nature, survey, ip_version, answering;

CREATE TABLE ports_countries_1d
(
    `dataset` LowCardinality(String),
    `day` Date CODEC(ZSTD(1)),
    `protocol` UInt8 CODEC(ZSTD(1)),
    `dst_port` UInt16 CODEC(ZSTD(1)),
    `country` LowCardinality(String) CODEC(ZSTD(1)),
    `nature` UInt8 CODEC(ZSTD(1)),
    `survey` UInt8 CODEC(ZSTD(1)),
    `ip_version` UInt8 CODEC(ZSTD(1)),
    `answering` UInt8 CODEC(ZSTD(1)),
    `packets` SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    `sensor_bits` SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    `landed_date` SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))) ENGINE = AggregatingMergeTree PARTITION BY (dataset, day) PRIMARY KEY (day, protocol, dst_port, country, nature, survey, ip_version) ORDER BY (day, protocol, dst_port, country, nature, survey, ip_version, answering) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW ports_countries_1d_view TO ports_countries_1d
(
    `dataset` LowCardinality(String),
    `day` Date,
    `protocol` UInt8,
    `dst_port` UInt16,
    `country` LowCardinality(String),
    `nature` UInt8,
    `survey` UInt8,
    `ip_version` UInt8,
    `answering` UInt8,
    `packets` UInt64,
    `sensor_bits` UInt64,
    `landed_date` Date) AS SELECT dataset, toDate(observed_at, 'Asia/Tokyo') AS day, protocol, dst_port, country, nature, survey, ip_version, answering, count() AS packets, groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits, toDate(max(landed_at), 'Asia/Tokyo') AS landed_date FROM packets GROUP BY dataset, day, protocol, dst_port, country, nature, survey, ip_version, answering;

CREATE TABLE ports_regions_1d
(
    `dataset` LowCardinality(String),
    `day` Date CODEC(ZSTD(1)),
    `protocol` UInt8 CODEC(ZSTD(1)),
    `dst_port` UInt16 CODEC(ZSTD(1)),
    `region` LowCardinality(String) CODEC(ZSTD(1)),
    `nature` UInt8 CODEC(ZSTD(1)),
    `survey` UInt8 CODEC(ZSTD(1)),
    `ip_version` UInt8 CODEC(ZSTD(1)),
    `answering` UInt8 CODEC(ZSTD(1)),
    `packets` SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    `sensor_bits` SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    `landed_date` SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))) ENGINE = AggregatingMergeTree PARTITION BY (dataset, day) PRIMARY KEY (day, protocol, dst_port, region, nature, survey, ip_version) ORDER BY (day, protocol, dst_port, region, nature, survey, ip_version, answering) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW ports_regions_1d_view TO ports_regions_1d
(
    `dataset` LowCardinality(String),
    `day` Date,
    `protocol` UInt8,
    `dst_port` UInt16,
    `region` LowCardinality(String),
    `nature` UInt8,
    `survey` UInt8,
    `ip_version` UInt8,
    `answering` UInt8,
    `packets` UInt64,
    `sensor_bits` UInt64,
    `landed_date` Date) AS SELECT dataset, toDate(observed_at, 'Asia/Tokyo') AS day, protocol, dst_port, region, nature, survey, ip_version, answering, count() AS packets, groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits, toDate(max(landed_at), 'Asia/Tokyo') AS landed_date FROM packets GROUP BY dataset, day, protocol, dst_port, region, nature, survey, ip_version, answering;

CREATE TABLE probes_1d
(
    `dataset` LowCardinality(String),
    `day` Date CODEC(ZSTD(1)),
    `probe` LowCardinality(String) CODEC(ZSTD(1)),
    `protocol` UInt8 CODEC(ZSTD(1)),
    `dst_port` UInt16 CODEC(ZSTD(1)),
    `nature` UInt8 CODEC(ZSTD(1)),
    `survey` UInt8 CODEC(ZSTD(1)),
    `ip_version` UInt8 CODEC(ZSTD(1)),
    `answering` UInt8 CODEC(ZSTD(1)),
    `packets` SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    `sources` AggregateFunction(uniqCombined(12), IPv6) CODEC(ZSTD(1)),
    `sensor_bits` SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    `sensors` AggregateFunction(groupBitmap, UInt32) CODEC(ZSTD(1)),
    `landed_date` SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))) ENGINE = AggregatingMergeTree PARTITION BY (dataset, day) ORDER BY (day, probe, protocol, dst_port, nature, survey, ip_version, answering) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW probes_1d_view TO probes_1d
(
    `dataset` LowCardinality(String),
    `day` Date,
    `probe` LowCardinality(String),
    `protocol` UInt8,
    `dst_port` UInt16,
    `nature` UInt8,
    `survey` UInt8,
    `ip_version` UInt8,
    `answering` UInt8,
    `packets` UInt64,
    `sources` AggregateFunction(uniqCombined(12), IPv6),
    `sensor_bits` UInt64,
    `sensors` AggregateFunction(groupBitmap, UInt32),
    `landed_date` Date) AS SELECT dataset, toDate(observed_at, 'Asia/Tokyo') AS day, probe, protocol, dst_port, nature, survey, ip_version, answering, count() AS packets, uniqCombinedState(12)(src_addr) AS sources, groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits, groupBitmapState(sensor) AS sensors, toDate(max(landed_at), 'Asia/Tokyo') AS landed_date FROM packets WHERE probe != '' GROUP BY dataset, day, probe, protocol, dst_port, nature, survey, ip_version, answering;

CREATE TABLE probes_1h
(
    `dataset` LowCardinality(String),
    `hour` DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    `probe` LowCardinality(String) CODEC(ZSTD(1)),
    `protocol` UInt8 CODEC(ZSTD(1)),
    `dst_port` UInt16 CODEC(ZSTD(1)),
    `nature` UInt8 CODEC(ZSTD(1)),
    `survey` UInt8 CODEC(ZSTD(1)),
    `ip_version` UInt8 CODEC(ZSTD(1)),
    `answering` UInt8 CODEC(ZSTD(1)),
    `packets` SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    `sensor_bits` SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    `sources` AggregateFunction(uniqCombined(12), IPv6) CODEC(ZSTD(1)),
    `landed_date` SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))) ENGINE = AggregatingMergeTree PARTITION BY (dataset, toDate(hour, 'Asia/Tokyo')) ORDER BY (hour, probe, protocol, dst_port, nature, survey, ip_version, answering) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW probes_1h_view TO probes_1h
(
    `dataset` LowCardinality(String),
    `hour` DateTime('UTC'),
    `probe` LowCardinality(String),
    `protocol` UInt8,
    `dst_port` UInt16,
    `nature` UInt8,
    `survey` UInt8,
    `ip_version` UInt8,
    `answering` UInt8,
    `packets` UInt64,
    `sensor_bits` UInt64,
    `sources` AggregateFunction(uniqCombined(12), IPv6),
    `landed_date` Date) AS SELECT dataset, toTimeZone(toStartOfHour(observed_at, 'Asia/Tokyo'), 'UTC') AS hour, probe, protocol, dst_port, nature, survey, ip_version, answering, count() AS packets, groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits, uniqCombinedState(12)(src_addr) AS sources, toDate(max(landed_at), 'Asia/Tokyo') AS landed_date FROM packets WHERE probe != '' GROUP BY dataset, hour, probe, protocol, dst_port, nature, survey, ip_version, answering;

CREATE TABLE removals
(
    `dataset` LowCardinality(String),
    `day` Date,
    `table` LowCardinality(String),
    `rows` UInt64,
    `removed_at` DateTime64(6, 'UTC')) ENGINE = MergeTree ORDER BY (dataset, day,
    `table`, removed_at) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 8192;

CREATE TABLE schema_migrations
(
    `number` UInt32,
    `name` String,
    `digest` String,
    `applied_at` DateTime64(6, 'UTC')) ENGINE = ReplacingMergeTree ORDER BY number SETTINGS index_granularity = 8192;

CREATE TABLE sources_1d
(
    `dataset` LowCardinality(String),
    `day` Date CODEC(ZSTD(1)),
    `src_addr` IPv6 CODEC(ZSTD(1)),
    `nature` UInt8 CODEC(ZSTD(1)),
    `survey` UInt8 CODEC(ZSTD(1)),
    `ip_version` UInt8 CODEC(ZSTD(1)),
    `answering` UInt8 CODEC(ZSTD(1)),
    `validity` UInt8 CODEC(ZSTD(1)),
    `country` SimpleAggregateFunction(anyLast, LowCardinality(String)) CODEC(ZSTD(1)),
    `asn` SimpleAggregateFunction(anyLast, UInt32) CODEC(ZSTD(1)),
    `packets` SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    `bytes` SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    `first_seen_at` SimpleAggregateFunction(min, DateTime('UTC')) CODEC(T64, ZSTD(1)),
    `last_seen_at` SimpleAggregateFunction(max, DateTime('UTC')) CODEC(T64, ZSTD(1)),
    `syn_packets` SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    `udp_packets` SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    `echo_packets` SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    `hint_counts` SimpleAggregateFunction(sumMap, Map(UInt8, UInt64)) CODEC(ZSTD(1)),
    `nmap_folds` SimpleAggregateFunction(groupUniqArrayArray(16), Array(UInt16)) CODEC(T64, ZSTD(1)),
    `some_sensors` SimpleAggregateFunction(groupUniqArrayArray(16), Array(UInt32)) CODEC(T64, ZSTD(1)),
    `landed_date` SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))) ENGINE = AggregatingMergeTree PARTITION BY (dataset, day) PRIMARY KEY (src_addr, nature, survey, ip_version) ORDER BY (src_addr, nature, survey, ip_version, answering, validity) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW sources_1d_view TO sources_1d
(
    `dataset` LowCardinality(String),
    `day` Date,
    `src_addr` IPv6,
    `nature` UInt8,
    `survey` UInt8,
    `ip_version` UInt8,
    `answering` UInt8,
    `validity` UInt8,
    `country` String,
    `asn` UInt32,
    `packets` UInt64,
    `bytes` UInt64,
    `first_seen_at` DateTime('UTC'),
    `last_seen_at` DateTime('UTC'),
    `syn_packets` UInt64,
    `udp_packets` UInt64,
    `echo_packets` UInt64,
    `hint_counts` Map(UInt8, UInt64),
    `nmap_folds` Array(UInt16),
    `some_sensors` Array(UInt32),
    `landed_date` Date) AS SELECT dataset, toDate(observed_at, 'Asia/Tokyo') AS day, src_addr, nature, survey, ip_version, answering, validity, anyLast(country) AS country, anyLast(asn) AS asn, count() AS packets, sum(total_length) AS bytes, toDateTime(min(observed_at), 'UTC') AS first_seen_at, toDateTime(max(observed_at), 'UTC') AS last_seen_at, countIf((protocol = 6) AND (bitAnd(tcp_flags, 23) = 2)) AS syn_packets, countIf(protocol = 17) AS udp_packets, countIf((protocol = 1) AND (icmp_type = 8)) AS echo_packets, sumMap(mapFromArrays(CAST(bitPositionsToArray(hints), 'Array(UInt8)'), arrayMap(bit -> CAST('1', 'UInt64'), bitPositionsToArray(hints)))) AS hint_counts, groupUniqArrayIf(16)(toUInt16(bitXor(bitShiftRight(tcp_seq, 16), bitAnd(tcp_seq, 65535))), bitAnd(hints, 32) != 0) AS nmap_folds, groupUniqArray(16)(sensor) AS some_sensors, toDate(max(landed_at), 'Asia/Tokyo') AS landed_date FROM packets GROUP BY dataset, day, src_addr, nature, survey, ip_version, answering, validity;

CREATE TABLE store_meta
(
    `name` String,
    `value` String) ENGINE = ReplacingMergeTree ORDER BY name SETTINGS index_granularity = 8192;

CREATE TABLE totals_1h
(
    `dataset` LowCardinality(String),
    `hour` DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    `region` LowCardinality(String) CODEC(ZSTD(1)),
    `hints` UInt32 CODEC(ZSTD(1)),
    `nature` UInt8 CODEC(ZSTD(1)),
    `survey` UInt8 CODEC(ZSTD(1)),
    `ip_version` UInt8 CODEC(ZSTD(1)),
    `answering` UInt8 CODEC(ZSTD(1)),
    `validity` UInt8 CODEC(ZSTD(1)),
    `packets` SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    `sensor_bits` SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    `bytes` SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    `sources` AggregateFunction(uniqCombined(12), IPv6) CODEC(ZSTD(1)),
    `sensors` AggregateFunction(uniqCombined(12), UInt32) CODEC(ZSTD(1)),
    `landed_date` SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))) ENGINE = AggregatingMergeTree PARTITION BY (dataset, toDate(hour, 'Asia/Tokyo')) PRIMARY KEY (hour, region, hints, nature, survey, ip_version) ORDER BY (hour, region, hints, nature, survey, ip_version, answering, validity) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000, index_granularity = 8192;

CREATE MATERIALIZED VIEW totals_1h_view TO totals_1h
(
    `dataset` LowCardinality(String),
    `hour` DateTime('UTC'),
    `region` LowCardinality(String),
    `hints` UInt32,
    `nature` UInt8,
    `survey` UInt8,
    `ip_version` UInt8,
    `answering` UInt8,
    `validity` UInt8,
    `packets` UInt64,
    `sensor_bits` UInt64,
    `bytes` UInt64,
    `sources` AggregateFunction(uniqCombined(12), IPv6),
    `sensors` AggregateFunction(uniqCombined(12), UInt32),
    `landed_date` Date) AS SELECT dataset, toTimeZone(toStartOfHour(observed_at, 'Asia/Tokyo'), 'UTC') AS hour, region, hints, nature, survey, ip_version, answering, validity, count() AS packets, groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits, sum(total_length) AS bytes, uniqCombinedState(12)(src_addr) AS sources, uniqCombinedState(12)(sensor) AS sensors, toDate(max(landed_at), 'Asia/Tokyo') AS landed_date FROM packets GROUP BY dataset, hour, region, hints, nature, survey, ip_version, answering, validity;
