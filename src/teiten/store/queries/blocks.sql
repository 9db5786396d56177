-- blocks_since --
-- How many load blocks were finished since an instant.
SELECT count() AS blocks
FROM blocks
WHERE loaded_at >= {since:DateTime64(6, 'UTC')}

-- find_block --
-- Whether a load block, or a part of one, is wholly in the store.
SELECT count() AS blocks
FROM blocks
WHERE block = {block:UUID}

-- rows_of_batches --
-- How many rows of packets or coverage each of some batches has, by data set and day.
SELECT
    sensor,
    epoch,
    batch_seq,
    toString(dataset) AS dataset,
    toDate32(toDate({time:Identifier}, {zone:String})) AS day,
    count() AS rows
FROM {table:Identifier}
WHERE dataset IN {datasets:Array(String)}
    AND {time:Identifier} >= {start:DateTime64(6, 'UTC')}
    AND {time:Identifier} < {end:DateTime64(6, 'UTC')}
    AND (sensor, epoch, batch_seq) IN {batches:Array(Tuple(UInt32, UInt32, UInt64))}
GROUP BY sensor, epoch, batch_seq, dataset, day
ORDER BY sensor, epoch, batch_seq, dataset, day
LIMIT 100000

-- excluded_rows_of_batches --
-- How many excluded rows each of some batches has, by data set and day.
SELECT
    sensor,
    epoch,
    batch_seq,
    toString(dataset) AS dataset,
    toDate32(toDate({time:Identifier}, {zone:String})) AS day,
    count() AS rows
FROM {table:Identifier} FINAL
WHERE dataset IN {datasets:Array(String)}
    AND {time:Identifier} >= {start:DateTime64(6, 'UTC')}
    AND {time:Identifier} < {end:DateTime64(6, 'UTC')}
    AND (sensor, epoch, batch_seq) IN {batches:Array(Tuple(UInt32, UInt32, UInt64))}
GROUP BY sensor, epoch, batch_seq, dataset, day
ORDER BY sensor, epoch, batch_seq, dataset, day
LIMIT 100000

-- erased_rows_of_batches --
-- How many rows of each of some batches were erased, by data set and day.
SELECT
    sensor,
    epoch,
    batch_seq,
    toString(dataset) AS dataset,
    toDate32(day) AS day,
    sum(e.rows) AS rows
FROM erased_rows AS e FINAL
WHERE dataset IN {datasets:Array(String)}
    AND (sensor, epoch, batch_seq) IN {batches:Array(Tuple(UInt32, UInt32, UInt64))}
GROUP BY sensor, epoch, batch_seq, dataset, day
ORDER BY sensor, epoch, batch_seq, dataset, day
LIMIT 100000
