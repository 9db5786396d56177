-- Roll-ups: what the screens read. Each has the data set, the nature, the survey switch and the IP version in its key.
-- sources and sensors are mergeable sketches: read them with uniqCombinedMerge(12)(sources). A sketch costs 4 bytes for each
-- distinct value of each row, so only keys that gather many packets have one (ADR 0003). landed_date serves retention.
-- Hours and days are those of the installation's zone; an hour is stored as the UTC instant at which it starts.

-- Everything by kind of traffic, tool hints and region: the headline figures and the tool facet.
CREATE TABLE IF NOT EXISTS totals_1h
(
    dataset LowCardinality(String),
    hour DateTime('UTC') CODEC(Delta, ZSTD(1)),
    region LowCardinality(String) CODEC(ZSTD(1)),
    hints UInt32 CODEC(ZSTD(1)),
    nature UInt8 CODEC(ZSTD(1)),
    survey UInt8 CODEC(ZSTD(1)),
    ip_version UInt8 CODEC(ZSTD(1)),
    packets SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    bytes SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    sources AggregateFunction(uniqCombined(12), IPv6) CODEC(ZSTD(1)),
    sensors AggregateFunction(uniqCombined(12), UInt32) CODEC(ZSTD(1)),
    landed_date SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY (dataset, toDate(hour, '$zone'))
ORDER BY (hour, region, hints, nature, survey, ip_version)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS totals_1h_view TO totals_1h AS
SELECT
    dataset,
    toTimeZone(toStartOfHour(observed_at, '$zone'), 'UTC') AS hour,
    region, hints,
    nature,
    survey,
    ip_version,
    count() AS packets,
    sum(total_length) AS bytes,
    uniqCombinedState(12)(src_addr) AS sources,
    uniqCombinedState(12)(sensor) AS sensors,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
GROUP BY dataset, hour, region, hints, nature, survey, ip_version;

-- By service: the port ranking and its series.
CREATE TABLE IF NOT EXISTS ports_1h
(
    dataset LowCardinality(String),
    hour DateTime('UTC') CODEC(Delta, ZSTD(1)),
    protocol UInt8 CODEC(ZSTD(1)),
    dst_port UInt16 CODEC(ZSTD(1)),
    nature UInt8 CODEC(ZSTD(1)),
    survey UInt8 CODEC(ZSTD(1)),
    ip_version UInt8 CODEC(ZSTD(1)),
    packets SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    sources AggregateFunction(uniqCombined(12), IPv6) CODEC(ZSTD(1)),
    landed_date SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY (dataset, toDate(hour, '$zone'))
ORDER BY (hour, protocol, dst_port, nature, survey, ip_version)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS ports_1h_view TO ports_1h AS
SELECT
    dataset,
    toTimeZone(toStartOfHour(observed_at, '$zone'), 'UTC') AS hour,
    protocol, dst_port,
    nature,
    survey,
    ip_version,
    count() AS packets,
    uniqCombinedState(12)(src_addr) AS sources,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
GROUP BY dataset, hour, protocol, dst_port, nature, survey, ip_version;

-- By country of the source and region of the sensor: the map.
CREATE TABLE IF NOT EXISTS countries_1h
(
    dataset LowCardinality(String),
    hour DateTime('UTC') CODEC(Delta, ZSTD(1)),
    country LowCardinality(String) CODEC(ZSTD(1)),
    region LowCardinality(String) CODEC(ZSTD(1)),
    nature UInt8 CODEC(ZSTD(1)),
    survey UInt8 CODEC(ZSTD(1)),
    ip_version UInt8 CODEC(ZSTD(1)),
    packets SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    sources AggregateFunction(uniqCombined(12), IPv6) CODEC(ZSTD(1)),
    landed_date SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY (dataset, toDate(hour, '$zone'))
ORDER BY (hour, country, region, nature, survey, ip_version)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS countries_1h_view TO countries_1h AS
SELECT
    dataset,
    toTimeZone(toStartOfHour(observed_at, '$zone'), 'UTC') AS hour,
    country, region,
    nature,
    survey,
    ip_version,
    count() AS packets,
    uniqCombinedState(12)(src_addr) AS sources,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
GROUP BY dataset, hour, country, region, nature, survey, ip_version;

-- By origin AS.
CREATE TABLE IF NOT EXISTS networks_1h
(
    dataset LowCardinality(String),
    hour DateTime('UTC') CODEC(Delta, ZSTD(1)),
    asn UInt32 CODEC(ZSTD(1)),
    nature UInt8 CODEC(ZSTD(1)),
    survey UInt8 CODEC(ZSTD(1)),
    ip_version UInt8 CODEC(ZSTD(1)),
    packets SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    sources AggregateFunction(uniqCombined(12), IPv6) CODEC(ZSTD(1)),
    landed_date SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY (dataset, toDate(hour, '$zone'))
ORDER BY (hour, asn, nature, survey, ip_version)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS networks_1h_view TO networks_1h AS
SELECT
    dataset,
    toTimeZone(toStartOfHour(observed_at, '$zone'), 'UTC') AS hour,
    asn,
    nature,
    survey,
    ip_version,
    count() AS packets,
    uniqCombinedState(12)(src_addr) AS sources,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
GROUP BY dataset, hour, asn, nature, survey, ip_version;

-- How much each network sends to each region.
CREATE TABLE IF NOT EXISTS networks_regions_1d
(
    dataset LowCardinality(String),
    day Date CODEC(ZSTD(1)),
    asn UInt32 CODEC(ZSTD(1)),
    region LowCardinality(String) CODEC(ZSTD(1)),
    nature UInt8 CODEC(ZSTD(1)),
    survey UInt8 CODEC(ZSTD(1)),
    ip_version UInt8 CODEC(ZSTD(1)),
    packets SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    landed_date SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY (dataset, day)
ORDER BY (day, asn, region, nature, survey, ip_version)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS networks_regions_1d_view TO networks_regions_1d AS
SELECT
    dataset,
    toDate(observed_at, '$zone') AS day,
    asn, region,
    nature,
    survey,
    ip_version,
    count() AS packets,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
GROUP BY dataset, day, asn, region, nature, survey, ip_version;

-- Which services each country asks for.
CREATE TABLE IF NOT EXISTS ports_countries_1d
(
    dataset LowCardinality(String),
    day Date CODEC(ZSTD(1)),
    protocol UInt8 CODEC(ZSTD(1)),
    dst_port UInt16 CODEC(ZSTD(1)),
    country LowCardinality(String) CODEC(ZSTD(1)),
    nature UInt8 CODEC(ZSTD(1)),
    survey UInt8 CODEC(ZSTD(1)),
    ip_version UInt8 CODEC(ZSTD(1)),
    packets SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    landed_date SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY (dataset, day)
ORDER BY (day, protocol, dst_port, country, nature, survey, ip_version)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS ports_countries_1d_view TO ports_countries_1d AS
SELECT
    dataset,
    toDate(observed_at, '$zone') AS day,
    protocol, dst_port, country,
    nature,
    survey,
    ip_version,
    count() AS packets,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
GROUP BY dataset, day, protocol, dst_port, country, nature, survey, ip_version;

-- Which services are asked for in each region.
CREATE TABLE IF NOT EXISTS ports_regions_1d
(
    dataset LowCardinality(String),
    day Date CODEC(ZSTD(1)),
    protocol UInt8 CODEC(ZSTD(1)),
    dst_port UInt16 CODEC(ZSTD(1)),
    region LowCardinality(String) CODEC(ZSTD(1)),
    nature UInt8 CODEC(ZSTD(1)),
    survey UInt8 CODEC(ZSTD(1)),
    ip_version UInt8 CODEC(ZSTD(1)),
    packets SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    landed_date SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY (dataset, day)
ORDER BY (day, protocol, dst_port, region, nature, survey, ip_version)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS ports_regions_1d_view TO ports_regions_1d AS
SELECT
    dataset,
    toDate(observed_at, '$zone') AS day,
    protocol, dst_port, region,
    nature,
    survey,
    ip_version,
    count() AS packets,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
GROUP BY dataset, day, protocol, dst_port, region, nature, survey, ip_version;

-- By TCP fingerprint.
CREATE TABLE IF NOT EXISTS fingerprints_1d
(
    dataset LowCardinality(String),
    day Date CODEC(ZSTD(1)),
    tcp_fp LowCardinality(String) CODEC(ZSTD(1)),
    nature UInt8 CODEC(ZSTD(1)),
    survey UInt8 CODEC(ZSTD(1)),
    ip_version UInt8 CODEC(ZSTD(1)),
    packets SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    sources AggregateFunction(uniqCombined(12), IPv6) CODEC(ZSTD(1)),
    landed_date SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY (dataset, day)
ORDER BY (day, tcp_fp, nature, survey, ip_version)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS fingerprints_1d_view TO fingerprints_1d AS
SELECT
    dataset,
    toDate(observed_at, '$zone') AS day,
    tcp_fp,
    nature,
    survey,
    ip_version,
    count() AS packets,
    uniqCombinedState(12)(src_addr) AS sources,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
GROUP BY dataset, day, tcp_fp, nature, survey, ip_version;
