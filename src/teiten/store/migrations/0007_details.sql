-- rebuild: days
-- More daily roll-ups: breadth of services, fingerprints by service, payloads, probe labels and actors.

-- Each service's day: how many sensors saw it, exactly.
CREATE TABLE IF NOT EXISTS ports_1d
(
    dataset LowCardinality(String),
    day Date CODEC(ZSTD(1)),
    protocol UInt8 CODEC(ZSTD(1)),
    dst_port UInt16 CODEC(ZSTD(1)),
    nature UInt8 CODEC(ZSTD(1)),
    survey UInt8 CODEC(ZSTD(1)),
    ip_version UInt8 CODEC(ZSTD(1)),
    answering UInt8 CODEC(ZSTD(1)),
    packets SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    sensor_bits SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    sensors AggregateFunction(groupBitmap, UInt32) CODEC(ZSTD(1)),
    landed_date SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY (dataset, day)
ORDER BY (day, protocol, dst_port, nature, survey, ip_version, answering)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS ports_1d_view TO ports_1d AS
SELECT
    dataset,
    toDate(observed_at, '$zone') AS day,
    protocol, dst_port,
    nature,
    survey,
    ip_version,
    answering,
    count() AS packets,
    groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits,
    groupBitmapState(sensor) AS sensors,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
GROUP BY dataset, day, protocol, dst_port, nature, survey, ip_version, answering;

-- Which fingerprint asks for which service, and since when: what is new today.
CREATE TABLE IF NOT EXISTS fingerprints_ports_1d
(
    dataset LowCardinality(String),
    day Date CODEC(ZSTD(1)),
    tcp_fp LowCardinality(String) CODEC(ZSTD(1)),
    protocol UInt8 CODEC(ZSTD(1)),
    dst_port UInt16 CODEC(ZSTD(1)),
    nature UInt8 CODEC(ZSTD(1)),
    survey UInt8 CODEC(ZSTD(1)),
    ip_version UInt8 CODEC(ZSTD(1)),
    answering UInt8 CODEC(ZSTD(1)),
    packets SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    first_seen_at SimpleAggregateFunction(min, DateTime('UTC')) CODEC(T64, ZSTD(1)),
    sensor_bits SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    landed_date SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY (dataset, day)
ORDER BY (day, tcp_fp, protocol, dst_port, nature, survey, ip_version, answering)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS fingerprints_ports_1d_view TO fingerprints_ports_1d AS
SELECT
    dataset,
    toDate(observed_at, '$zone') AS day,
    tcp_fp, protocol, dst_port,
    nature,
    survey,
    ip_version,
    answering,
    count() AS packets,
    toDateTime(min(observed_at), 'UTC') AS first_seen_at,
    groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
WHERE tcp_fp != ''
GROUP BY dataset, day, tcp_fp, protocol, dst_port, nature, survey, ip_version, answering;

-- Payloads by the hash of their captured bytes.
CREATE TABLE IF NOT EXISTS payloads_1d
(
    dataset LowCardinality(String),
    day Date CODEC(ZSTD(1)),
    payload_hash UInt64 CODEC(ZSTD(1)),
    protocol UInt8 CODEC(ZSTD(1)),
    dst_port UInt16 CODEC(ZSTD(1)),
    probe LowCardinality(String) CODEC(ZSTD(1)),
    nature UInt8 CODEC(ZSTD(1)),
    survey UInt8 CODEC(ZSTD(1)),
    ip_version UInt8 CODEC(ZSTD(1)),
    answering UInt8 CODEC(ZSTD(1)),
    packets SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    first_seen_at SimpleAggregateFunction(min, DateTime('UTC')) CODEC(T64, ZSTD(1)),
    sensor_bits SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    landed_date SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY (dataset, day)
ORDER BY (day, payload_hash, protocol, dst_port, probe, nature, survey, ip_version, answering)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS payloads_1d_view TO payloads_1d AS
SELECT
    dataset,
    toDate(observed_at, '$zone') AS day,
    payload_hash, protocol, dst_port, probe,
    nature,
    survey,
    ip_version,
    answering,
    count() AS packets,
    toDateTime(min(observed_at), 'UTC') AS first_seen_at,
    groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
WHERE payload_hash != 0
GROUP BY dataset, day, payload_hash, protocol, dst_port, probe, nature, survey, ip_version, answering;

-- What was asked for, by probe label.
CREATE TABLE IF NOT EXISTS probes_1d
(
    dataset LowCardinality(String),
    day Date CODEC(ZSTD(1)),
    probe LowCardinality(String) CODEC(ZSTD(1)),
    protocol UInt8 CODEC(ZSTD(1)),
    dst_port UInt16 CODEC(ZSTD(1)),
    nature UInt8 CODEC(ZSTD(1)),
    survey UInt8 CODEC(ZSTD(1)),
    ip_version UInt8 CODEC(ZSTD(1)),
    answering UInt8 CODEC(ZSTD(1)),
    packets SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    sources AggregateFunction(uniqCombined(12), IPv6) CODEC(ZSTD(1)),
    sensor_bits SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    landed_date SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY (dataset, day)
ORDER BY (day, probe, protocol, dst_port, nature, survey, ip_version, answering)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS probes_1d_view TO probes_1d AS
SELECT
    dataset,
    toDate(observed_at, '$zone') AS day,
    probe, protocol, dst_port,
    nature,
    survey,
    ip_version,
    answering,
    count() AS packets,
    uniqCombinedState(12)(src_addr) AS sources,
    groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
WHERE probe != ''
GROUP BY dataset, day, probe, protocol, dst_port, nature, survey, ip_version, answering;

-- Known survey scanners.
CREATE TABLE IF NOT EXISTS actors_1d
(
    dataset LowCardinality(String),
    day Date CODEC(ZSTD(1)),
    actor LowCardinality(String) CODEC(ZSTD(1)),
    nature UInt8 CODEC(ZSTD(1)),
    survey UInt8 CODEC(ZSTD(1)),
    ip_version UInt8 CODEC(ZSTD(1)),
    answering UInt8 CODEC(ZSTD(1)),
    packets SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    sources AggregateFunction(uniqCombined(12), IPv6) CODEC(ZSTD(1)),
    sensor_bits SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)),
    sensors AggregateFunction(groupBitmap, UInt32) CODEC(ZSTD(1)),
    landed_date SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY (dataset, day)
ORDER BY (day, actor, nature, survey, ip_version, answering)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS actors_1d_view TO actors_1d AS
SELECT
    dataset,
    toDate(observed_at, '$zone') AS day,
    actor,
    nature,
    survey,
    ip_version,
    answering,
    count() AS packets,
    uniqCombinedState(12)(src_addr) AS sources,
    groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits,
    groupBitmapState(sensor) AS sensors,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
WHERE survey != 0
GROUP BY dataset, day, actor, nature, survey, ip_version, answering;

-- One whole example of a payload: at most one per hash, sensor and day. Its own permission, its own term.
CREATE TABLE IF NOT EXISTS payload_examples
(
    dataset LowCardinality(String),
    day Date DEFAULT toDate(observed_at, '$zone') CODEC(ZSTD(1)),
    payload_hash UInt64 CODEC(ZSTD(1)),
    sensor UInt32 CODEC(ZSTD(1)),
    epoch UInt32 CODEC(ZSTD(1)),
    batch_seq UInt64 CODEC(ZSTD(1)),
    row UInt32 CODEC(ZSTD(1)),
    observed_at DateTime64(6, 'UTC') CODEC(ZSTD(1)),
    src_addr IPv6 CODEC(ZSTD(1)),
    protocol UInt8 CODEC(ZSTD(1)),
    dst_port UInt16 CODEC(ZSTD(1)),
    payload_length UInt32 CODEC(ZSTD(1)),
    payload String CODEC(ZSTD(3)),
    landed_at DateTime64(6, 'UTC') CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY (dataset, day)
ORDER BY (payload_hash, sensor, epoch, batch_seq, row)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;
