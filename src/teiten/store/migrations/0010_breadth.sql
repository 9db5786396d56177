-- rebuild: days
-- In how many sensors a fingerprint, a probe label or a country was seen, each day exactly; sources of fingerprints by hour; countries of
-- networks. In return sources_1d loses its list of services: only a rule's first sieve read it, and it was a third of the table.

ALTER TABLE fingerprints_1d
    ADD COLUMN IF NOT EXISTS sensors AggregateFunction(groupBitmap, UInt32) CODEC(ZSTD(1)) AFTER sensor_bits;

DROP VIEW IF EXISTS fingerprints_1d_view;

CREATE MATERIALIZED VIEW fingerprints_1d_view TO fingerprints_1d AS
SELECT
    dataset,
    toDate(observed_at, '$zone') AS day,
    tcp_fp,
    nature,
    survey,
    ip_version,
    answering,
    count() AS packets,
    groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits,
    groupBitmapState(sensor) AS sensors,
    uniqCombinedState(12)(src_addr) AS sources,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
GROUP BY dataset, day, tcp_fp, nature, survey, ip_version, answering;

ALTER TABLE probes_1d
    ADD COLUMN IF NOT EXISTS sensors AggregateFunction(groupBitmap, UInt32) CODEC(ZSTD(1)) AFTER sensor_bits;

DROP VIEW IF EXISTS probes_1d_view;

CREATE MATERIALIZED VIEW probes_1d_view TO probes_1d AS
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
    groupBitmapState(sensor) AS sensors,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
WHERE probe != ''
GROUP BY dataset, day, probe, protocol, dst_port, nature, survey, ip_version, answering;

ALTER TABLE countries_1d
    ADD COLUMN IF NOT EXISTS sensors AggregateFunction(groupBitmap, UInt32) CODEC(ZSTD(1)) AFTER sensor_bits;

DROP VIEW IF EXISTS countries_1d_view;

CREATE MATERIALIZED VIEW countries_1d_view TO countries_1d AS
SELECT
    dataset,
    toDate(observed_at, '$zone') AS day,
    country,
    nature,
    survey,
    ip_version,
    answering,
    count() AS packets,
    groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits,
    groupBitmapState(sensor) AS sensors,
    uniqCombinedState(12)(src_addr) AS sources,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
GROUP BY dataset, day, country, nature, survey, ip_version, answering;

ALTER TABLE fingerprints_1h
    ADD COLUMN IF NOT EXISTS sources AggregateFunction(uniqCombined(12), IPv6) CODEC(ZSTD(1)) AFTER sensor_bits;

DROP VIEW IF EXISTS fingerprints_1h_view;

CREATE MATERIALIZED VIEW fingerprints_1h_view TO fingerprints_1h AS
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
    uniqCombinedState(12)(src_addr) AS sources,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
WHERE tcp_fp != ''
GROUP BY dataset, hour, tcp_fp, nature, survey, ip_version, answering;

ALTER TABLE networks_regions_1d
    ADD COLUMN IF NOT EXISTS country LowCardinality(String) CODEC(ZSTD(1)) AFTER region,
    MODIFY ORDER BY (day, asn, region, nature, survey, ip_version, answering, country);

DROP VIEW IF EXISTS networks_regions_1d_view;

CREATE MATERIALIZED VIEW networks_regions_1d_view TO networks_regions_1d AS
SELECT
    dataset,
    toDate(observed_at, '$zone') AS day,
    asn, region, country,
    nature,
    survey,
    ip_version,
    answering,
    count() AS packets,
    groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
GROUP BY dataset, day, asn, region, country, nature, survey, ip_version, answering;

DROP VIEW IF EXISTS sources_1d_view;

ALTER TABLE sources_1d
    DROP COLUMN IF EXISTS ports;

CREATE MATERIALIZED VIEW sources_1d_view TO sources_1d AS
SELECT
    dataset,
    toDate(observed_at, '$zone') AS day,
    src_addr,
    nature,
    survey,
    ip_version,
    answering,
    validity,
    anyLast(country) AS country,
    anyLast(asn) AS asn,
    count() AS packets,
    sum(total_length) AS bytes,
    toDateTime(min(observed_at), 'UTC') AS first_seen_at,
    toDateTime(max(observed_at), 'UTC') AS last_seen_at,
    countIf(protocol = 6 AND bitAnd(tcp_flags, 23) = 2) AS syn_packets,
    countIf(protocol = 17) AS udp_packets,
    countIf(protocol = 1 AND icmp_type = 8) AS echo_packets,
    sumMap(mapFromArrays(bitPositionsToArray(hints)::Array(UInt8), arrayMap(bit -> 1::UInt64, bitPositionsToArray(hints)))) AS hint_counts,
    groupUniqArrayIf(16)(toUInt16(bitXor(bitShiftRight(tcp_seq, 16), bitAnd(tcp_seq, 65535))), bitAnd(hints, 32) != 0) AS nmap_folds,
    groupUniqArray(16)(sensor) AS some_sensors,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
GROUP BY dataset, day, src_addr, nature, survey, ip_version, answering, validity;
