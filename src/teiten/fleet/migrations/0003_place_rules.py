"""Let the database itself refuse contradictory places, and count their revisions.

A range of one number stands for "equal" in the exclusion constraints: the embedded
PostgreSQL has no btree_gist. What two sensors may not share is checked under a lock
that every writer takes, so that of two claims at once only one wins. Sensors of
before stand from their registration where their region says.
"""

from django.db import migrations

FORWARD = """
ALTER TABLE fleet_sensorplacement ADD CONSTRAINT placement_no_overlap EXCLUDE USING gist (
    int4range(sensor_id, sensor_id, '[]') WITH &&, tstzrange(valid_from, valid_to) WITH &&
);
ALTER TABLE fleet_maintenance ADD CONSTRAINT maintenance_no_overlap EXCLUDE USING gist (
    int4range(sensor_id, sensor_id, '[]') WITH &&, tstzrange(start_at, end_at) WITH &&
);
ALTER TABLE fleet_observedaddress ADD CONSTRAINT observed_address_same_length CHECK (
    family(local) = family(public) AND masklen(local) = masklen(public)
);
ALTER TABLE fleet_observedaddress ADD CONSTRAINT observed_address_no_overlap EXCLUDE USING gist (
    int4range(sensor_id, sensor_id, '[]') WITH &&,
    int4range(ascii(known_by), ascii(known_by), '[]') WITH &&,
    local inet_ops WITH &&,
    tstzrange(valid_from, valid_to) WITH &&
);
CREATE INDEX observed_address_public ON fleet_observedaddress USING gist (public inet_ops);

CREATE FUNCTION fleet_check_public() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    other bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(7265201);
    SELECT a.id INTO other FROM fleet_observedaddress AS a
    WHERE a.sensor_id <> NEW.sensor_id AND a.public && NEW.public
        AND tstzrange(a.valid_from, a.valid_to) && tstzrange(NEW.valid_from, NEW.valid_to)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'public address % belongs to another sensor then (entry %)', NEW.public, other
            USING ERRCODE = 'exclusion_violation', CONSTRAINT = 'observed_address_public_once';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER fleet_observedaddress_public_once
    BEFORE INSERT OR UPDATE ON fleet_observedaddress
    FOR EACH ROW EXECUTE FUNCTION fleet_check_public();

CREATE FUNCTION fleet_count_revision() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    one integer;
    next bigint;
BEGIN
    IF TG_OP = 'DELETE' THEN one := OLD.sensor_id; ELSE one := NEW.sensor_id; END IF;
    PERFORM pg_advisory_xact_lock(7265201);
    SELECT coalesce(max(revision), 0) + 1 INTO next FROM fleet_sensorfacts;
    INSERT INTO fleet_sensorfacts AS f (sensor_id, revision) VALUES (one, next)
    ON CONFLICT (sensor_id) DO UPDATE SET revision = excluded.revision;
    RETURN NULL;
END $$;
CREATE TRIGGER fleet_observedaddress_revision
    AFTER INSERT OR UPDATE OR DELETE ON fleet_observedaddress
    FOR EACH ROW EXECUTE FUNCTION fleet_count_revision();
CREATE TRIGGER fleet_sensorplacement_revision
    AFTER INSERT OR UPDATE OR DELETE ON fleet_sensorplacement
    FOR EACH ROW EXECUTE FUNCTION fleet_count_revision();

INSERT INTO fleet_sensorplacement (sensor_id, valid_from, region_id, country, asn, provider, kind, mode)
SELECT id, created_at, region_id, '', 0, '', 'other', 'silent' FROM fleet_sensor ORDER BY id;
-- The rows wait for their foreign keys; other migrations may change the tables in this transaction.
SET CONSTRAINTS ALL IMMEDIATE;
"""
BACKWARD = """
DROP TRIGGER fleet_sensorplacement_revision ON fleet_sensorplacement;
DROP TRIGGER fleet_observedaddress_revision ON fleet_observedaddress;
DROP TRIGGER fleet_observedaddress_public_once ON fleet_observedaddress;
DROP FUNCTION fleet_count_revision();
DROP FUNCTION fleet_check_public();
DROP INDEX observed_address_public;
ALTER TABLE fleet_observedaddress DROP CONSTRAINT observed_address_no_overlap;
ALTER TABLE fleet_observedaddress DROP CONSTRAINT observed_address_same_length;
ALTER TABLE fleet_maintenance DROP CONSTRAINT maintenance_no_overlap;
ALTER TABLE fleet_sensorplacement DROP CONSTRAINT placement_no_overlap;
"""


class Migration(migrations.Migration):
    dependencies = [("fleet", "0002_places")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
