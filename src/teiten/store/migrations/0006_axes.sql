-- rebuild: days
-- The axes and the sensors behind a figure: what a packet is, beside its nature, and on how many sensors a count stands.
-- answering: 1 where the sensor answered on the address; validity: traffic.validity.SourceValidity. Rows of before have 0.
-- sensor_bits has the bit (sensor % 64) of each sensor: as many bits, so many sensors at least. A member's answer needs to know that.

ALTER TABLE packets
    ADD COLUMN IF NOT EXISTS answering UInt8 CODEC(ZSTD(1)) AFTER region,
    ADD COLUMN IF NOT EXISTS validity UInt8 CODEC(ZSTD(1)) AFTER nature,
    ADD COLUMN IF NOT EXISTS probe LowCardinality(String) CODEC(ZSTD(1)) AFTER validity,
    ADD COLUMN IF NOT EXISTS actor LowCardinality(String) CODEC(ZSTD(1)) AFTER survey;

ALTER TABLE totals_1h
    ADD COLUMN IF NOT EXISTS answering UInt8 CODEC(ZSTD(1)) AFTER ip_version,
    ADD COLUMN IF NOT EXISTS validity UInt8 CODEC(ZSTD(1)) AFTER answering,
    ADD COLUMN IF NOT EXISTS sensor_bits SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)) AFTER packets,
    MODIFY ORDER BY (hour, region, hints, nature, survey, ip_version, answering, validity);

DROP VIEW IF EXISTS totals_1h_view;

CREATE MATERIALIZED VIEW totals_1h_view TO totals_1h AS
SELECT
    dataset,
    toTimeZone(toStartOfHour(observed_at, '$zone'), 'UTC') AS hour,
    region, hints,
    nature,
    survey,
    ip_version,
    answering,
    validity,
    count() AS packets,
    groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits,
    sum(total_length) AS bytes,
    uniqCombinedState(12)(src_addr) AS sources,
    uniqCombinedState(12)(sensor) AS sensors,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
GROUP BY dataset, hour, region, hints, nature, survey, ip_version, answering, validity;

ALTER TABLE ports_1h
    ADD COLUMN IF NOT EXISTS answering UInt8 CODEC(ZSTD(1)) AFTER ip_version,
    ADD COLUMN IF NOT EXISTS sensor_bits SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)) AFTER packets,
    MODIFY ORDER BY (hour, protocol, dst_port, nature, survey, ip_version, answering);

DROP VIEW IF EXISTS ports_1h_view;

CREATE MATERIALIZED VIEW ports_1h_view TO ports_1h AS
SELECT
    dataset,
    toTimeZone(toStartOfHour(observed_at, '$zone'), 'UTC') AS hour,
    protocol, dst_port,
    nature,
    survey,
    ip_version,
    answering,
    count() AS packets,
    groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits,
    uniqCombinedState(12)(src_addr) AS sources,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
GROUP BY dataset, hour, protocol, dst_port, nature, survey, ip_version, answering;

ALTER TABLE countries_1h
    ADD COLUMN IF NOT EXISTS answering UInt8 CODEC(ZSTD(1)) AFTER ip_version,
    ADD COLUMN IF NOT EXISTS sensor_bits SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)) AFTER packets,
    MODIFY ORDER BY (hour, country, region, nature, survey, ip_version, answering);

DROP VIEW IF EXISTS countries_1h_view;

CREATE MATERIALIZED VIEW countries_1h_view TO countries_1h AS
SELECT
    dataset,
    toTimeZone(toStartOfHour(observed_at, '$zone'), 'UTC') AS hour,
    country, region,
    nature,
    survey,
    ip_version,
    answering,
    count() AS packets,
    groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits,
    uniqCombinedState(12)(src_addr) AS sources,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
GROUP BY dataset, hour, country, region, nature, survey, ip_version, answering;

ALTER TABLE networks_1h
    ADD COLUMN IF NOT EXISTS answering UInt8 CODEC(ZSTD(1)) AFTER ip_version,
    ADD COLUMN IF NOT EXISTS sensor_bits SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)) AFTER packets,
    MODIFY ORDER BY (hour, asn, nature, survey, ip_version, answering);

DROP VIEW IF EXISTS networks_1h_view;

CREATE MATERIALIZED VIEW networks_1h_view TO networks_1h AS
SELECT
    dataset,
    toTimeZone(toStartOfHour(observed_at, '$zone'), 'UTC') AS hour,
    asn,
    nature,
    survey,
    ip_version,
    answering,
    count() AS packets,
    groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits,
    uniqCombinedState(12)(src_addr) AS sources,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
GROUP BY dataset, hour, asn, nature, survey, ip_version, answering;

ALTER TABLE networks_regions_1d
    ADD COLUMN IF NOT EXISTS answering UInt8 CODEC(ZSTD(1)) AFTER ip_version,
    ADD COLUMN IF NOT EXISTS sensor_bits SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)) AFTER packets,
    MODIFY ORDER BY (day, asn, region, nature, survey, ip_version, answering);

DROP VIEW IF EXISTS networks_regions_1d_view;

CREATE MATERIALIZED VIEW networks_regions_1d_view TO networks_regions_1d AS
SELECT
    dataset,
    toDate(observed_at, '$zone') AS day,
    asn, region,
    nature,
    survey,
    ip_version,
    answering,
    count() AS packets,
    groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
GROUP BY dataset, day, asn, region, nature, survey, ip_version, answering;

ALTER TABLE ports_countries_1d
    ADD COLUMN IF NOT EXISTS answering UInt8 CODEC(ZSTD(1)) AFTER ip_version,
    ADD COLUMN IF NOT EXISTS sensor_bits SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)) AFTER packets,
    MODIFY ORDER BY (day, protocol, dst_port, country, nature, survey, ip_version, answering);

DROP VIEW IF EXISTS ports_countries_1d_view;

CREATE MATERIALIZED VIEW ports_countries_1d_view TO ports_countries_1d AS
SELECT
    dataset,
    toDate(observed_at, '$zone') AS day,
    protocol, dst_port, country,
    nature,
    survey,
    ip_version,
    answering,
    count() AS packets,
    groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
GROUP BY dataset, day, protocol, dst_port, country, nature, survey, ip_version, answering;

ALTER TABLE ports_regions_1d
    ADD COLUMN IF NOT EXISTS answering UInt8 CODEC(ZSTD(1)) AFTER ip_version,
    ADD COLUMN IF NOT EXISTS sensor_bits SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)) AFTER packets,
    MODIFY ORDER BY (day, protocol, dst_port, region, nature, survey, ip_version, answering);

DROP VIEW IF EXISTS ports_regions_1d_view;

CREATE MATERIALIZED VIEW ports_regions_1d_view TO ports_regions_1d AS
SELECT
    dataset,
    toDate(observed_at, '$zone') AS day,
    protocol, dst_port, region,
    nature,
    survey,
    ip_version,
    answering,
    count() AS packets,
    groupBitOr(bitShiftLeft(toUInt64(1), sensor % 64)) AS sensor_bits,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
GROUP BY dataset, day, protocol, dst_port, region, nature, survey, ip_version, answering;

ALTER TABLE fingerprints_1d
    ADD COLUMN IF NOT EXISTS answering UInt8 CODEC(ZSTD(1)) AFTER ip_version,
    ADD COLUMN IF NOT EXISTS sensor_bits SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)) AFTER packets,
    MODIFY ORDER BY (day, tcp_fp, nature, survey, ip_version, answering);

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
    uniqCombinedState(12)(src_addr) AS sources,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
GROUP BY dataset, day, tcp_fp, nature, survey, ip_version, answering;

ALTER TABLE sources_1d
    ADD COLUMN IF NOT EXISTS answering UInt8 CODEC(ZSTD(1)) AFTER ip_version,
    ADD COLUMN IF NOT EXISTS validity UInt8 CODEC(ZSTD(1)) AFTER answering,
    ADD COLUMN IF NOT EXISTS udp_packets SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)) AFTER syn_packets,
    ADD COLUMN IF NOT EXISTS echo_packets SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)) AFTER udp_packets,
    ADD COLUMN IF NOT EXISTS nmap_folds SimpleAggregateFunction(groupUniqArrayArray(16), Array(UInt16)) CODEC(T64, ZSTD(1)) AFTER hint_counts,
    MODIFY ORDER BY (src_addr, nature, survey, ip_version, answering, validity);

DROP VIEW IF EXISTS sources_1d_view;

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
    groupUniqArray(64)(toUInt32(protocol) * 65536 + dst_port) AS ports,
    groupUniqArray(16)(sensor) AS some_sensors,
    toDate(max(landed_at), '$zone') AS landed_date
FROM packets
GROUP BY dataset, day, src_addr, nature, survey, ip_version, answering, validity;
