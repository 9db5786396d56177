-- rebuild: days
-- Narrow roll-ups, so that a screen reads what it shows and no more: labels by hour, the headline figures, countries and
-- networks by day without a second key, and coverage without the sensors. What an hourly roll-up has already added up is
-- made from that one and not from packets again (FROM totals_1h …), which costs the loader next to nothing.

-- By hour and kind of traffic alone: the headline figures.
CREATE TABLE IF NOT EXISTS kinds_1h
(
    dataset LowCardinality(String),
    hour DateTime('UTC') CODEC(Delta, ZSTD(1)),
    nature UInt8 CODEC(ZSTD(1)),
    survey UInt8 CODEC(ZSTD(1)),
    ip_version UInt8 CODEC(ZSTD(1)),
    answering UInt8 CODEC(ZSTD(1)),
    packets SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    sensor_bits SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    sources AggregateFunction(uniqCombined(12), IPv6) CODEC(ZSTD(1)),
    landed_date SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY (dataset, toDate(hour, '$zone'))
ORDER BY (hour, nature, survey, ip_version, answering)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS kinds_1h_view TO kinds_1h AS
SELECT
    dataset,
    hour,
    nature,
    survey,
    ip_version,
    answering,
    sum(totals_1h.packets) AS packets,
    groupBitOr(totals_1h.sensor_bits) AS sensor_bits,
    uniqCombinedMergeState(12)(totals_1h.sources) AS sources,
    max(totals_1h.landed_date) AS landed_date
FROM totals_1h
GROUP BY dataset, hour, nature, survey, ip_version, answering;

-- The same by day.
CREATE TABLE IF NOT EXISTS kinds_1d
(
    dataset LowCardinality(String),
    day Date CODEC(ZSTD(1)),
    nature UInt8 CODEC(ZSTD(1)),
    survey UInt8 CODEC(ZSTD(1)),
    ip_version UInt8 CODEC(ZSTD(1)),
    answering UInt8 CODEC(ZSTD(1)),
    packets SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    sensor_bits SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    sources AggregateFunction(uniqCombined(12), IPv6) CODEC(ZSTD(1)),
    landed_date SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY (dataset, day)
ORDER BY (day, nature, survey, ip_version, answering)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS kinds_1d_view TO kinds_1d AS
SELECT
    dataset,
    toDate(hour, '$zone') AS day,
    nature,
    survey,
    ip_version,
    answering,
    sum(totals_1h.packets) AS packets,
    groupBitOr(totals_1h.sensor_bits) AS sensor_bits,
    uniqCombinedMergeState(12)(totals_1h.sources) AS sources,
    max(totals_1h.landed_date) AS landed_date
FROM totals_1h
GROUP BY dataset, day, nature, survey, ip_version, answering;

-- Countries over long periods.
CREATE TABLE IF NOT EXISTS countries_1d
(
    dataset LowCardinality(String),
    day Date CODEC(ZSTD(1)),
    country LowCardinality(String) CODEC(ZSTD(1)),
    nature UInt8 CODEC(ZSTD(1)),
    survey UInt8 CODEC(ZSTD(1)),
    ip_version UInt8 CODEC(ZSTD(1)),
    answering UInt8 CODEC(ZSTD(1)),
    packets SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    sensor_bits SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    sources AggregateFunction(uniqCombined(12), IPv6) CODEC(ZSTD(1)),
    landed_date SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY (dataset, day)
ORDER BY (day, country, nature, survey, ip_version, answering)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS countries_1d_view TO countries_1d AS
SELECT
    dataset,
    toDate(hour, '$zone') AS day,
    country,
    nature,
    survey,
    ip_version,
    answering,
    sum(countries_1h.packets) AS packets,
    groupBitOr(countries_1h.sensor_bits) AS sensor_bits,
    uniqCombinedMergeState(12)(countries_1h.sources) AS sources,
    max(countries_1h.landed_date) AS landed_date
FROM countries_1h
GROUP BY dataset, day, country, nature, survey, ip_version, answering;

-- Networks over long periods, packets only.
CREATE TABLE IF NOT EXISTS networks_1d
(
    dataset LowCardinality(String),
    day Date CODEC(ZSTD(1)),
    asn UInt32 CODEC(ZSTD(1)),
    nature UInt8 CODEC(ZSTD(1)),
    survey UInt8 CODEC(ZSTD(1)),
    ip_version UInt8 CODEC(ZSTD(1)),
    answering UInt8 CODEC(ZSTD(1)),
    packets SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    sensor_bits SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    landed_date SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY (dataset, day)
ORDER BY (day, asn, nature, survey, ip_version, answering)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS networks_1d_view TO networks_1d AS
SELECT
    dataset,
    toDate(hour, '$zone') AS day,
    asn,
    nature,
    survey,
    ip_version,
    answering,
    sum(networks_1h.packets) AS packets,
    groupBitOr(networks_1h.sensor_bits) AS sensor_bits,
    max(networks_1h.landed_date) AS landed_date
FROM networks_1h
GROUP BY dataset, day, asn, nature, survey, ip_version, answering;

-- Labels by hour: survey scanners.
CREATE TABLE IF NOT EXISTS actors_1h
(
    dataset LowCardinality(String),
    hour DateTime('UTC') CODEC(Delta, ZSTD(1)),
    actor LowCardinality(String) CODEC(ZSTD(1)),
    nature UInt8 CODEC(ZSTD(1)),
    survey UInt8 CODEC(ZSTD(1)),
    ip_version UInt8 CODEC(ZSTD(1)),
    answering UInt8 CODEC(ZSTD(1)),
    packets SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    sensor_bits SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    sources AggregateFunction(uniqCombined(12), IPv6) CODEC(ZSTD(1)),
    landed_date SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY (dataset, toDate(hour, '$zone'))
ORDER BY (hour, actor, nature, survey, ip_version, answering)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS actors_1h_view TO actors_1h AS
SELECT
    dataset,
    toTimeZone(toStartOfHour(observed_at, '$zone'), 'UTC') AS hour,
    actor,
    nature,
    survey,
    ip_version,
    answering,
    count() AS packets,
    groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits,
    uniqCombinedState(12)(src_addr) AS sources,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
WHERE survey != 0
GROUP BY dataset, hour, actor, nature, survey, ip_version, answering;

-- Probe labels.
CREATE TABLE IF NOT EXISTS probes_1h
(
    dataset LowCardinality(String),
    hour DateTime('UTC') CODEC(Delta, ZSTD(1)),
    probe LowCardinality(String) CODEC(ZSTD(1)),
    protocol UInt8 CODEC(ZSTD(1)),
    dst_port UInt16 CODEC(ZSTD(1)),
    nature UInt8 CODEC(ZSTD(1)),
    survey UInt8 CODEC(ZSTD(1)),
    ip_version UInt8 CODEC(ZSTD(1)),
    answering UInt8 CODEC(ZSTD(1)),
    packets SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    sensor_bits SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    sources AggregateFunction(uniqCombined(12), IPv6) CODEC(ZSTD(1)),
    landed_date SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY (dataset, toDate(hour, '$zone'))
ORDER BY (hour, probe, protocol, dst_port, nature, survey, ip_version, answering)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS probes_1h_view TO probes_1h AS
SELECT
    dataset,
    toTimeZone(toStartOfHour(observed_at, '$zone'), 'UTC') AS hour,
    probe, protocol, dst_port,
    nature,
    survey,
    ip_version,
    answering,
    count() AS packets,
    groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits,
    uniqCombinedState(12)(src_addr) AS sources,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
WHERE probe != ''
GROUP BY dataset, hour, probe, protocol, dst_port, nature, survey, ip_version, answering;

-- Fingerprints, packets only.
CREATE TABLE IF NOT EXISTS fingerprints_1h
(
    dataset LowCardinality(String),
    hour DateTime('UTC') CODEC(Delta, ZSTD(1)),
    tcp_fp LowCardinality(String) CODEC(ZSTD(1)),
    nature UInt8 CODEC(ZSTD(1)),
    survey UInt8 CODEC(ZSTD(1)),
    ip_version UInt8 CODEC(ZSTD(1)),
    answering UInt8 CODEC(ZSTD(1)),
    packets SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    sensor_bits SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    landed_date SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY (dataset, toDate(hour, '$zone'))
ORDER BY (hour, tcp_fp, nature, survey, ip_version, answering)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS fingerprints_1h_view TO fingerprints_1h AS
SELECT
    dataset,
    toTimeZone(toStartOfHour(observed_at, '$zone'), 'UTC') AS hour,
    tcp_fp,
    nature,
    survey,
    ip_version,
    answering,
    count() AS packets,
    groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
WHERE tcp_fp != ''
GROUP BY dataset, hour, tcp_fp, nature, survey, ip_version, answering;

-- What was watched by hour, without the sensors: their number is kept as a set.
CREATE TABLE IF NOT EXISTS coverage_regions_1h
(
    dataset LowCardinality(String),
    hour DateTime('UTC') CODEC(Delta, ZSTD(1)),
    region LowCardinality(String) CODEC(ZSTD(1)),
    ip_version UInt8 CODEC(ZSTD(1)),
    prefix_length UInt8 CODEC(ZSTD(1)),
    mode LowCardinality(String) CODEC(ZSTD(1)),
    address_seconds SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    sensor_seconds SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    sensors AggregateFunction(groupBitmap, UInt32) CODEC(ZSTD(1)),
    landed_date SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY (dataset, toDate(hour, '$zone'))
ORDER BY (hour, region, ip_version, prefix_length, mode)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS coverage_regions_1h_view TO coverage_regions_1h AS
SELECT
    dataset,
    hour,
    region, ip_version, prefix_length, mode,
    sum(coverage_1h.address_seconds) AS address_seconds,
    sum(coverage_1h.sensor_seconds) AS sensor_seconds,
    groupBitmapStateIf(sensor, coverage_1h.sensor_seconds > 0 OR coverage_1h.address_seconds > 0) AS sensors,
    max(coverage_1h.landed_date) AS landed_date
FROM coverage_1h
GROUP BY dataset, hour, region, ip_version, prefix_length, mode;

-- What was watched by day, without the sensors: their number is kept as a set.
CREATE TABLE IF NOT EXISTS coverage_regions_1d
(
    dataset LowCardinality(String),
    day Date CODEC(ZSTD(1)),
    region LowCardinality(String) CODEC(ZSTD(1)),
    ip_version UInt8 CODEC(ZSTD(1)),
    prefix_length UInt8 CODEC(ZSTD(1)),
    mode LowCardinality(String) CODEC(ZSTD(1)),
    address_seconds SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    sensor_seconds SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    sensors AggregateFunction(groupBitmap, UInt32) CODEC(ZSTD(1)),
    landed_date SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY (dataset, day)
ORDER BY (day, region, ip_version, prefix_length, mode)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS coverage_regions_1d_view TO coverage_regions_1d AS
SELECT
    dataset,
    day,
    region, ip_version, prefix_length, mode,
    sum(coverage_1d.address_seconds) AS address_seconds,
    sum(coverage_1d.sensor_seconds) AS sensor_seconds,
    groupBitmapStateIf(sensor, coverage_1d.sensor_seconds > 0 OR coverage_1d.address_seconds > 0) AS sensors,
    max(coverage_1d.landed_date) AS landed_date
FROM coverage_1d
GROUP BY dataset, day, region, ip_version, prefix_length, mode;
