-- Raw packets: one row each, columns as teiten.traffic.columns declares them.
-- A part never mixes data sets or days, so that an import, a simulation or an old day goes by dropping partitions.

CREATE TABLE IF NOT EXISTS packets
(
    dataset LowCardinality(String),
    sensor UInt32 CODEC(T64, ZSTD(1)),
    epoch UInt32 CODEC(ZSTD(1)),
    batch_seq UInt64 CODEC(T64, ZSTD(1)),
    row UInt32 CODEC(T64, ZSTD(1)),
    region LowCardinality(String) CODEC(ZSTD(1)),
    observed_at DateTime64(6, 'UTC') CODEC(T64, ZSTD(1)),
    ip_version UInt8 CODEC(ZSTD(1)),
    src_addr IPv6 CODEC(ZSTD(1)),
    dst_addr IPv6 CODEC(ZSTD(1)),
    protocol UInt8 CODEC(ZSTD(1)),
    src_port UInt16 CODEC(ZSTD(1)),
    dst_port UInt16 CODEC(ZSTD(1)),
    icmp_type UInt8 CODEC(ZSTD(1)),
    icmp_code UInt8 CODEC(ZSTD(1)),
    tcp_flags UInt16 CODEC(ZSTD(1)),
    tcp_seq UInt32 CODEC(ZSTD(1)),
    tcp_ack UInt32 CODEC(ZSTD(1)),
    tcp_window UInt16 CODEC(ZSTD(1)),
    tcp_options String CODEC(ZSTD(1)),
    ttl UInt8 CODEC(ZSTD(1)),
    ip_id UInt32 CODEC(ZSTD(1)),
    ip_df UInt8 CODEC(ZSTD(1)),
    ip_mf UInt8 CODEC(ZSTD(1)),
    fragment_offset UInt16 CODEC(ZSTD(1)),
    tos UInt8 CODEC(ZSTD(1)),
    total_length UInt32 CODEC(ZSTD(1)),
    vlan UInt16 CODEC(ZSTD(1)),
    payload_length UInt32 CODEC(ZSTD(1)),
    payload_hash UInt64 CODEC(ZSTD(1)),
    payload String CODEC(ZSTD(3)),
    parse_marks UInt16 CODEC(ZSTD(1)),
    nature UInt8 CODEC(ZSTD(1)),
    hints UInt32 CODEC(ZSTD(1)),
    rule_version UInt16 CODEC(ZSTD(1)),
    tcp_fp LowCardinality(String) CODEC(ZSTD(1)),
    country LowCardinality(String) CODEC(ZSTD(1)),
    asn UInt32 CODEC(ZSTD(1)),
    survey UInt8 CODEC(ZSTD(1)),
    landed_at DateTime64(6, 'UTC') CODEC(GCD, T64, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY (dataset, toDate(observed_at, '$zone'))
ORDER BY (toStartOfHour(observed_at, '$zone'), src_addr, dst_port, observed_at)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 10000;
