-- unfinished_changes --
-- Exclusions, returns and erasures that were begun and not ended, oldest first.
SELECT
    toString(id) AS id,
    toString(kind) AS kind,
    arguments,
    toString(phase) AS phase,
    step
FROM changes FINAL
WHERE phase != 'done' AND kind IN {kinds:Array(String)}
ORDER BY noted_at, id
LIMIT 1000

-- batches_to_exclude --
-- Spans of the batches of one sensor whose windows overlap a period and that count now.
SELECT
    count() AS batches,
    min(c.window_start_at) AS start_at,
    max(c.window_end_at) AS end_at
FROM coverage AS c FINAL
WHERE c.dataset = {dataset:String}
    AND c.sensor = {sensor:UInt32}
    AND c.window_start_at < {end:DateTime64(6, 'UTC')}
    AND c.window_end_at > {start:DateTime64(6, 'UTC')}

-- days_of_batches --
-- Days that some batches of one sensor touch, by their windows.
SELECT DISTINCT arrayJoin([
    toDate32(toDate(c.window_start_at, {zone:String})),
    toDate32(toDate(c.window_end_at - toIntervalMicrosecond(1), {zone:String}))
]) AS day
FROM {table:Identifier} AS c FINAL
WHERE c.dataset = {dataset:String}
    AND c.sensor = {sensor:UInt32}
    AND c.window_start_at < {end:DateTime64(6, 'UTC')}
    AND c.window_end_at > {start:DateTime64(6, 'UTC')}
ORDER BY day
LIMIT 100000
