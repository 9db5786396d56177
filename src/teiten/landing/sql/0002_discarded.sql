-- Batches held on suspicion of a clone may be decided against: they are kept, and never loaded.
DO $$
DECLARE
    old text;
BEGIN
    SELECT conname INTO old FROM pg_constraint
    WHERE conrelid = 'landing.batches'::regclass AND contype = 'c'
        AND pg_get_constraintdef(oid) LIKE '%landed%' AND pg_get_constraintdef(oid) LIKE '%held%';
    EXECUTE format('ALTER TABLE landing.batches DROP CONSTRAINT %I', old);
END $$;
ALTER TABLE landing.batches ADD CONSTRAINT batches_state_known
    CHECK (state IN ('landed', 'loading', 'loaded', 'quarantined', 'held', 'discarded'));
