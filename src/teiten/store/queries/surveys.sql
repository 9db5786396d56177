-- covered_day --
-- What was watched on one day in IPv4, by mode.
SELECT
    toString(mode) AS mode,
    sum(address_seconds) / 86400 AS address_days,
    uniqExactIf(sensor, sensor_seconds > 0) AS sensors
FROM coverage_1d
WHERE dataset = {dataset:String} AND day = {day:Date} AND ip_version = 4
GROUP BY mode
ORDER BY mode
LIMIT 10

-- survey_candidates --
-- Sources of one day with at least so many SYN and UDP packets, ports and sensors, counted in raw rows.
SELECT src_addr, packets, ports, sensors
FROM
(
    SELECT
        p.src_addr AS src_addr,
        count() AS packets,
        uniqExact((p.protocol, p.dst_port)) AS ports,
        uniqExact(p.sensor) AS sensors
    FROM packets AS p
    WHERE p.dataset = {dataset:String}
        AND toDate(p.observed_at, {zone:String}) = {day:Date}
        AND p.ip_version = 4
        AND p.answering = {answering:UInt32}
        AND p.validity = 0
        AND p.nature IN (1, 3, 4)
        AND (p.protocol = 17 OR (p.protocol = 6 AND bitAnd(p.tcp_flags, 23) = 2))
        AND p.src_addr IN
        (
            SELECT s.src_addr
            FROM sources_1d AS s
            WHERE s.dataset = {dataset:String}
                AND s.day = {day:Date}
                AND s.ip_version = 4
                AND s.answering = {answering:UInt32}
                AND s.validity = 0
                AND s.nature IN (1, 3, 4)
            GROUP BY s.src_addr
            HAVING sum(s.syn_packets) + sum(s.udp_packets) >= {packets:UInt32}
                -- The roll-up keeps no more than 16 sensors of a source, and no ports.
                AND length(groupUniqArrayArray(16)(s.some_sensors)) >= least({sensors:UInt32}, 16)
        )
    GROUP BY src_addr
)
WHERE packets >= {packets:UInt32} AND ports >= {ports:UInt32} AND sensors >= {sensors:UInt32}
ORDER BY packets DESC, src_addr
LIMIT {limit:UInt32}
