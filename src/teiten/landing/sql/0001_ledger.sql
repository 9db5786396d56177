-- What was received, for ever: one row a sensor and epoch.
CREATE TABLE landing.received (
    sensor bigint NOT NULL CHECK (sensor BETWEEN 1 AND 4294967295),
    epoch bigint NOT NULL CHECK (epoch BETWEEN 1 AND 4294967295),
    seqs int8multirange NOT NULL DEFAULT '{}',
    last_seq bigint,
    last_landed_at timestamptz,
    PRIMARY KEY (sensor, epoch)
) WITH (fillfactor = 70);

-- The ledger: one row a batch, a partition a day.
CREATE TABLE landing.batches (
    landed_at timestamptz NOT NULL,
    sensor bigint NOT NULL,
    epoch bigint NOT NULL,
    seq bigint NOT NULL,
    key_no bigint NOT NULL,
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    seal bytea NOT NULL CHECK (octet_length(seal) = 64),
    size_bytes integer NOT NULL,
    segment text NOT NULL,
    body_offset bigint NOT NULL,
    receipt bytea NOT NULL,
    state text NOT NULL CHECK (state IN ('landed', 'loading', 'loaded', 'quarantined', 'held')),
    block uuid,
    place integer,
    reason_code text,
    reason text,
    PRIMARY KEY (landed_at, sensor, epoch, seq),
    CHECK ((state IN ('loading', 'loaded', 'quarantined')) = (block IS NOT NULL AND place IS NOT NULL)),
    CHECK ((state = 'quarantined') = (reason_code IS NOT NULL AND reason IS NOT NULL))
) PARTITION BY RANGE (landed_at);

CREATE INDEX batches_by_number ON landing.batches (sensor, epoch, seq);
CREATE INDEX batches_waiting ON landing.batches (landed_at, sensor, epoch, seq) INCLUDE (size_bytes)
    WHERE state = 'landed';
CREATE INDEX batches_loading ON landing.batches (block) INCLUDE (size_bytes) WHERE state = 'loading';
CREATE INDEX batches_aside ON landing.batches (state, landed_at) WHERE state IN ('quarantined', 'held');

-- Load blocks: what goes into the store together, committed before it goes.
CREATE TABLE landing.blocks (
    id uuid PRIMARY KEY,
    rule_version integer NOT NULL,
    place_version text NOT NULL,
    batches integer NOT NULL,
    size_bytes bigint NOT NULL,
    first_landed_at timestamptz NOT NULL,
    last_landed_at timestamptz NOT NULL,
    state text NOT NULL CHECK (state IN ('loading', 'loaded')),
    -- Grows with every claim; only the newest claim may finish the block.
    attempt integer NOT NULL,
    lease_until timestamptz NOT NULL,
    composed_at timestamptz NOT NULL,
    loaded_at timestamptz,
    rows bigint,
    last_error text
);
CREATE INDEX blocks_unfinished ON landing.blocks (composed_at) WHERE state = 'loading';

CREATE TABLE landing.segments (
    name text PRIMARY KEY,
    opened_at timestamptz NOT NULL,
    closed_at timestamptz,
    size_bytes bigint NOT NULL
);

CREATE TABLE landing.alarms (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    sensor bigint NOT NULL,
    kind text NOT NULL,
    detail text NOT NULL
);
CREATE INDEX alarms_by_sensor ON landing.alarms (sensor, at);
