-- find_received --
-- Which of these numbers were ever received; digest and receipt are null when the ledger has forgotten them.
SELECT g.sensor, g.epoch, g.seq, b.digest, b.receipt
FROM unnest(%(sensors)b::int8[], %(epochs)b::int8[], %(seqs)b::int8[]) AS g (sensor, epoch, seq)
JOIN landing.received r USING (sensor, epoch)
LEFT JOIN LATERAL (
    SELECT digest, receipt FROM landing.batches
    WHERE sensor = g.sensor AND epoch = g.epoch AND seq = g.seq
    LIMIT 1
) b ON true
WHERE r.seqs @> g.seq

-- add_sensors --
-- Make the interval rows that are missing, in sorted order against deadlocks.
INSERT INTO landing.received (sensor, epoch)
SELECT DISTINCT sensor, epoch
FROM unnest(%(sensors)b::int8[], %(epochs)b::int8[]) AS g (sensor, epoch)
ORDER BY sensor, epoch
ON CONFLICT DO NOTHING

-- lock_sensors --
-- Hold the interval rows until commit, in sorted order against deadlocks.
SELECT 1 FROM landing.received
WHERE (sensor, epoch) IN (
    SELECT sensor, epoch FROM unnest(%(sensors)b::int8[], %(epochs)b::int8[]) AS g (sensor, epoch)
)
ORDER BY sensor, epoch
FOR UPDATE

-- add_batches --
-- Enter the batches whose numbers are new, grow the intervals by them, and give them back.
WITH given AS (
    SELECT * FROM unnest(
        %(sensors)b::int8[], %(epochs)b::int8[], %(seqs)b::int8[], %(key_nos)b::int8[], %(digests)b::bytea[],
        %(seals)b::bytea[], %(sizes)b::int8[], %(offsets)b::int8[], %(receipts)b::bytea[], %(states)s::text[]
    ) AS g (sensor, epoch, seq, key_no, digest, seal, size_bytes, body_offset, receipt, state)
), fresh AS (
    SELECT given.* FROM given JOIN landing.received r USING (sensor, epoch) WHERE NOT r.seqs @> given.seq
), grown AS (
    UPDATE landing.received r
    SET seqs = r.seqs + f.seqs, last_seq = f.last_seq, last_landed_at = %(landed_at)s
    FROM (
        SELECT sensor, epoch, range_agg(int8range(seq, seq + 1)) AS seqs, max(seq) AS last_seq
        FROM fresh GROUP BY sensor, epoch
    ) f
    WHERE r.sensor = f.sensor AND r.epoch = f.epoch
)
INSERT INTO landing.batches (
    landed_at, sensor, epoch, seq, key_no, digest, seal, size_bytes, segment, body_offset, receipt, state
)
SELECT %(landed_at)s, sensor, epoch, seq, key_no, digest, seal, size_bytes, %(segment)s, body_offset, receipt, state
FROM fresh
RETURNING sensor, epoch, seq

-- note_segment --
-- Remember a segment and how far it is known to be good.
INSERT INTO landing.segments (name, opened_at, size_bytes) VALUES (%(name)s, %(at)s, %(size_bytes)s)
ON CONFLICT (name) DO UPDATE SET size_bytes = EXCLUDED.size_bytes

-- close_segments --
-- A closed segment never grows again.
UPDATE landing.segments SET closed_at = %(at)s WHERE name = ANY(%(names)s) AND closed_at IS NULL

-- notify --
-- Wake the loaders.
NOTIFY teiten_landed

-- add_alarm --
INSERT INTO landing.alarms (at, sensor, kind, detail) VALUES (%(at)s, %(sensor)s, %(kind)s, %(detail)s)

-- measure_backlog --
-- What waits for the loader, or is with it.
SELECT count(*), coalesce(sum(size_bytes), 0)::bigint, min(landed_at)
FROM landing.batches WHERE state IN ('landed', 'loading')

-- find_unfinished_blocks --
-- Blocks that some loader has begun, oldest first, but for those that the caller works on in time.
SELECT id, attempt, lease_until FROM landing.blocks
WHERE state = 'loading' AND (NOT id = ANY(%(held)s::uuid[]) OR lease_until <= %(now)s)
ORDER BY composed_at, id
LIMIT 50

-- claim_block --
-- Take over an unfinished block, unless somebody else just did.
UPDATE landing.blocks SET attempt = attempt + 1, lease_until = %(lease_until)s
WHERE id = %(id)s AND attempt = %(attempt)s AND state = 'loading'
RETURNING id, rule_version, place_version, attempt, composed_at, first_landed_at, last_landed_at

-- list_members --
-- The batches of a block, in their order.
SELECT sensor, key_no, epoch, seq, digest, seal, landed_at, size_bytes, segment, body_offset
FROM landing.batches
WHERE block = %(id)s AND landed_at BETWEEN %(first_landed_at)s AND %(last_landed_at)s
ORDER BY place

-- choose_waiting --
-- The oldest batches that nobody else is choosing now.
SELECT sensor, key_no, epoch, seq, digest, seal, landed_at, size_bytes, segment, body_offset
FROM landing.batches
WHERE state = 'landed'
ORDER BY landed_at, sensor, epoch, seq
LIMIT %(max_batches)s
FOR UPDATE SKIP LOCKED

-- add_block --
INSERT INTO landing.blocks (
    id, rule_version, place_version, batches, size_bytes, first_landed_at, last_landed_at,
    state, attempt, lease_until, composed_at
) VALUES (
    %(id)s, %(rule_version)s, %(place_version)s, %(batches)s, %(size_bytes)s, %(first_landed_at)s,
    %(last_landed_at)s, 'loading', 1, %(lease_until)s, %(composed_at)s
)

-- assign_members --
-- Put batches into a block, in the given order.
UPDATE landing.batches b SET state = 'loading', block = %(id)s, place = g.place
FROM unnest(%(landed_ats)s::timestamptz[], %(sensors)s::int8[], %(epochs)s::int8[], %(seqs)s::int8[])
    WITH ORDINALITY AS g (landed_at, sensor, epoch, seq, place)
WHERE b.landed_at = g.landed_at AND b.sensor = g.sensor AND b.epoch = g.epoch AND b.seq = g.seq
    AND b.landed_at BETWEEN %(first_landed_at)s AND %(last_landed_at)s
    AND b.state = 'landed'

-- renew_block --
UPDATE landing.blocks SET lease_until = %(lease_until)s
WHERE id = %(id)s AND attempt = %(attempt)s AND state = 'loading'

-- finish_block --
UPDATE landing.blocks SET state = 'loaded', loaded_at = %(at)s, rows = %(rows)s, last_error = NULL
WHERE id = %(id)s AND attempt = %(attempt)s AND state = 'loading'

-- finish_members --
UPDATE landing.batches SET state = 'loaded'
WHERE block = %(id)s AND state = 'loading' AND landed_at BETWEEN %(first_landed_at)s AND %(last_landed_at)s

-- quarantine_members --
-- Set batches of a block aside, with the reason.
UPDATE landing.batches b SET state = 'quarantined', reason_code = g.code, reason = g.reason
FROM unnest(%(sensors)s::int8[], %(epochs)s::int8[], %(seqs)s::int8[], %(codes)s::text[], %(reasons)s::text[])
    AS g (sensor, epoch, seq, code, reason)
WHERE b.block = %(id)s AND b.state = 'loading' AND b.sensor = g.sensor AND b.epoch = g.epoch AND b.seq = g.seq
    AND b.landed_at BETWEEN %(first_landed_at)s AND %(last_landed_at)s

-- release_block --
UPDATE landing.blocks SET lease_until = %(at)s, last_error = %(error)s
WHERE id = %(id)s AND attempt = %(attempt)s AND state = 'loading'

-- list_quarantined --
SELECT sensor, epoch, seq, landed_at, size_bytes, reason_code, reason
FROM landing.batches WHERE state = 'quarantined'
ORDER BY landed_at DESC, sensor, epoch, seq
LIMIT %(limit)s

-- requeue --
-- Give quarantined batches to the loader again; a null narrows nothing.
UPDATE landing.batches
SET state = 'landed', block = NULL, place = NULL, reason_code = NULL, reason = NULL
WHERE state = 'quarantined'
    AND (%(sensor)s::bigint IS NULL OR sensor = %(sensor)s)
    AND (%(epoch)s::bigint IS NULL OR epoch = %(epoch)s)
    AND (%(seq)s::bigint IS NULL OR seq = %(seq)s)
    AND (%(code)s::text IS NULL OR reason_code = %(code)s)

-- release_held --
-- Let held batches of a sensor go to the loader.
UPDATE landing.batches SET state = 'landed'
WHERE state = 'held' AND sensor = %(sensor)s AND (%(epoch)s::bigint IS NULL OR epoch = %(epoch)s)

-- discard_held --
-- Decide that held batches of a sensor are never loaded.
UPDATE landing.batches SET state = 'discarded' WHERE state = 'held' AND sensor = %(sensor)s

-- count_states --
SELECT state, count(*), coalesce(sum(size_bytes), 0)::bigint FROM landing.batches
WHERE (%(sensor)s::bigint IS NULL OR sensor = %(sensor)s)
GROUP BY state

-- list_last_landed --
-- The newest epoch of each sensor: last number, highest number, when.
SELECT DISTINCT ON (sensor) sensor, epoch, last_seq, upper(seqs) - 1, last_landed_at
FROM landing.received WHERE last_landed_at IS NOT NULL
ORDER BY sensor, epoch DESC

-- list_gaps --
-- Numbers between the first and the last received of an epoch that never came.
SELECT r.sensor, r.epoch, lower(gap), upper(gap) - 1
FROM landing.received r, unnest(int8multirange(int8range(1, upper(r.seqs))) - r.seqs) AS gap
WHERE NOT isempty(r.seqs) AND (%(sensor)s::bigint IS NULL OR r.sensor = %(sensor)s)
ORDER BY r.sensor, r.epoch, lower(gap)
LIMIT %(limit)s

-- list_alarms --
SELECT at, sensor, kind, detail FROM landing.alarms
WHERE at >= %(since)s
ORDER BY at DESC, id DESC
LIMIT %(limit)s

-- list_partitions --
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'landing.batches'::regclass
ORDER BY c.relname

-- count_unfinished --
-- Batches of a day that still have a way to go.
SELECT count(*) FROM landing.batches
WHERE landed_at >= %(start)s AND landed_at < %(end)s AND state IN ('landed', 'loading', 'held')

-- list_old_segments --
-- Closed segments that no ledger row needs any more.
SELECT s.name FROM landing.segments s
WHERE s.closed_at < %(before)s AND NOT EXISTS (SELECT 1 FROM landing.batches b WHERE b.segment = s.name)
ORDER BY s.name

-- forget_segment --
DELETE FROM landing.segments WHERE name = %(name)s

-- forget_blocks --
-- Finished blocks whose batches are all forgotten.
DELETE FROM landing.blocks WHERE state = 'loaded' AND last_landed_at < %(before)s
