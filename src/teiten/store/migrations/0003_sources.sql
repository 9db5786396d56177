-- Sources by day: the source page, first and last seen, and the counts from which verdicts are made.
-- ports holds at most 64 services (protocol * 65536 + dst_port), some_sensors at most 16 sensors; when fewer, all of them.
-- hint_counts maps each bit number of teiten.traffic.hints.Hint to the packets that carry it; syn_packets is what a hint could have matched.

CREATE TABLE IF NOT EXISTS sources_1d
(
    dataset LowCardinality(String),
    day Date CODEC(ZSTD(1)),
    src_addr IPv6 CODEC(ZSTD(1)),
    nature UInt8 CODEC(ZSTD(1)),
    survey UInt8 CODEC(ZSTD(1)),
    ip_version UInt8 CODEC(ZSTD(1)),
    country SimpleAggregateFunction(anyLast, LowCardinality(String)) CODEC(ZSTD(1)),
    asn SimpleAggregateFunction(anyLast, UInt32) CODEC(ZSTD(1)),
    packets SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    bytes SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    first_seen_at SimpleAggregateFunction(min, DateTime('UTC')) CODEC(T64, ZSTD(1)),
    last_seen_at SimpleAggregateFunction(max, DateTime('UTC')) CODEC(T64, ZSTD(1)),
    syn_packets SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    hint_counts SimpleAggregateFunction(sumMap, Map(UInt8, UInt64)) CODEC(ZSTD(1)),
    ports SimpleAggregateFunction(groupUniqArrayArray(64), Array(UInt32)) CODEC(ZSTD(1)),
    some_sensors SimpleAggregateFunction(groupUniqArrayArray(16), Array(UInt32)) CODEC(T64, ZSTD(1)),
    landed_date SimpleAggregateFunction(max, Date) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY (dataset, day)
ORDER BY (src_addr, nature, survey, ip_version)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS sources_1d_view TO sources_1d AS
SELECT
    dataset,
    toDate(observed_at, '$zone') AS day,
    src_addr,
    nature,
    survey,
    ip_version,
    anyLast(country) AS country,
    anyLast(asn) AS asn,
    count() AS packets,
    sum(total_length) AS bytes,
    toDateTime(min(observed_at), 'UTC') AS first_seen_at,
    toDateTime(max(observed_at), 'UTC') AS last_seen_at,
    countIf(protocol = 6 AND bitAnd(tcp_flags, 23) = 2) AS syn_packets,
    sumMap(mapFromArrays(bitPositionsToArray(hints)::Array(UInt8), arrayMap(bit -> 1::UInt64, bitPositionsToArray(hints)))) AS hint_counts,
    groupUniqArray(64)(toUInt32(protocol) * 65536 + dst_port) AS ports,
    groupUniqArray(16)(sensor) AS some_sensors,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
GROUP BY dataset, day, src_addr, nature, survey, ip_version;
