-- batches_that_differ --
-- Batches of one day whose rows in the table are not as many as the batch says.
SELECT
    count() AS batches,
    sum(stated) AS stated,
    sum(found) AS found
FROM
(
    SELECT sensor, epoch, batch_seq, sum(stated_rows) AS stated, sum(found_rows) AS found
    FROM
    (
        SELECT sensor, epoch, batch_seq, toInt64(c.rows) AS stated_rows, 0 AS found_rows
        FROM coverage AS c FINAL
        WHERE dataset = {dataset:String} AND toDate(window_start_at, {zone:String}) = {day:Date}
        UNION ALL
        SELECT sensor, epoch, batch_seq, 0 AS stated_rows, 1 AS found_rows
        FROM packets
        WHERE dataset = {dataset:String}
            AND toDate(observed_at, {zone:String}) BETWEEN {day:Date} AND {after:Date}
            AND (sensor, epoch, batch_seq) IN
            (
                SELECT sensor, epoch, batch_seq
                FROM coverage
                WHERE dataset = {dataset:String} AND toDate(window_start_at, {zone:String}) = {day:Date}
            )
        UNION ALL
        SELECT sensor, epoch, batch_seq, 0 AS stated_rows, toInt64(e.rows) AS found_rows
        FROM erased_rows AS e FINAL
        WHERE dataset = {dataset:String}
            AND day BETWEEN {day:Date} AND {after:Date}
            AND (sensor, epoch, batch_seq) IN
            (
                SELECT sensor, epoch, batch_seq
                FROM coverage
                WHERE dataset = {dataset:String} AND toDate(window_start_at, {zone:String}) = {day:Date}
            )
    )
    GROUP BY sensor, epoch, batch_seq
    HAVING stated != found
    LIMIT 1000000
)

-- raw_sums_of_day --
-- What the roll-ups of one day must add up to.
SELECT count() AS packets, sum(total_length) AS bytes
FROM packets
WHERE dataset = {dataset:String} AND toDate(observed_at, {zone:String}) = {day:Date}

-- hourly_sums_of_day --
-- Packets of one day in one hourly roll-up.
SELECT sum(packets) AS packets
FROM {table:Identifier}
WHERE dataset = {dataset:String} AND toDate(hour, {zone:String}) = {day:Date}

-- daily_sums_of_day --
-- Packets of one day in one daily roll-up.
SELECT sum(packets) AS packets
FROM {table:Identifier}
WHERE dataset = {dataset:String} AND day = {day:Date}

-- totals_1h_bytes_of_day --
-- Bytes of one day in the hourly totals.
SELECT sum(bytes) AS bytes
FROM totals_1h
WHERE dataset = {dataset:String} AND toDate(hour, {zone:String}) = {day:Date}

-- sources_1d_bytes_of_day --
-- Bytes of one day by source.
SELECT sum(bytes) AS bytes
FROM sources_1d
WHERE dataset = {dataset:String} AND day = {day:Date}

-- coverage_sums_of_day --
-- Figures of one day in the hourly coverage.
SELECT
    sum(c.batches) AS batches,
    sum(c.rows) AS rows,
    sum(c.captured) AS captured,
    sum(c.kernel_drops) AS kernel_drops,
    sum(c.excluded) AS excluded,
    sum(c.gap_us) AS gap_us,
    sum(c.address_seconds) AS address_seconds,
    sum(c.sensor_seconds) AS sensor_seconds
FROM coverage_1h AS c
WHERE c.dataset = {dataset:String} AND toDate(c.hour, {zone:String}) = {day:Date}

-- daily_coverage_sums_of_day --
-- Figures of one day in the daily coverage.
SELECT
    sum(c.batches) AS batches,
    sum(c.rows) AS rows,
    sum(c.captured) AS captured,
    sum(c.kernel_drops) AS kernel_drops,
    sum(c.excluded) AS excluded,
    sum(c.gap_us) AS gap_us,
    sum(c.address_seconds) AS address_seconds,
    sum(c.sensor_seconds) AS sensor_seconds
FROM coverage_1d AS c
WHERE c.dataset = {dataset:String} AND c.day = {day:Date}

-- removed_tables_of_day --
-- Tables of which retention took something of one day.
SELECT DISTINCT table
FROM removals
WHERE dataset = {dataset:String} AND day = {day:Date}
ORDER BY table
LIMIT 100

-- removed_packets_of_day --
-- Raw rows of one day that retention took.
SELECT sum(r.rows) AS rows
FROM removals AS r
WHERE r.dataset = {dataset:String} AND r.day = {day:Date} AND r.table = 'packets'

-- last_arrival_of_rows --
-- Day on which the last row of one partition arrived.
SELECT toDate32(toDate(max(landed_at), {zone:String})) AS last
FROM {table:Identifier}
WHERE _partition_id = {id:String}

-- last_arrival_of_rollup --
-- Day on which the last packet behind one partition of a roll-up arrived.
SELECT toDate32(max(landed_date)) AS last
FROM {table:Identifier}
WHERE _partition_id = {id:String}

-- rows_arrived_before --
-- Rows of one partition that arrived before an instant.
SELECT count() AS rows
FROM {table:Identifier}
WHERE _partition_id = {id:String} AND landed_at < {cutoff:DateTime64(6, 'UTC')}

-- payloads_arrived_before --
-- Rows of one partition that arrived before an instant and still have captured bytes of their payload.
SELECT count() AS rows
FROM {table:Identifier}
WHERE _partition_id = {id:String} AND landed_at < {cutoff:DateTime64(6, 'UTC')} AND payload != ''

-- fresh_parts --
-- Parts that one insert made since an instant, and no merge has taken up.
SELECT table, name, rows
FROM system.parts
WHERE database = currentDatabase() AND active AND min_block_number = max_block_number
    AND modification_time >= {since:DateTime64(6, 'UTC')}
ORDER BY table, name
